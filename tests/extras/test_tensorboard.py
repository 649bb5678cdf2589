"""What TensorBoard reads of a run."""

import csv

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train_test import train


def read_scalars(folder):
    """{name: [(epoch, value), ...]} of what TensorBoard shows of a folder."""
    events = EventAccumulator(str(folder))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in names}


def read_history(folder):
    """The same of `history.csv`, by the names that TensorBoard has for its columns."""
    with open(folder / "history.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {"loss/train": "train_loss", "loss/valid": "valid_loss"}
    names |= {"acc/train": "train_acc", "acc/valid": "valid_acc"}
    return {
        name: [(int(row["epoch"]), pytest.approx(float(row[column]))) for row in rows]
        for name, column in names.items()
    }


def test_scalars_are_those_of_the_history(extracted, tmp_path):
    train(extracted, tmp_path / "run", tensorboard=True)
    assert read_scalars(tmp_path / "run") == read_history(tmp_path / "run")
    assert len(read_history(tmp_path / "run")["loss/valid"]) == 2


def test_a_resumed_run_shows_each_epoch_once(extracted, tmp_path):
    folder = tmp_path / "run"
    train(extracted, folder, tensorboard=True)
    train(extracted, folder, tensorboard=True, num_epochs=3, resume=str(folder))
    assert read_scalars(folder) == read_history(folder)


def test_a_run_begun_without_it_shows_all_epochs(extracted, tmp_path):
    folder = tmp_path / "run"
    train(extracted, folder)
    train(extracted, folder, tensorboard=True, num_epochs=3, resume=str(folder))
    assert [epoch for epoch, _ in read_scalars(folder)["loss/train"]] == [1, 2, 3]
