"""Runs are made in folders of their own, and found by what a command asks for."""

import dataclasses
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import flags, save_run
from sample_reports import HISTORY, some_report, tag_report

from support.errors import UserError
from train_test import main as train_main
from training import runs
from training.checkpoint import save_checkpoint, write_history, write_settings
from training.runs import find_run_folder, find_run_to_resume, find_weights, new_folder


def test_runs_started_at_once_get_separate_folders(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_folder, [tmp_path / "runs/a"] * 8))
    assert len(set(made)) == 8


def test_runs_are_named_and_never_overwritten(extracted, monkeypatch, tmp_path):
    monkeypatch.setattr(runs.time, "strftime", lambda _: "20260102-030405")
    for _ in range(2):
        train_main(flags(extracted, num_epochs=1))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "data-Baseline-20260102-030405",
        "data-Baseline-20260102-030405-2",
    ]


def test_the_newest_run_with_weights_is_found(settings, weights):
    newer = save_run(settings, "runs/two")
    os.utime(weights, ns=(0, 0))
    assert find_weights(None) == newer
    assert find_weights("runs/one") == find_weights("runs/one/best.pt") == weights


def test_no_run_is_a_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no run in runs has weights.*`python train_test.py`"):
        find_weights(None)
    (tmp_path / "runs/classic").mkdir(parents=True)
    (tmp_path / "runs/classic/report.json").touch()
    for run in (None, "runs/classic", "nowhere"):
        with pytest.raises(UserError, match="has no weights|no run in runs has weights"):
            find_weights(run)


def make_run(hparams, name, age, report=None):
    """A run folder as training leaves it, `age` seconds old; unfinished without a report."""
    folder = save_run(hparams, f"runs/{name}").parent
    write_settings(folder, hparams)
    write_history(folder, HISTORY)
    save_checkpoint(folder / "last.pt", model={}, history=HISTORY)
    if report:
        text = json.dumps(report | {"tracks": [], "num_tracks": 4})
        (folder / "report.json").write_text(text, encoding="utf-8")
    at = 2_000_000_000 - age
    for path in folder.iterdir():
        os.utime(path, (at, at))
    return folder


def make_classic(hparams, name, age):
    """A finished run of classic.py, which has no weights."""
    folder = make_run(hparams, name, age, some_report())
    (folder / "best.pt").unlink()
    (folder / "last.pt").unlink()
    return folder


def test_the_newest_finished_run_is_taken_and_newer_ones_are_named(settings, capsys):
    tagging = dataclasses.replace(settings, task="tagging", tags=["loud", "soft"])
    make_run(settings, "oldest", 500, some_report())
    wanted = make_run(settings, "old", 400, some_report())
    make_run(settings, "training", 100)
    make_classic(settings, "classic", 50)
    tags = make_run(tagging, "tags", 200, tag_report())
    assert find_weights(None) == tags / "best.pt"
    assert capsys.readouterr().out.splitlines() == [
        f"*** {Path('runs/classic')} is newer, but has no weights (best.pt)",
        f"*** {Path('runs/training')} is newer, but its training has not ended",
    ]

    def reject(run):
        return "its task is tagging" if run.settings["task"] == "tagging" else ""

    assert find_weights(None, reject) == wanted / "best.pt"
    assert f"{tags} is newer, but its task is tagging\n" in capsys.readouterr().out
    assert find_weights(str(tags), reject) == tags / "best.pt"
    assert capsys.readouterr().out == "", "who names a run needs no advice"


def test_a_rejected_run_is_better_than_none(settings):
    folder = make_run(settings, "a", 9, some_report())
    assert find_weights(None, lambda run: "its task is tagging") == folder / "best.pt"


def test_runs_of_the_same_age_are_named(settings, capsys):
    for name, age in (("a", 10), ("b", 10), ("c", 10.9), ("d", 12)):
        make_run(settings, name, age, some_report())
    assert find_weights(None) == Path("runs/b/best.pt")
    assert capsys.readouterr().out.splitlines() == [
        f"*** {Path('runs/a')} is as new: pass --run to name the one you mean",
        f"*** {Path('runs/c')} is as new: pass --run to name the one you mean",
    ]


def test_many_newer_runs_are_counted(settings, capsys):
    make_run(settings, "a", 100, some_report())
    for number in range(9):
        make_run(settings, f"killed-{number}", number)
    find_weights(None)
    *shown, last = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 and "killed-0 is newer" in shown[0]
    assert last == "*** 9 runs are as new or newer: `python train_test.py --runs` lists all"


def test_weights_that_were_copied_here_alone_are_found_last(settings, capsys):
    save_run(settings, "runs/copied")
    assert find_weights(None) == Path("runs/copied/best.pt")
    make_run(settings, "old", 2e9, some_report())
    assert find_weights(None) == Path("runs/old/best.pt")
    assert "copied is newer, but has no report" in capsys.readouterr().out


def test_without_a_finished_run_the_commands_for_an_unfinished_one_are_named(settings):
    make_run(settings, "a b", 9)
    with pytest.raises(UserError, match="no run in runs has finished") as caught:
        find_weights(None)
    assert "`python train_test.py --resume 'runs/a b'`" in str(caught.value)
    assert "`--run 'runs/a b'`" in str(caught.value)


def test_the_newest_unfinished_run_is_resumed(settings):
    make_run(settings, "older", 500)
    wanted = make_run(settings, "killed", 400)
    make_run(settings, "finished", 100, some_report())
    make_classic(settings, "classic", 50)
    assert find_run_to_resume("newest") == wanted
    assert find_run_folder("") == Path("runs/classic"), "its page shows a report too"


def test_runs_of_comparisons_are_not_found(settings):
    make_run(settings, "compare/data/compact1d-0-12345678", 9, some_report())
    with pytest.raises(UserError, match="no run in runs has weights"):
        find_weights(None)


def test_runs_are_listed_as_a_table(settings, capsys):
    tagging = dataclasses.replace(settings, task="tagging", tags=["loud"], model="Compact1D")
    with pytest.raises(UserError, match="there is no run in runs: train one with `python train_"):
        train_main(["--runs"])
    make_run(settings, "killed", 1)
    make_run(settings, "genres", 200, some_report())
    make_run(tagging, "tags", 100, tag_report())
    damaged = make_run(settings, "dam\u202eaged", 300, some_report())
    for name in ("hparams.json", "report.json"):
        (damaged / name).write_text("{" * 9, encoding="utf-8")
        os.utime(damaged / name, (1_999_999_700, 1_999_999_700))
    train_main(["--runs"])
    header, *rows = (re.split("  +", line) for line in capsys.readouterr().out.splitlines())
    assert header == ["run", "data", "model", "task", "score", "finished"]
    assert [row[:-1] for row in rows] == [
        ["dam\\u202eaged", "?", "?", "?"],
        ["genres", "data", "Baseline", "genre", "track accuracy 75.0 %"],
        ["tags", "data", "Compact1D", "tagging", "ROC-AUC 0.767"],
        ["killed", "data", "Baseline", "genre"],
    ]
    assert all(re.fullmatch(r"2033-05-1\d \d\d:\d\d", row[-1]) for row in rows[:-1])
    assert rows[-1][-1] == "no: epoch 3 of 2"
