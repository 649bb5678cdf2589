"""Optimizers, learning-rate schedules and losses of training."""

import dataclasses

import pytest
import torch

from data_manager import get_dataloader
from train_test import Runner, set_seed
from training.optimization import genre_weights, tag_weights


def test_optimizer_takes_momentum_and_weight_decay(extracted):
    runner = Runner(dataclasses.replace(extracted, momentum=0.9, weight_decay=0.1))
    group = runner.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 0.1)


def rates(runner, train_loader, epochs, valid_losses=()):
    """The learning rate after each epoch of training."""
    found = []
    for epoch in range(1, epochs + 1):
        runner.run(train_loader, "train")
        if valid_losses:
            runner.early_stop(valid_losses[epoch - 1], epoch)
        found.append(runner.optimizer.param_groups[0]["lr"])
    return found


def test_one_cycle_rises_to_the_learning_rate_and_falls(extracted):
    hparams = dataclasses.replace(extracted, lr_schedule="onecycle", num_epochs=10)
    train_loader, _, _ = get_dataloader(hparams)
    found = rates(Runner(hparams, train_loader), train_loader, 10)
    assert max(found) == pytest.approx(hparams.learning_rate, rel=0.01)
    assert found.index(max(found)) == 2
    assert found[-1] < 0.01 * hparams.learning_rate


def test_one_cycle_leaves_the_momentum_of_sgd_alone(extracted):
    hparams = dataclasses.replace(extracted, lr_schedule="onecycle", momentum=0.5)
    train_loader, _, _ = get_dataloader(hparams)
    runner = Runner(hparams, train_loader)
    runner.run(train_loader, "train")
    assert runner.optimizer.param_groups[0]["momentum"] == 0.5


def test_plateau_halves_the_rate_after_five_epochs_without_a_better_loss(extracted):
    hparams = dataclasses.replace(extracted, lr_schedule="plateau")
    train_loader, _, _ = get_dataloader(hparams)
    found = rates(Runner(hparams, train_loader), train_loader, 8, [1.0] * 8)
    assert found == [0.01] * 5 + [0.005] * 3


def test_adamw_decays_weights(extracted):
    hparams = dataclasses.replace(extracted, optimizer="adamw", weight_decay=0.1)
    optimizer = Runner(hparams).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["weight_decay"] == 0.1


def test_class_weights_make_rare_genres_count_as_much():
    weights = genre_weights(torch.tensor([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert genre_weights(torch.tensor([0, 1]), 3).isfinite().all()


def test_class_weights_enter_the_loss_of_training(extracted):
    train_loader, _, _ = get_dataloader(extracted)
    train_loader.dataset.y[:12] = 0
    runner = Runner(dataclasses.replace(extracted, class_weights=True), train_loader)
    expected = genre_weights(train_loader.dataset.y, 3)
    assert torch.equal(runner.criterion.weight, expected)
    assert Runner(extracted, train_loader).criterion.weight is None


def test_label_smoothing_is_for_training_alone(extracted):
    set_seed(0)
    losses = []
    for smoothing in (0.0, 0.5):
        set_seed(0)
        hparams = dataclasses.replace(extracted, label_smoothing=smoothing)
        train_loader, valid_loader, _ = get_dataloader(hparams)
        runner = Runner(hparams, train_loader)
        losses.append((runner.run(valid_loader, "eval")[0], runner.run(train_loader, "train")[0]))
    (valid, plain), (same_valid, smoothed) = losses
    assert valid == same_valid
    assert plain != smoothed


def test_label_smoothing_moves_both_answers_alike(extracted_tags):
    smoothed = Runner(dataclasses.replace(extracted_tags, label_smoothing=0.2)).criterion
    logits, y = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([[0.9, 0.1]])
    )
    torch.testing.assert_close(smoothed(logits, y), expected)


def test_weights_make_rare_tags_count_as_much():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert tag_weights(labels).tolist() == [3, 4, 0.25]
