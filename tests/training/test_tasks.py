"""Both tasks, genre and tagging, run through the same loop."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from conftest import GENRES, TAGS, flags, write_tags
from sample_reports import some_report, tag_report

import hparams
import train_test
from data_manager import get_dataloader
from support.errors import UserError
from tracks.lists import load_lists
from tracks.tags import format_tags
from train_test import Runner, set_seed
from training.checkpoint import load_checkpoint, read_history
from training.report import format_answers, format_calibration
from training.tasks import TASKS, task_of


@pytest.fixture(params=["genre", "tagging"])
def any_task(request, extracted, extracted_tags):
    """Settings of each task, with features extracted."""
    return {"genre": extracted, "tagging": extracted_tags}[request.param]


def test_each_task_learns_in_the_same_loop_and_reports_what_it_names(any_task, tmp_path):
    task = TASKS[any_task.task]
    report = train(any_task, tmp_path / "run", num_epochs=6, **LEARNING)
    assert task_of(report) is task
    assert set(report["valid"]) == set(task.valid_scores)
    assert list(report[task.per_class]) == any_task.classes
    assert (tmp_path / "run" / task.picture).stat().st_size > 1000
    text = (tmp_path / "run/report.txt").read_text(encoding="utf-8")
    parts = [task.format_result, task.format_table, format_calibration]
    parts += [format_answers] if task.one_answer else []
    assert text == "\n\n".join(part(report) for part in parts) + "\n"
    first, *_, last = read_history(tmp_path / "run")
    assert last["train_loss"] < first["train_loss"]


def test_training_without_smoothing_or_weights_minimizes_the_loss_of_evaluation(any_task):
    set_seed(0)
    runner = Runner(any_task)
    x, y = next(iter(get_dataloader(any_task)[1]))
    logits = runner.model.eval()(x)
    torch.testing.assert_close(runner.criterion(logits, y), runner.task.loss(logits, y))


def test_the_predicted_classes_are_those_that_accuracy_counts(any_task):
    task, labels = TASKS[any_task.task], get_dataloader(any_task)[1].dataset.y
    classes = len(any_task.classes)
    logits = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(0))
    said = torch.zeros(len(labels), classes)
    for row, probabilities in enumerate(task.probabilities(logits).numpy()):
        said[row, list(task.predicted(probabilities))] = 1
    if labels.ndim == 1:
        expected = said[torch.arange(len(labels)), labels].mean()
    else:
        expected = (said == labels).float().mean()
    torch.testing.assert_close(task.accuracy(logits, labels), expected)


def test_mixed_genres_count_by_their_larger_share():
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    shares = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    assert TASKS["genre"].accuracy(logits, shares) == 0.5


def test_probabilities_are_of_one_genre_or_of_each_tag():
    logits = torch.tensor([[0.0, 2.0]])
    torch.testing.assert_close(TASKS["genre"].probabilities(logits), logits.softmax(1))
    torch.testing.assert_close(TASKS["tagging"].probabilities(logits), logits.sigmoid())


def test_predictions_are_one_genre_or_all_likely_tags():
    probabilities = np.array([0.1, 0.6, 0.3, 0.55])
    assert TASKS["genre"].predicted(probabilities) == (1,)
    assert TASKS["tagging"].predicted(probabilities) == (1, 3)
    assert TASKS["tagging"].predicted(probabilities / 2) == ()
    assert TASKS["genre"].sentence(probabilities, TAGS) == ""
    assert "[high pitch]" in TASKS["tagging"].sentence(probabilities, TAGS)


def test_the_settings_know_the_same_tasks():
    assert tuple(TASKS) == hparams.TASK_NAMES


def test_a_report_tells_its_task():
    assert task_of(some_report()) is TASKS["genre"]
    assert task_of(tag_report()) is TASKS["tagging"]


def test_genres_have_nothing_to_leave_out(capsys):
    assert TASKS["genre"].check_splits({"train": np.zeros(3)}, GENRES) == {}
    assert not capsys.readouterr().out


def train(hparams, folder, **changed):
    """Train by the script's main; returns the report."""
    train_test.main(flags(hparams, run_path=str(folder), **changed))
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


LEARNING = {"model": "Compact1D", "optimizer": "adamw", "learning_rate": 0.003, "batch_size": 4}


def test_it_learns_tags_and_reports_them(extracted_tags, tmp_path, capsys):
    report = train(extracted_tags, tmp_path / "run", num_epochs=6, tags=[], **LEARNING)
    assert report["roc_auc"] > 0.9  # three tones an octave apart
    assert list(report["per_tag"]) == TAGS
    assert report["per_tag"]["dull"]["tracks"] == 4
    low, high = report["roc_auc_interval"]
    assert low <= report["roc_auc"] <= high
    assert report["left_out"] == {"train": {}, "valid": {}, "test": {}}
    assert report["tracks"][2]["tags"] == ["dull", "pitch:middle"]
    assert set(report["tracks"][2]["probabilities"]) == set(TAGS)
    assert set(report["valid"]) == {"chunk_accuracy", "roc_auc", "pr_auc"}
    out = capsys.readouterr().out
    assert "Tags: 4\n" in out
    assert (
        f"\nTest ROC-AUC: {report['roc_auc']:.4f} (mean of 4 tags, 95% interval {low:.4f} " in out
    )
    assert (
        f"\nTest PR-AUC: {report['pr_auc']:.4f}\n\ntag           ROC-AUC  PR-AUC  tracks\n" in out
    )
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("hparams.json", "history.csv", "best.pt", "last.pt", "report.txt", "report.json"),
        *("tag_scores.png", "learning_curves.png"),
    }
    saved = load_checkpoint(tmp_path / "run/best.pt")["hparams"]
    assert (saved["task"], saved["tags"]) == ("tagging", TAGS)


