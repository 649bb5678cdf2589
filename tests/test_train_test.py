import csv
import dataclasses
import json
import math
import random
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import flags, run

from data_manager import get_dataloader, keep_on
from model import build_model
from support.errors import UserError
from support.files import read_json
from tracks.catalog import fit_normalizer, read_catalog
from train_test import Runner, main, set_seed, train_run
from training.checkpoint import HISTORY, load_checkpoint, load_weights


def train(hparams, folder, **changed):
    """Train by the script's main; returns its run folder and history."""
    changed = {"run_path": str(folder), **changed}
    main(flags(hparams, **changed))
    with open(folder / "history.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def read_report(folder):
    return read_json(folder / "report.json")


def test_the_tutorials_lines_are_printed(extracted, tmp_path, capsys):
    train(extracted, tmp_path / "run")
    out = capsys.readouterr().out
    number = r"\d+\.\d{4}"
    for line in (
        r"Training on CPU\n",
        rf"\[Epoch 1/2\] \[Train Loss: {number}\] \[Train Acc: {number}\] "
        rf"\[Valid Loss: {number}\] \[Valid Acc: {number}\]\n",
        r"Training Finished\nTest Accuracy: \d+\.\d\d%\nTest Track Accuracy: \d+\.\d\d% \(95% int",
        r"Steps per epoch: 3\n\*\*\* fewer than 5 steps",
    ):
        assert re.search(line, out), f"{line} is not in\n{out}"


def test_enough_steps_bring_no_warning(extracted, tmp_path, capsys):
    train(extracted, tmp_path / "run", batch_size=4)
    out = capsys.readouterr().out
    assert "Steps per epoch: 6\n" in out
    assert "fewer than" not in out


def test_it_learns_and_reports_what_it_learned(extracted, tmp_path):
    folder = tmp_path / "run"
    train(extracted, folder, num_epochs=25, batch_size=4)
    report = read_report(folder)
    assert report["track_accuracy"] >= 5 / 6  # three tones an octave apart
    assert sum(map(sum, report["confusion_matrix"])) == report["num_tracks"] == 6
    low, high = report["track_interval"]
    assert 0 <= low <= report["track_accuracy"] <= high <= 1
    right = [row["genre"] == row["predicted"] for row in report["tracks"]]
    assert sum(right) == report["correct_tracks"]
    assert sum(report["tracks"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_run_folder_is_complete(extracted, tmp_path):
    history = train(extracted, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("hparams.json", "history.csv", "best.pt", "last.pt", "report.txt", "report.json"),
        *("confusion_matrix.png", "learning_curves.png"),
    }
    assert history[0] == list(HISTORY)
    assert len(history) == 3
    settings = json.loads((tmp_path / "run/hparams.json").read_text(encoding="utf-8"))
    assert settings["genres"] == ["classical", "jazz", "metal"]


def test_the_weights_tested_are_the_best_on_valid(extracted, tmp_path):
    history = train(extracted, tmp_path / "run", num_epochs=6, learning_rate=0.5)
    losses = [float(row[3]) for row in history[1:]]
    best = losses.index(min(losses))
    assert best != len(losses) - 1, "the last epoch is the best: the test would prove nothing"
    report = read_report(tmp_path / "run")
    assert report["best_epoch"] == best + 1
    saved = load_checkpoint(tmp_path / "run/best.pt")
    assert saved["epoch"] == best + 1
    runner = Runner(extracted)
    runner.model.load_state_dict(saved["model"])
    _, valid_loader, test_loader = get_dataloader(extracted)
    assert runner.run(valid_loader, "eval")[0] == pytest.approx(losses[best], abs=1e-6)
    accuracy = runner.run(test_loader, "eval")[1]
    assert accuracy == pytest.approx(report["chunk_accuracy"], abs=1e-6)


def test_the_checkpoint_is_enough_to_predict(extracted, tmp_path):
    train(extracted, tmp_path / "run")
    saved = load_checkpoint(tmp_path / "run/best.pt")
    hparams = dataclasses.replace(extracted, **saved["hparams"])
    net = build_model(hparams)
    net.load_state_dict(saved["model"])
    assert (saved["mean"], saved["std"]) == fit_normalizer(read_catalog(extracted).splits["train"])
    raw = np.load(extracted.feature_folder() / "classical/classical.00006.wav.npy")
    x = torch.from_numpy((raw - saved["mean"]) / saved["std"]).float()
    with torch.inference_mode():
        shares = net.eval()(x).softmax(1).mean(0)
    by_hand = (shares.log() / saved["decision"]["temperature"]).softmax(0)
    row = read_report(tmp_path / "run")["tracks"][0]
    assert row["track"] == "classical/classical.00006.wav"
    assert list(row["probabilities"].values()) == pytest.approx(by_hand.tolist(), abs=1e-5)


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(extracted, tmp_path):
    runs = [train(extracted, tmp_path / f"{i}", seed=seed) for i, seed in enumerate((5, 5, 6))]
    assert runs[0] == runs[1]
    assert all(a[1] != b[1] for a, b in zip(runs[0][1:], runs[2][1:], strict=True))


def test_a_notebook_and_the_script_give_the_same_run(extracted, tmp_path):
    done = run("train_test.py", *flags(extracted, run_path="script", genres=[]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    hparams = dataclasses.replace(extracted, run_path="notebook", genres=[])
    finished = train_run(hparams)
    assert finished.folder == Path("notebook")
    script = tmp_path / "script"
    for name in ("history.csv", "report.txt"):
        assert (finished.folder / name).read_bytes() == (script / name).read_bytes()
    by_script = read_report(script)
    by_script["minutes"] = finished.report["minutes"]
    assert json.loads(json.dumps(finished.report)) == by_script
    weights = [load_checkpoint(each / "best.pt")["model"] for each in (script, finished.folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert hparams.genres == [], "the settings of the notebook have changed"


def test_settings_that_cannot_work_are_refused_before_training(extracted):
    with pytest.raises(UserError, match="--num_epochs 0: must be 1 or more"):
        train_run(dataclasses.replace(extracted, num_epochs=0))


@pytest.mark.parametrize("changed", [{"genres": []}, {"task": "tagging"}])
def test_a_runner_without_classes_is_refused_with_the_remedy(extracted, changed):
    with pytest.raises(UserError, match=r"pass `read_catalog\(hparams\).hparams`"):
        Runner(dataclasses.replace(extracted, **changed))
    assert Runner(read_catalog(extracted).hparams).model.linear[3].out_features == 3


def test_a_best_epoch_at_the_end_advises_more_of_them(extracted, tmp_path, capsys):
    train(extracted, tmp_path / "run", num_epochs=2, learning_rate=1e-4)
    advice = r"\*\*\* the best epoch is the last one: more may help: `python train_test.py (.+)`\n"
    (command,) = re.findall(advice, capsys.readouterr().out)
    main(shlex.split(command))
    assert read_report(tmp_path / "run")["best_epoch"] > 2
    assert len((tmp_path / "run/history.csv").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize(
    "changed", [{"lr_schedule": "onecycle"}, {"num_epochs": 99, "max_minutes": 1e-9}]
)
def test_without_a_better_plan_no_more_epochs_are_advised(extracted, tmp_path, capsys, changed):
    history = train(extracted, tmp_path / "run", **{"learning_rate": 1e-4, **changed})
    assert read_report(tmp_path / "run")["best_epoch"] == len(history) - 1
    assert "the best epoch" not in capsys.readouterr().out


def test_set_seed_seeds_every_generator():
    draws = []
    for _ in range(2):
        set_seed(3)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


def test_evaluation_changes_nothing_and_has_no_dropout(extracted):
    set_seed(0)
    runner = Runner(extracted)
    _, valid_loader, _ = get_dataloader(extracted)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    first, second = (runner.run(valid_loader, "eval") for _ in range(2))
    assert first == second
    after = runner.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_changes_the_weights_and_means_run_over_chunks(extracted):
    set_seed(0)
    runner = Runner(dataclasses.replace(extracted, batch_size=7))
    train_loader, valid_loader, _ = get_dataloader(dataclasses.replace(extracted, batch_size=7))
    before = runner.model.conv0[0].weight.clone()
    runner.run(train_loader, "train")
    assert not torch.equal(before, runner.model.conv0[0].weight)
    loss, accuracy = runner.run(valid_loader, "eval")
    with torch.inference_mode():
        logits = runner.model(valid_loader.dataset.x)
    expected = torch.nn.functional.cross_entropy(logits, valid_loader.dataset.y).item()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(
        (logits.argmax(1) == valid_loader.dataset.y).float().mean().item()
    )


def test_bf16_rounds_the_logits_a_little_and_trains(extracted, tmp_path):
    runs = []
    for precision in ("fp32", "bf16"):
        set_seed(0)
        runner = Runner(dataclasses.replace(extracted, precision=precision))
        runs.append(runner.predict(get_dataloader(extracted)[1]))
        assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    assert runs[1].dtype == np.float32
    assert 1e-6 < np.abs(runs[0] - runs[1]).max() < 0.02
    history = train(extracted, tmp_path / "run", precision="bf16", num_epochs=3)
    assert float(history[-1][1]) < float(history[1][1])


def test_a_split_on_disk_trains_to_the_same_numbers(extracted, tmp_path):
    in_memory, on_disk = (
        train(extracted, tmp_path / f"{size}", cache_gb=size) for size in (1.0, 0.0)
    )
    assert in_memory == on_disk


@pytest.mark.parametrize("batch_size", [23, 1])
def test_a_last_batch_of_one_chunk_trains(extracted, batch_size):
    hparams = dataclasses.replace(extracted, batch_size=batch_size)  # of 24 chunks
    loss, _ = Runner(hparams).run(get_dataloader(hparams)[0], "train")
    assert np.isfinite(loss)


def test_an_unknown_mode_is_an_error(extracted):
    with pytest.raises(ValueError, match="'test' must be 'train' or 'eval'"):
        Runner(extracted).run([], "test")


def test_early_stop_waits_for_patience(extracted):
    runner = Runner(dataclasses.replace(extracted, patience=2))
    losses = [3.0, 2.0, 2.5, 2.0, 1.0]
    stops = [runner.early_stop(loss, epoch) for epoch, loss in enumerate(losses, start=1)]
    assert stops == [False, False, False, True, False]
    assert runner.best_epoch == 5


@pytest.mark.parametrize(("last", "best"), [(9.0, 4), (math.nan, 1)])
def test_the_best_epoch_of_one_cycle_is_its_last(extracted, last, best):
    runner = Runner(dataclasses.replace(extracted, lr_schedule="onecycle", num_epochs=4))
    for epoch, loss in enumerate([1.0, 2.0, 2.0], start=1):
        runner.early_stop(loss, epoch)
        assert runner.best_epoch == 1
    runner.early_stop(last, 4)
    assert runner.best_epoch == best


def test_early_stop_ends_a_run(extracted, tmp_path, capsys):
    history = train(extracted, tmp_path / "run", num_epochs=60, patience=3, learning_rate=0.5)
    assert len(history) - 1 < 60
    assert "Early stop: no lower validation loss since epoch" in capsys.readouterr().out


def test_the_report_has_the_scores_on_valid(extracted, tmp_path):
    train(extracted, tmp_path / "run", num_epochs=3)
    report = read_report(tmp_path / "run")
    hparams = dataclasses.replace(extracted, run_path="")
    _, valid_loader, _ = get_dataloader(hparams)
    runner = Runner(hparams)
    load_weights(runner.model, tmp_path / "run/best.pt")
    _, accuracy = runner.run(valid_loader, "eval")
    assert report["valid"]["chunk_accuracy"] == pytest.approx(accuracy)
    assert 0 <= report["valid"]["track_accuracy"] <= 1
    assert report["minutes"] > 0


def test_one_genre_is_not_enough(extracted):
    with pytest.raises(UserError, match="the train split has one genre"):
        main(flags(extracted, genres=["jazz"]))


def test_a_diverging_run_is_stopped_with_a_remedy(extracted, tmp_path, capsys):
    with pytest.raises(UserError, match="nothing was learned"):
        train(extracted, tmp_path / "run", learning_rate=1e30, num_epochs=5)
    assert "lower --learning_rate" in capsys.readouterr().out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cache_gb", [1.0, 0.0])
def test_it_trains_on_a_gpu(extracted, tmp_path, precision, cache_gb):
    changed = {"device": "cuda", "precision": precision, "cache_gb": cache_gb}
    runs = [train(extracted, tmp_path / f"{i}", **changed) for i in range(2)]
    assert runs[0] == runs[1]
    assert read_report(tmp_path / "0")["device"] == "GPU:0"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_batches_of_a_split_in_memory_come_from_the_gpu(extracted):
    in_memory = get_dataloader(extracted)[0]
    before = [y.tolist() for _, y in get_dataloader(extracted)[0]]
    keep_on(torch.device("cuda"), in_memory)
    batches = list(in_memory)
    assert all(x.is_cuda and y.is_cuda for x, y in batches)
    assert [y.tolist() for _, y in batches] == before
