"""The loss of training for each task, the optimizers and the learning-rate schedules."""

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from hparams import HParams


def genre_criterion(labels: Tensor | None, hparams: HParams) -> nn.Module:
    """Return the training loss for genres; labels (chunks,) of train add class weights."""
    weight = None if labels is None else genre_weights(labels, len(hparams.genres))
    return nn.CrossEntropyLoss(weight, label_smoothing=hparams.label_smoothing)


def genre_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (classes,) that give every genre the same total weight over labels (chunks,)."""
    counts = torch.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts.clamp(min=1))  # 0 if all its tracks were skipped


def tag_criterion(labels: Tensor | None, hparams: HParams) -> nn.Module:
    """Return the training loss for tags; labels (chunks, tags) of train add class weights."""
    weight = None if labels is None else tag_weights(labels)
    return TagLoss(weight, hparams.label_smoothing)


def tag_weights(labels: Tensor) -> Tensor:
    """Weights (tags,) that balance the chunks with and without each tag."""
    positives = labels.sum(0)  # (chunks, tags) -> (tags,)
    negatives = len(labels) - positives
    return negatives.clamp(min=1) / positives.clamp(min=1)  # either can be 0


class TagLoss(nn.BCEWithLogitsLoss):
    """Binary cross-entropy with label smoothing: labels move a part of the way to 0.5."""

    def __init__(self, pos_weight: Tensor | None, smoothing: float) -> None:
        super().__init__(pos_weight=pos_weight)
        self.smoothing = smoothing

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return super().forward(source, target + self.smoothing * (0.5 - target))


def make_optimizer(model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
    """The optimizer that the settings name."""
    rate, decay = hparams.learning_rate, hparams.weight_decay
    if hparams.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), rate, hparams.momentum, weight_decay=decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, steps: int, hparams: HParams
) -> OneCycleLR | ReduceLROnPlateau | None:
    """The learning-rate schedule that the settings name, or None; `steps` is for each epoch."""
    if hparams.lr_schedule == "onecycle" and steps:
        total, cycles = steps * hparams.num_epochs, hparams.optimizer == "adamw"
        # the momentum of sgd has its own flag and stays constant
        return OneCycleLR(
            optimizer, hparams.learning_rate, total_steps=total, cycle_momentum=cycles
        )
    if hparams.lr_schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=4, threshold=0)
    return None