def test_accuracy_and_loss_are_over_tags(extracted_tags):
    set_seed(0)
    runner = Runner(extracted_tags)
    loader = get_dataloader(extracted_tags)[1]
    loss, accuracy = runner.run(loader, "eval")
    with torch.inference_mode():
        shares = runner.model(loader.dataset.x).sigmoid()
    y = loader.dataset.y
    by_hand = -(y * shares.log() + (1 - y) * (1 - shares).log()).mean()
    assert loss == pytest.approx(by_hand.item(), rel=1e-4)
    assert accuracy == pytest.approx(((shares > 0.5) == (y > 0.5)).float().mean().item())
    np.testing.assert_allclose(runner.predict(loader), shares, rtol=1e-5)


@pytest.mark.parametrize(
    "changed", [{"class_weights": True}, {"label_smoothing": 0.2}, {"mixup": 0.4}]
)
def test_training_settings_apply_to_tags_too(extracted_tags, changed):
    losses = []
    for settings in ({}, changed):
        set_seed(0)
        hparams = dataclasses.replace(extracted_tags, **settings)
        train_loader, valid_loader, _ = get_dataloader(hparams)
        train_loader.dataset.begin_epoch(1)
        runner = Runner(hparams, train_loader)
        losses.append((runner.run(valid_loader, "eval")[0], runner.run(train_loader, "train")[0]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]
    assert np.isfinite(losses).all()


def test_mixed_tags_are_shares(extracted_tags):
    train_loader, _, _ = get_dataloader(dataclasses.replace(extracted_tags, mixup=1.0))
    train_loader.dataset.begin_epoch(1)
    mixed = torch.cat([y for _, y in train_loader])
    assert mixed.shape == (24, 4)
    assert ((mixed >= 0) & (mixed <= 1)).all()
    assert ((mixed > 0) & (mixed < 1)).any()
    torch.testing.assert_close(mixed[:, 1:].sum(1), torch.ones(24))  # each has one of the pitches


def test_a_resumed_run_keeps_its_tags_and_refuses_others(extracted_tags, data_set, tmp_path):
    folder = tmp_path / "run"
    train(extracted_tags, folder)
    train_test.main(["--resume", str(folder), "--num_epochs", "3"])
    path = data_set / "tags.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("00000.wav,pitch:low", "00000.wav,dull"), encoding="utf-8")
    with pytest.raises(UserError, match="the tracks, tags or features are not those that the run"):
        train_test.main(["--resume", str(folder), "--num_epochs", "4"])


def test_tags_without_a_positive_in_a_split_are_left_out(extracted, data_set, tmp_path, capsys):
    names = load_lists(extracted)
    tracks = {name: ["all"] for split in names.values() for name in split}
    tracks[names["train"][0]] += ["rare", "some"]
    for split in ("valid", "test"):
        tracks[names[split][0]].append("some")
    write_tags(data_set, format_tags(tracks))
    report = train(dataclasses.replace(extracted, task="tagging"), tmp_path / "run")
    out = capsys.readouterr().out
    assert "*** train leaves out all (every track has it)\n" in out
    assert "*** test leaves out all (every track has it), rare (no track has it)\n" in out
    assert list(report["per_tag"]) == ["some"]
    assert report["left_out"]["valid"]["rare"] == "no track has it"
    assert "Left out of test: all (every track has it), rare" in out


def test_tags_that_train_cannot_teach_are_left_out_of_the_means(
    extracted, data_set, tmp_path, capsys
):
    names = load_lists(extracted)
    tracks = {name: ["old"] for name in names["train"]}
    for split in names:
        tracks.setdefault(names[split][0], []).append("some")
    for split in ("valid", "test"):
        tracks[names[split][1]] = ["new", "old"]
    write_tags(data_set, format_tags(tracks))
    report = train(dataclasses.replace(extracted, task="tagging"), tmp_path / "run")
    not_learned = {"new": "no train track has it", "old": "every train track has it"}
    assert report["left_out"]["train"] == {"new": "no track has it", "old": "every track has it"}
    assert report["left_out"]["valid"] == report["left_out"]["test"] == not_learned
    assert list(report["per_tag"]) == ["some"]
    assert report["roc_auc"] == report["per_tag"]["some"]["roc_auc"]
    shares = [row["probabilities"]["some"] for row in report["tracks"]]
    assert report["roc_auc"] == np.mean([shares[0] > share for share in shares[1:]])
    shown = "new (no train track has it), old (every train track has it)"
    out = capsys.readouterr().out
    assert f"*** test leaves out {shown}\n" in out
    assert f"Left out of test: {shown}\n" in out
    assert "Test ROC-AUC: " in out and "(mean of 1 tags" in out


@pytest.mark.parametrize("split", ["train", "test"])
def test_without_a_tag_to_score_training_does_not_start(extracted, data_set, split):
    write_tags(data_set, f"{load_lists(extracted)[split][0]},rare\n")
    message = "no tag can be scored: in the test split or in the train split, every track has it"
    with pytest.raises(UserError, match=message):
        train_test.main(flags(extracted, task="tagging", run_path="new"))
    assert not (data_set.parent / "new").exists()
