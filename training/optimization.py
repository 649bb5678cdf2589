"""The loss of training for each task, the optimizers, learning-rate schedules and best epoch."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from hparams import HParams
from training.build import last_layer


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
    groups, rate = parameter_groups(model, hparams), hparams.learning_rate
    if hparams.optimizer == "adamw":
        return torch.optim.AdamW(groups, rate, weight_decay=hparams.weight_decay)
    return torch.optim.SGD(groups, rate, hparams.momentum, weight_decay=hparams.weight_decay)


def parameter_groups(model: nn.Module, hparams: HParams) -> list[dict[str, Any]]:
    """The parameters of a model, in one group or, with `backbone_learning_rate`, in two."""
    if not hparams.backbone_learning_rate:
        return [{"params": list(model.parameters())}]
    new, named = last_layer(hparams), list(model.named_parameters())
    return [
        {"params": [p for name, p in named if name in new]},
        {
            "params": [p for name, p in named if name not in new],
            "lr": hparams.backbone_learning_rate,
        },
    ]


def make_scheduler(
    optimizer: torch.optim.Optimizer, steps: int, hparams: HParams
) -> OneCycleLR | ReduceLROnPlateau | None:
    """The learning-rate schedule that the settings name, or None; `steps` is for each epoch."""
    if hparams.lr_schedule == "onecycle" and steps:
        total, cycles = steps * hparams.num_epochs, hparams.optimizer == "adamw"
        # the momentum of sgd has its own flag and stays constant
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=total, cycle_momentum=cycles)
    if hparams.lr_schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=4, threshold=0)
    return None


def is_best(loss: float, epoch: int, best_loss: float, hparams: HParams) -> bool:
    """Whether an epoch is better than the best one before it: its validation loss is lower.

    The epoch that the one-cycle schedule ends with is the best in any case. Overconfidence raises
    the loss long before the accuracy falls, and the smallest steps come last.
    """
    if hparams.lr_schedule == "onecycle" and epoch == hparams.num_epochs:
        return math.isfinite(loss)
    return loss < best_loss
