"""What training minimizes, and how: losses, optimizers and schedules, as the settings name them."""

import torch

LOSSES = {  # by task: of logits and labels
    "genre": torch.nn.functional.cross_entropy,
    "tagging": torch.nn.functional.binary_cross_entropy_with_logits,
}


class TagLoss(torch.nn.BCEWithLogitsLoss):
    """BCEWithLogitsLoss, with the share `smoothing` of each label given to either answer alike."""

    def __init__(self, pos_weight, smoothing):
        super().__init__(pos_weight=pos_weight)
        self.smoothing = smoothing

    def forward(self, source, target):
        return super().forward(source, target + self.smoothing * (0.5 - target))


def make_criterion(train_loader, hparams):
    """The loss of training, of the labels of its loader and as the settings name it."""
    tagging, weight = hparams.task == "tagging", None
    if hparams.class_weights:
        y = train_loader.dataset.y
        weight = tag_weights(y) if tagging else class_weights(y, len(hparams.genres))
    if tagging:
        return TagLoss(weight, hparams.label_smoothing)
    return torch.nn.CrossEntropyLoss(weight, label_smoothing=hparams.label_smoothing)


def tag_weights(labels):
    """Weights (tags,) by which, of labels (chunks, tags), having a tag counts as not having it."""
    having = labels.sum(0)
    return (len(labels) - having).clamp(min=1) / having.clamp(min=1)  # all may have it, or none


def class_weights(labels, classes):
    """Weights of a loss (classes,) by which each class of labels (chunks,) counts as much."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)  # all may be skipped as broken
    return len(labels) / (classes * counts)


def make_optimizer(model, hparams):
    """The optimizer that the settings name."""
    common = {"lr": hparams.learning_rate, "weight_decay": hparams.weight_decay}
    if hparams.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **common)
    return torch.optim.SGD(model.parameters(), momentum=hparams.momentum, **common)


def make_scheduler(optimizer, steps, hparams):
    """The schedule of the learning rate that the settings name, for `steps` an epoch; or None."""
    if hparams.lr_schedule == "onecycle" and steps:
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            hparams.learning_rate,
            total_steps=steps * hparams.num_epochs,
            cycle_momentum=hparams.optimizer == "adamw",  # that of sgd has a flag: it stays
        )
    if hparams.lr_schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=4, threshold=0
        )
    return None
