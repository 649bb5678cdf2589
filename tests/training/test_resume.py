"""A resumed run ends with the numbers of an uninterrupted one, or says why it cannot."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest import flags
from test_interruption import outcome
from test_train_test import read_report, train

from classic import main as classic_main
from hparams import CLASSICAL
from support.errors import UserError
from support.files import read_json, write_json
from train_test import main as train_main
from training.checkpoint import load_checkpoint, save_checkpoint, write_settings
from training.runs import find_run_to_resume, lock_run, make_run_folder


def test_a_resumed_run_equals_an_uninterrupted_one(extracted, tmp_path, capsys):
    settings = {"momentum": 0.9, "batch_size": 5}
    train_main(flags(extracted, num_epochs=5, run_path=str(tmp_path / "whole"), **settings))
    train_main(flags(extracted, num_epochs=2, run_path=str(tmp_path / "half"), **settings))
    capsys.readouterr()
    train_main(["--resume", str(tmp_path / "half"), "--num_epochs", "5"])
    assert "Continuing" in capsys.readouterr().out
    assert outcome(tmp_path / "half") == outcome(tmp_path / "whole")
    settings = json.loads((tmp_path / "half/hparams.json").read_text(encoding="utf-8"))
    assert (settings["num_epochs"], settings["resume"]) == (5, "")


def test_an_early_stop_stays_one(extracted, tmp_path, capsys):
    words = {"num_epochs": 60, "patience": 2, "learning_rate": 0.5}
    train_main(flags(extracted, run_path=str(tmp_path / "run"), **words))
    before = outcome(tmp_path / "run")
    train_main(["--resume", str(tmp_path / "run")])
    assert outcome(tmp_path / "run") == before
    assert capsys.readouterr().out.count("Early stop:") == 2


def test_resume_takes_the_newest_run(extracted, tmp_path, capsys):
    for name in ("b", "a"):
        train_main(flags(extracted, num_epochs=1, run_path=f"runs/{name}"))
    capsys.readouterr()
    train_main(["--resume"])
    out = capsys.readouterr().out
    assert "Continuing runs" in out
    assert out.splitlines()[-1].endswith("a")


def test_a_run_killed_in_its_first_epoch_starts_again_in_its_folder(extracted, tmp_path):
    words = {"num_epochs": 2, "seed": 3}
    train_main(flags(extracted, run_path=str(tmp_path / "whole"), **words))
    hparams = dataclasses.replace(extracted, run_path=str(tmp_path / "killed"), **words)
    write_settings(make_run_folder(hparams), hparams)
    train_main(["--resume", str(tmp_path / "killed")])
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_a_run_killed_between_last_and_best_is_completed(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=3))
    before = outcome(tmp_path / "run")
    best = load_checkpoint(tmp_path / "run/best.pt")
    assert best["epoch"] == 3
    (tmp_path / "run/best.pt").unlink()
    train_main(["--resume", str(tmp_path / "run")])
    assert outcome(tmp_path / "run") == before
    again = load_checkpoint(tmp_path / "run/best.pt")
    assert again | {"model": None} == best | {"model": None}


def test_a_continued_run_has_no_old_report(extracted, tmp_path, monkeypatch):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    with monkeypatch.context() as patch:
        patch.setattr("train_test.evaluate_best", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "4"])
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"hparams.json", "history.csv", "best.pt", "last.pt"}


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_refused_resume_changes_no_setting(extracted, data_set, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    before = (tmp_path / "run/hparams.json").read_bytes()
    with pytest.raises(UserError, match="--num_epochs 1: the run .* has 2 epochs already"):
        train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "1"])
    names = (data_set / "train_list.txt").read_text(encoding="utf-8").splitlines()
    (data_set / "train_list.txt").write_text("\n".join(names[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="are not those"):
        train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "9"])
    assert (tmp_path / "run/hparams.json").read_bytes() == before


def test_an_interrupted_classifier_is_not_resumed(extracted, tmp_path, monkeypatch):
    train_main(flags(extracted, num_epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr("classic.fit_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            classic_main(flags(extracted, *CLASSICAL, model="knn"))
    assert find_run_to_resume("newest").name.startswith("data-Baseline-")


def test_a_run_is_not_resumed_with_other_data(extracted, data_set, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    names = (data_set / "train_list.txt").read_text(encoding="utf-8").splitlines()
    (data_set / "train_list.txt").write_text("\n".join(names[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="are not those that the run .* began with"):
        train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "4"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda last: last.pop("optimizer"),
        lambda last: last.update(optimizer=None),
        lambda last: last.update(generators={}),
        lambda last: last.update(history=[{}]),
        lambda last: last.update(best=1),
        lambda last: last.update(best=(0.5, 1)),
        lambda last: last.update(epoch=2),
        lambda last: last.update(epoch=2**31),
        lambda last: last["history"][0].update(epoch=0),
        lambda last: last["history"].append(last["history"][0]),
        lambda last: last.update(seconds=float("nan")),
        lambda last: last.update(seconds=-1.0),
        lambda last: last.update(scheduler={"best": 1.0}),
        lambda last: last["optimizer"]["param_groups"][0].update(lr="0.1"),
        lambda last: last["optimizer"]["state"].update({0: {"momentum": torch.zeros(2)}}),
        lambda last: last["optimizer"]["state"].update({999: {"momentum": torch.zeros(2)}}),
        lambda last: last["generators"].update(torch=torch.zeros(3, dtype=torch.uint8)),
    ],
)
def test_a_checkpoint_of_other_code_is_not_resumed(extracted, tmp_path, damage):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=1))
    last = load_checkpoint(tmp_path / "run/last.pt")
    damage(last)
    save_checkpoint(tmp_path / "run/last.pt", **last)
    with pytest.raises(UserError, match="is not a checkpoint to continue from"):
        train_main(["--resume", str(tmp_path / "run")])


def test_settings_of_other_code_are_a_message(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=1))
    path = tmp_path / "run/hparams.json"
    whole = read_json(path)
    last = load_checkpoint(tmp_path / "run/last.pt")
    for changed in ({"batch_size": None}, {"genres": "jazz"}, {"new": 1}, {"seed": "x"}):
        save_checkpoint(tmp_path / "run/last.pt", **last | {"hparams": last["hparams"] | changed})
        with pytest.raises(UserError, match="this version has no setting|must be "):
            train_main(["--resume", str(tmp_path / "run")])
    (tmp_path / "run/last.pt").unlink()
    for changed in ({"batch_size": None}, {"genres": "jazz"}, {"new": 1}, {"seed": "x"}):
        write_json(path, whole | changed)
        with pytest.raises(UserError, match="this version has no setting|must be "):
            train_main(["--resume", str(tmp_path / "run")])


@pytest.mark.parametrize("text", ["", "[" * 10**5, "{}", '{"learning_rate": -1e999}', None])
def test_an_edited_hparams_json_does_not_change_what_is_trained(extracted, tmp_path, capsys, text):
    path, words = tmp_path / "run/hparams.json", {"batch_size": 5, "learning_rate": 0.05}
    train_main(flags(extracted, num_epochs=4, run_path=str(tmp_path / "whole"), **words))
    train_main(flags(extracted, num_epochs=2, run_path=str(tmp_path / "run"), **words))
    written = path.read_text(encoding="utf-8")
    edited = written.replace('"learning_rate": 0.05', '"learning_rate": 0.5')
    assert edited != written
    path.write_text(edited if text is None else text, encoding="utf-8")
    capsys.readouterr()
    train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "4"])
    out = capsys.readouterr().out
    assert "hparams.json does not hold the settings of last.pt: those count" in out
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    train_main(["--resume", str(tmp_path / "run")])
    assert "those count" not in capsys.readouterr().out, "it is repaired"


def test_an_edited_hparams_json_of_a_run_without_an_epoch_is_refused(extracted, tmp_path):
    path = tmp_path / "run/hparams.json"
    write_settings(
        make_run_folder(dataclasses.replace(extracted, run_path=str(path.parent))), extracted
    )
    path.write_text(path.read_text(encoding="utf-8").replace("0.01", "0.5"), encoding="utf-8")
    with pytest.raises(UserError, match=r"hparams.json is damaged \(.*does not match its hash\)"):
        train_main(["--resume", str(path.parent)])


def test_a_flag_of_a_resumed_run_is_kept_if_it_is_killed_at_once(extracted, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train_main(flags(extracted, num_epochs=1, run_path=str(folder)))
    with monkeypatch.context() as patch:
        patch.setattr("train_test.train_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_main(["--resume", str(folder), "--num_epochs", "3"])
    train_main(["--resume", str(folder)])
    assert load_checkpoint(folder / "last.pt")["epoch"] == 3


def test_a_half_written_file_of_a_killed_run_is_deleted(extracted, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("12-34.part", "run.lock", "run.lock.owner"):  # killed before its first file
        (folder / name).touch()
    train_main(flags(extracted, num_epochs=1, run_path=str(folder)))
    (folder / "56-78.part").touch()
    (folder / "index").mkdir()
    (folder / "index/90-12.part").touch()  # another command can write it now
    train_main(["--resume", str(folder)])
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.part")] == [
        str(Path("index/90-12.part"))
    ]
    assert not list(folder.glob("run.lock*"))


def test_a_run_is_written_by_one_command_at_a_time(extracted, tmp_path):
    folder = tmp_path / "run"
    train_main(flags(extracted, num_epochs=1, run_path=str(folder)))
    with lock_run(folder), pytest.raises(UserError, match=r"another command is writing this run"):
        train_main(["--resume", str(folder)])
    (tmp_path / "new").mkdir()
    with lock_run(tmp_path / "new"), pytest.raises(UserError, match=r"\(held by .*process \d+"):
        train_main(flags(extracted, run_path=str(tmp_path / "new")))
    train_main(["--resume", str(folder)])


def test_flags_that_would_change_a_resumed_run_are_refused(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    train_main(["--resume", str(tmp_path / "run"), "--seed", "0", "--device", "0"])
    with pytest.raises(UserError, match=r"--learning_rate 0.1: the run .* has 0.01, and a resumed"):
        train_main(["--resume", str(tmp_path / "run"), "--learning_rate", "0.1"])


def test_one_cycle_keeps_its_number_of_epochs(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), lr_schedule="onecycle"))
    with pytest.raises(UserError, match=r"--num_epochs 9: the run .* has 2, and a resumed"):
        train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "9"])


def test_a_one_cycle_run_that_ended_stays_the_same(extracted, tmp_path):
    words = {"num_epochs": 4, "learning_rate": 0.5, "lr_schedule": "onecycle"}
    train_main(flags(extracted, run_path=str(tmp_path / "run"), **words))
    before, report = outcome(tmp_path / "run"), read_report(tmp_path / "run")
    losses = [row["valid_loss"] for row in load_checkpoint(tmp_path / "run/last.pt")["history"]]
    assert min(losses) < losses[-1], "the last loss is the lowest: the test would prove nothing"
    assert report["best_epoch"] == load_checkpoint(tmp_path / "run/best.pt")["epoch"] == 4
    train_main(["--resume", str(tmp_path / "run")])
    assert outcome(tmp_path / "run") == before


def test_nothing_to_resume(extracted, tmp_path):
    with pytest.raises(UserError, match="there is no run in runs: start one"):
        train_main(["--resume"])
    with pytest.raises(UserError, match=r"hparams.json is missing: .* is not a run"):
        train_main(["--resume", str(tmp_path / "nowhere")])


def test_max_minutes_ends_a_run_after_its_epoch_and_it_can_be_resumed(extracted, tmp_path, capsys):
    history = train(extracted, tmp_path / "run", num_epochs=3, max_minutes=1e-9)
    assert len(history) == 1 + 1
    assert "--max_minutes is reached" in capsys.readouterr().out
    assert read_report(tmp_path / "run")["best_epoch"] == 1
    train_main(["--resume", str(tmp_path / "run"), "--max_minutes", "0"])
    train(extracted, tmp_path / "whole", num_epochs=3)
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("run", "whole")]
    assert histories[0] == histories[1]
