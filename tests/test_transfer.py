"""A run that starts from another one: what it takes, what is new, and what contradicts."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RATE, TONES, flags, save_run, write_data_set, write_tags
from test_interruption import outcome

import model
import train_test
from audio.chunks import track_chunks
from data_manager import get_dataloader
from feature_extraction import extract_data_set
from feature_extraction import main as extract_main
from hparams import HParams
from model import build_model
from support.errors import UserError
from support.files import read_json
from tracks.catalog import read_catalog, read_chunks
from tracks.tags import format_tags
from train_test import main as train_main
from train_test import train_run
from training.checkpoint import load_checkpoint, save_checkpoint
from training.trained_run import TrainedRun
from training.transfer import inherit, parse_settings

NEW = {"linear.weight", "linear.bias"}  # of Compact1D


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with the data set `data` and a run that was trained to tag it, `runs/source`."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("support.canvas.save_picture", lambda *words: None)  # it takes long
        names = write_data_set(folder / "data")
        tags = {n: TONES[n.split("/")[0]] for listed in names.values() for n in listed}
        write_tags(folder / "data", format_tags(tags))
        small = {"num_mels": 16, "fft_size": 256, "win_size": 256, "hop_size": 64}
        lengths = {"feature_length": 256, "chunk_length": 64, "sample_rate": RATE}
        hparams = HParams(dataset_path="data", task="tagging", device="cpu", **small, **lengths)
        extract_main(flags(hparams))
        changed = {"model": "Compact1D", "num_epochs": 2, "batch_size": 16}
        train_main(flags(hparams, run_path="runs/source", **changed))
    return folder


@pytest.fixture(autouse=True)
def in_world(world, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setattr("support.canvas.save_picture", lambda *words: None)


def words(*more, **changed):
    """Flags of a run that starts from the source; all others are default, or inherited."""
    settings = {"dataset_path": "data", "device": "cpu", "num_epochs": 2, "batch_size": 16}
    settings |= {"init_from": "runs/source"} | changed
    return [*(word for name, v in settings.items() for word in (f"--{name}", str(v))), *more]


def read(run, name="best.pt"):
    """A file of a run, as values."""
    path = Path("runs", run, name)
    return load_checkpoint(path) if path.suffix == ".pt" else read_json(path)


def test_settings_normalization_and_weights_are_those_of_the_source(capsys):
    theirs = read("source")
    assert extract_main(words()) == 0
    assert "nothing to extract" in capsys.readouterr().out
    train_main(words(learning_rate=1e-30, run_path="runs/new"))
    taken = len(theirs["model"]) - 2
    line = f"Weights from runs/source (trained on data): {taken} tensors taken, new: "
    assert f"{line}linear.weight, linear.bias\n" in capsys.readouterr().out
    train_main(words(init_from="runs/source/last.pt", num_epochs=1))
    assert f"{line}linear.weight, linear.bias\n" in capsys.readouterr().out
    ours = read("new")
    assert (ours["mean"], ours["std"]) == (theirs["mean"], theirs["std"])
    settings = HParams.from_dict(ours["hparams"])
    assert settings.feature_settings() == HParams.from_dict(theirs["hparams"]).feature_settings()
    assert (settings.model, settings.task, len(settings.genres)) == ("Compact1D", "genre", 3)
    for name in theirs["model"].keys() - NEW:
        same = torch.equal(ours["model"][name], theirs["model"][name])
        assert same or "running" in name or "num_batches" in name, name  # those follow the data
    assert ours["model"]["linear.weight"].shape == (3, 512)
    origin = {"run": "source", "trained_on": "data", "note": ""}
    assert ours["origin"] == read("new", "last.pt")["origin"] == origin
    assert read("new", "report.json")["origin"] == origin
    assert read("new", "hparams.json") == ours["hparams"]


def test_a_chain_of_runs_names_the_first_data():
    best, origin = read("source"), {"trained_on": "a million songs", "note": "perhaps yours"}
    parts = {"model": best["model"], "splits": best["splits"], "origin": origin | {"run": "one"}}
    save_run(HParams.from_dict(best["hparams"]), "pretrained/million", **parts)
    train_main(words(init_from="million", num_epochs=1, run_path="runs/chain"))
    assert read("chain", "report.json")["origin"] == origin | {"run": "million"}


def test_contradictions_name_flag_value_run_and_its_value():
    flag = r"--num_mels 20: the run runs/source of --init_from has 16, .*leave the flag out"
    Path("start.args").write_text("--init_from runs/source --learning_rate 0.1")
    recipe = ["--dataset_path", "data", "@start.args"]
    for main in (extract_main, train_main):
        for order in ([*recipe, "--num_mels", "20"], ["--num_mels", "20", *recipe]):
            with pytest.raises(UserError, match=flag):
                main(order)
        with pytest.raises(UserError, match=r"--sample_rate 22050: the run .* has 8000"):
            main([*recipe, "--sample_rate", "22050"])  # the default, but it is given
        with pytest.raises(UserError, match=r"--normalize none: the run .* has train"):
            main([*recipe, "--normalize", "none"])
    with pytest.raises(UserError, match=r"--model Baseline: the run .* has Compact1D"):
        train_main([*recipe, "--model", "Baseline"])
    assert extract_main([*recipe, "--model", "svm"]) == 0, "recipes of classic.py are extracted too"
    hparams = HParams(dataset_path="data", init_from="runs/source", num_mels=20)
    for door in (extract_data_set, train_run):
        with pytest.raises(UserError, match=flag):
            door(hparams)
    assert extract_data_set(dataclasses.replace(hparams, num_mels=16)) == 0


def test_flags_are_compared_with_the_settings_of_the_source(capsys):
    assert parse_settings(words(time_mask=63)).time_mask == 63
    with pytest.raises(SystemExit):
        train_main(words(time_mask=64))
    assert "--time_mask 64: must be below chunk_length (64)" in capsys.readouterr().err
    classical = parse_settings(words(model="svm"), model=False)
    assert (classical.model, classical.num_mels) == ("svm", 16)


def test_the_length_kept_of_a_track_can_be_chosen():
    assert parse_settings(words()).feature_length == 256
    assert parse_settings(words(feature_length=1024)).feature_length == 1024
    hparams = HParams(init_from="runs/source", feature_length=128)
    assert inherit(hparams).feature_length == 128
    assert inherit(inherit(hparams)) == inherit(hparams)
    assert inherit(HParams(init_from="runs/source")).feature_length == 256
    chosen = dataclasses.replace(hparams, feature_length=1024)
    assert inherit(chosen, words(feature_length=1024)).feature_length == 1024


def test_a_source_that_cannot_be_used_is_a_message():
    with pytest.raises(UserError, match=r"runs/none: has no weights \(best.pt\)"):
        train_main(words(init_from="runs/none"))
    best = read("source")
    for name in ("svm", "Gone"):
        hparams = best["hparams"] | {"model": name}
        save_checkpoint(Path("runs/odd/best.pt"), **best | {"hparams": hparams})
        for main in (extract_main, train_main):
            with pytest.raises(UserError, match=f"its model, {name}, is not a class in model.py"):
                main(words(init_from="runs/odd"))
    save_checkpoint(Path("runs/odd/best.pt"), **best | {"model": {"linear.weight": torch.zeros(4)}})
    with pytest.raises(UserError, match="holds the weights of another Compact1D"):
        train_main(words(init_from="runs/odd"))


def test_a_source_that_was_trained_on_test_tracks_is_refused():
    train_main(words("--genres", "jazz", "metal", num_epochs=1))  # the same lists
    shutil.copytree("data", "other")
    paths = [Path("other", f"{split}_list.txt") for split in ("train", "test")]
    train, test = (path.read_text().splitlines() for path in paths)
    paths[0].write_text("\n".join([test[0], *train[1:]]))
    paths[1].write_text("\n".join([train[0], *test[1:]]))
    extract_main(words(dataset_path="other"))
    train_main(words(dataset_path="other", num_epochs=1))  # other data, as far as a run knows
    best = read("source")
    moved = best | {"hparams": best["hparams"] | {"dataset_path": "other"}}
    save_checkpoint(Path("runs/moved/best.pt"), **moved)
    train_main(words(init_from="runs/moved", num_epochs=1, run_path="runs/later"))
    for run in ("moved", "later", "later/last.pt"):  # itself, or the run that it started from
        with pytest.raises(UserError, match=r"its train tracks are not those that other lists now"):
            train_main(words(dataset_path="other", init_from=f"runs/{run}"))


def test_frozen_weights_stay_and_the_file_is_whole(monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr("data_manager.load_chunks", lambda *words: loaded.append(words))
    train_main(words("--freeze", num_epochs=15, learning_rate=0.5, run_path="runs/frozen"))
    assert "Parameters: 280,163, trained: 1,539\n" in capsys.readouterr().out
    assert not loaded, "chunks are not needed"
    theirs, ours = read("source")["model"], read("frozen")["model"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs.keys() - NEW)
    report = read("frozen", "report.json")
    assert report["parameters"] == 280_163
    assert report["track_accuracy"] >= 5 / 6  # three tones an octave apart
    run = TrainedRun("runs/frozen/best.pt", "cpu")
    for row in report["tracks"]:
        chunks = [x for x, _ in track_chunks(Path("data", row["track"]), run.hparams)]
        shares = run.temper(np.concatenate([run.probabilities(x) for x in chunks]).mean(0))
        np.testing.assert_allclose(shares, list(row["probabilities"].values()), atol=1e-6)
    hparams = dataclasses.replace(run.hparams, run_path="runs/door")
    assert train_run(hparams).report["track_accuracy"] == report["track_accuracy"]


def test_frozen_weights_thaw(capsys):
    schedule = {"optimizer": "adamw", "lr_schedule": "onecycle", "mixup": 0.3, "patience": 1}
    flags = words(freeze_epochs=3, num_epochs=5, run_path="runs/thawed", **schedule)
    train_main([*flags, "--backbone_learning_rate", "1e-4"])
    out = capsys.readouterr().out
    assert "The whole model is trained from epoch 4 on" in out
    last = read("thawed", "last.pt")
    assert last["epoch"] >= 4, "patience begins when the whole model is trained"
    theirs = read("source")["model"]
    assert not torch.equal(last["model"]["conv.0.0.weight"], theirs["conv.0.0.weight"])
    rates = [group["max_lr"] for group in last["optimizer"]["param_groups"]]
    assert rates == [0.01, 1e-4]
    assert [len(group["params"]) for group in last["optimizer"]["param_groups"]] == [
        *(2, len(list(build_model(HParams.from_dict(last["hparams"])).parameters())) - 2)
    ]


def test_a_resumed_run_equals_an_uninterrupted_one_and_needs_no_source(monkeypatch):
    shutil.copytree("runs/source", "runs/passing")
    start = words(init_from="runs/passing", momentum=0.9, num_epochs=3, freeze_epochs=2)
    train_main([*start, "--run_path", "runs/whole"])
    epoch, killed = train_test.train_epoch, (2, 3)  # frozen, and about to thaw
    for last in killed:

        def stop(runner, loaders, number, last=last):
            if number == last:
                raise KeyboardInterrupt
            return epoch(runner, loaders, number)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(train_test, "train_epoch", stop)
            train_main([*start, "--run_path", f"runs/killed-{last}"])
    shutil.rmtree("runs/passing")
    for path in Path().glob("dataset/feature/*/embeddings"):
        shutil.rmtree(path)
    for last in killed:
        train_main(["--resume", f"runs/killed-{last}"])
        assert outcome(Path(f"runs/killed-{last}")) == outcome(Path("runs/whole"))


def test_what_cannot_be_frozen_is_a_message(monkeypatch, capsys):
    for flag in ("--mixup=0.3", "--random_offset", "--freeze_epochs=1"):
        with pytest.raises(SystemExit):
            train_main(words("--freeze", flag))
        assert "and --freeze exclude each other" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train_main(words(freeze_epochs=2))
    assert "--freeze_epochs 2: must be below num_epochs (2)" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"--embedding pool: is for classic.py"):
        train_main(words("--freeze", embedding="pool"))
    forward = model.Compact1D.forward
    monkeypatch.setattr(model.Compact1D, "forward", lambda self, x: 2 * forward(self, x))
    with pytest.raises(UserError, match=r"its last layer alone needs `embed\(x\)` in model.py"):
        train_main(words("--freeze"))


def test_normalization_can_be_left_out():
    source = HParams.from_dict(read("source")["hparams"])
    hparams = dataclasses.replace(source, task="genre", tags=[], normalize="none", cache_gb=0.0)
    train, valid, _ = get_dataloader(hparams)
    track = read_catalog(hparams).splits["valid"][0]
    assert np.array_equal(valid.dataset.x[:4], read_chunks(track, hparams))
    assert train.dataset.normalization == (0.0, 1.0)
    train_main(flags(hparams, num_epochs=1, run_path="runs/plain"))
    assert (read("plain")["mean"], read("plain")["std"]) == (0.0, 1.0)
