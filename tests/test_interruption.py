"""Scripts killed at any moment and run again end where an undisturbed run does."""

import dataclasses
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, flags, write_data_set

from classic import main as classic_main
from data_augment import main as augment_main
from feature_extraction import main as extract_main
from support.errors import UserError
from tracks.manifest import Journal, read_manifest
from train_test import main as train_main
from training.checkpoint import (
    find_run,
    load_checkpoint,
    make_run_folder,
    new_folder,
    save_checkpoint,
    write_settings,
)


def kill_when(ready, script, *arguments):
    """Run a script and kill it once `ready()` is true; whether it was still running then."""
    command = [sys.executable, str(ROOT / script), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while process.poll() is None and not ready():
        assert time.monotonic() - began < 60
        time.sleep(0.001)
    process.kill()
    return process.wait() != 0


def contents(folder):
    """The bytes of every file of a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_journal_left_behind_is_gone_on_from(extracted, tmp_path, capsys):
    folder = extracted.feature_folder()
    undisturbed = contents(folder)
    tracks = read_manifest(folder)["tracks"]
    half = dict(list(tracks.items())[:10])
    (folder / "features.json").unlink()
    journal = Journal(folder)
    journal.begin(extracted.feature_settings())
    for key, entry in half.items():
        journal.add(key, entry)
    with open(journal.path, "ab") as file:
        file.write(b'["train/jazz/half a li')
    for key in tracks.keys() - half.keys():
        (folder / key).unlink()
    capsys.readouterr()
    assert extract_main(flags(extracted)) == 0
    assert "14 tracks extracted" in capsys.readouterr().out
    assert contents(folder) == undisturbed


def test_a_journal_of_other_settings_counts_for_nothing(extracted, capsys):
    folder = extracted.feature_folder()
    tracks = read_manifest(folder)["tracks"]
    journal = Journal(folder)
    journal.begin(dataclasses.replace(extracted, num_mels=20).feature_settings())
    for key, entry in tracks.items():
        journal.add(key, entry)
    (folder / "features.json").unlink()
    capsys.readouterr()
    extract_main(flags(extracted))
    assert "24 tracks extracted" in capsys.readouterr().out


def test_killed_extraction_ends_as_an_undisturbed_one(settings, tmp_path):
    write_data_set(tmp_path / "large", seconds=20, sizes={"train": 60, "valid": 2, "test": 2})
    whole = dataclasses.replace(
        settings,
        dataset_path=str(tmp_path / "large"),
        feature_path="whole",
        feature_length=0,
        num_workers=2,
    )
    killed = dataclasses.replace(whole, feature_path="killed")
    extract_main(flags(whole))
    folder, draw, kills = killed.feature_folder(), random.Random(0), 0

    def extracted_more(enough):
        return len(list(folder.rglob("*.npy"))) >= enough

    for enough in range(draw.randrange(10, 40), 150, draw.randrange(10, 40)):
        ready = functools.partial(extracted_more, enough)
        kills += kill_when(ready, "feature_extraction.py", *flags(killed))
    assert kills
    extract_main(flags(killed))
    expected, found = contents(whole.feature_folder()), contents(killed.feature_folder())
    assert {p for p in found if p.suffix != ".part"} == set(expected)
    assert all(found[path] == data for path, data in expected.items())


def test_two_extractions_into_one_folder_are_refused(settings):
    with Journal(settings.feature_folder()), pytest.raises(UserError, match="another extraction"):
        extract_main(flags(settings))
    assert extract_main(flags(settings)) == 0


def test_two_extractions_at_once_leave_whole_features(extracted):
    both = dataclasses.replace(extracted, feature_path="both", num_workers=2)
    command = [sys.executable, str(ROOT / "feature_extraction.py"), *flags(both)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    statuses = sorted(process.returncode for process in processes)
    assert statuses in ([0, 0], [0, 1])
    assert all(not e or "another extraction is writing" in e.splitlines()[-1] for e in errors)
    tracks = [read_manifest(h.feature_folder())["tracks"] for h in (extracted, both)]
    assert tracks[0] == tracks[1]


def run_limited(module, limit, words):
    """Run a script's main where no file can grow beyond `limit` bytes, as on a full disk."""
    code = (
        f"import {module} as script, sys\n"
        "from hparams import run_script\n"
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "run_script(lambda: script.main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes to set")
def test_a_full_disk_is_a_message_and_leaves_what_is_there(extracted):
    folder = extracted.feature_folder()
    before = contents(folder)
    longer = dataclasses.replace(extracted, feature_path="longer", feature_length=1024)
    for hparams in (longer, dataclasses.replace(longer, feature_path="features")):
        done = run_limited("feature_extraction", 20_000, flags(hparams))
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert ".npy cannot be written (" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(hparams.feature_folder().rglob("*.part"))
    npy = {path: data for path, data in before.items() if path.suffix == ".npy"}
    assert npy.items() <= contents(folder).items()
    assert extract_main(flags(longer)) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes to set")
def test_a_full_disk_while_augmenting_is_a_message(extracted):
    words = flags(extracted, augment_effects=["noise"])
    done = run_limited("data_augment", 20_000, words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ".wav cannot be written (" in done.stderr
    assert augment_main(words) == 0


def test_features_cut_short_are_extracted_again(extracted, capsys):
    path = extracted.feature_folder() / "train/jazz/jazz.00000.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    capsys.readouterr()
    extract_main(flags(extracted))
    assert "1 tracks extracted" in capsys.readouterr().out
    assert path.read_bytes() == whole


def outcome(folder):
    """All that a run computed: losses, report (but for the time it took), weights."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    del report["minutes"]
    weights = load_checkpoint(folder / "best.pt")["model"]
    history = (folder / "history.csv").read_text(encoding="utf-8")
    return history, report, {name: value.tolist() for name, value in weights.items()}


def test_a_resumed_run_equals_an_uninterrupted_one(extracted, tmp_path, capsys):
    settings = {"momentum": 0.9, "batch_size": 5}
    train_main(flags(extracted, num_epochs=5, run_path=str(tmp_path / "whole"), **settings))
    train_main(flags(extracted, num_epochs=2, run_path=str(tmp_path / "half"), **settings))
    capsys.readouterr()
    train_main(["--resume", str(tmp_path / "half"), "--num_epochs", "5"])
    assert "Going on with" in capsys.readouterr().out
    assert outcome(tmp_path / "half") == outcome(tmp_path / "whole")
    settings = json.loads((tmp_path / "half/hparams.json").read_text(encoding="utf-8"))
    assert (settings["num_epochs"], settings["resume"]) == (5, "")


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {
            **{"optimizer": "adamw", "lr_schedule": "onecycle", "class_weights": True},
            **{"random_offset": True, "gain_db": 3.0, "time_mask": 9, "mixup": 0.3},
        },
    ],
    ids=["tutorial", "recipe"],
)
def test_killed_training_ends_as_an_undisturbed_one(extracted, tmp_path, recipe):
    words = {"num_epochs": 30, "batch_size": 3, **recipe}
    train_main(flags(extracted, run_path=str(tmp_path / "whole"), **words))
    killed = tmp_path / "killed"
    arguments = flags(extracted, run_path=str(killed), **words)
    assert kill_when((killed / "last.pt").exists, "train_test.py", *arguments)
    train_main(["--resume", str(killed)])
    assert outcome(killed) == outcome(tmp_path / "whole")


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
    assert "Going on with runs" in out
    assert out.splitlines()[-1].endswith("a")


def test_a_run_killed_in_its_first_epoch_begins_again_in_its_folder(extracted, tmp_path):
    words = {"num_epochs": 2, "seed": 3}
    train_main(flags(extracted, run_path=str(tmp_path / "whole"), **words))
    hparams = dataclasses.replace(extracted, run_path=str(tmp_path / "killed"), **words)
    write_settings(make_run_folder(hparams), hparams)
    train_main(["--resume", str(tmp_path / "killed")])
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_a_kill_between_last_and_best_is_made_up_for(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=3))
    before = outcome(tmp_path / "run")
    best = load_checkpoint(tmp_path / "run/best.pt")
    assert best["epoch"] == 3
    (tmp_path / "run/best.pt").unlink()
    train_main(["--resume", str(tmp_path / "run")])
    assert outcome(tmp_path / "run") == before
    again = load_checkpoint(tmp_path / "run/best.pt")
    assert again | {"model": None} == best | {"model": None}


def test_runs_begun_at_once_have_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_folder, [tmp_path / "runs/a"] * 8))
    assert len(set(made)) == 8


def test_a_run_that_goes_on_has_no_old_report(extracted, tmp_path, monkeypatch):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    with monkeypatch.context() as patch:
        patch.setattr("train_test.test", interrupt)
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


def test_an_interrupted_classifier_is_no_run_to_go_on_with(extracted, tmp_path, monkeypatch):
    train_main(flags(extracted, num_epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr("classic.fit_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            classic_main(flags(extracted, model="knn"))
    assert find_run("newest").name.startswith("data-Baseline-")


def test_other_data_are_not_gone_on_with(extracted, data_set, tmp_path):
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
    ],
)
def test_a_checkpoint_of_other_code_is_not_gone_on_with(extracted, tmp_path, damage):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=1))
    last = load_checkpoint(tmp_path / "run/last.pt")
    damage(last)
    save_checkpoint(tmp_path / "run/last.pt", **last)
    with pytest.raises(UserError, match="is no checkpoint to go on from"):
        train_main(["--resume", str(tmp_path / "run")])


def test_settings_of_other_code_are_a_message(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), num_epochs=1))
    path = tmp_path / "run/hparams.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for changed in ({"batch_size": None}, {"genres": "jazz"}, {"new": 1}, {"seed": "x"}):
        path.write_text(json.dumps(whole | changed), encoding="utf-8")
        with pytest.raises(UserError, match="no such setting|is no "):
            train_main(["--resume", str(tmp_path / "run")])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes to set")
def test_a_full_disk_while_training_is_a_message(extracted, tmp_path):
    for limit in (3_000, 65_536):
        words = flags(extracted, run_path=str(tmp_path / f"run{limit}"))
        done = run_limited("train_test", limit, words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr
        assert ".pt cannot be written (" in done.stderr


def test_flags_that_would_change_a_resumed_run_are_refused(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run")))
    train_main(["--resume", str(tmp_path / "run"), "--seed", "0", "--device", "0"])
    with pytest.raises(UserError, match=r"--learning_rate 0.1: the run .* has 0.01, and a resumed"):
        train_main(["--resume", str(tmp_path / "run"), "--learning_rate", "0.1"])


def test_one_cycle_keeps_its_number_of_epochs(extracted, tmp_path):
    train_main(flags(extracted, run_path=str(tmp_path / "run"), lr_schedule="onecycle"))
    with pytest.raises(UserError, match=r"--num_epochs 9: the run .* has 2, and a resumed"):
        train_main(["--resume", str(tmp_path / "run"), "--num_epochs", "9"])


def test_nothing_to_resume(extracted, tmp_path):
    with pytest.raises(UserError, match="there is no run in runs: start one"):
        train_main(["--resume"])
    with pytest.raises(UserError, match=r"hparams.json is missing or damaged .* is no run"):
        train_main(["--resume", str(tmp_path / "nowhere")])


def hear_ctrl_c():
    """Undo what a shell does to commands in the background: they do not hear Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_training_cleanly(extracted, tmp_path):
    folder = tmp_path / "run"
    words = flags(extracted, num_epochs=10000, run_path=str(folder))
    command = [sys.executable, str(ROOT / "train_test.py"), *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )
    began = time.monotonic()
    while not (folder / "last.pt").exists():
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().splitlines() == [
        f"to go on: python train_test.py --resume {folder}",
        "interrupted",
    ]
    assert load_checkpoint(folder / "last.pt")["epoch"] >= 1
    assert not list(folder.glob("*.part"))
