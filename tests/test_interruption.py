"""Scripts killed at any moment and run again end where an undisturbed run does."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, flags

from data_augment import main as augment_main
from feature_extraction import main as extract_main
from support.errors import UserError
from support.files import json_line, read_json
from tracks.manifest import open_manifest, read_manifest
from train_test import main as train_main
from training.checkpoint import load_checkpoint


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


def test_an_unfinished_manifest_is_continued(extracted, capsys):
    folder = extracted.feature_folder()
    undisturbed = contents(folder)
    lines = undisturbed[Path("features.jsonl")].splitlines(keepends=True)
    torn = lines[11][: len(lines[11]) // 2]  # killed while it wrote the eleventh track
    (folder / "features.jsonl").write_bytes(b"".join(lines[:11]) + torn)
    for line in lines[11:]:
        (folder / f"{json.loads(line)['track']}.npy").unlink()
    capsys.readouterr()
    assert extract_main(flags(extracted)) == 0
    out = capsys.readouterr().out
    assert "10 of 24 tracks are already extracted" in out
    assert "14 tracks extracted" in out
    assert contents(folder) == undisturbed


def test_a_manifest_of_other_settings_is_replaced(extracted, capsys):
    path = extracted.feature_folder() / "features.jsonl"
    first, *lines = path.read_bytes().splitlines(keepends=True)
    settings = dataclasses.replace(extracted, num_mels=20).feature_settings()
    other = json.loads(first) | {"settings": settings}
    del other["line_crc32"]
    path.write_bytes(b"".join([json_line(other), *lines]))
    capsys.readouterr()
    extract_main(flags(extracted))
    out = capsys.readouterr().out
    assert "features with other settings: they are replaced" in out
    assert "24 tracks extracted" in out


def test_features_of_an_older_version_are_extracted_again(extracted, capsys):
    folder = extracted.feature_folder()
    (folder / "features.jsonl").rename(folder / "features.json")
    (folder / "train/jazz").mkdir(parents=True)
    capsys.readouterr()
    assert extract_main(flags(extracted)) == 0
    out = capsys.readouterr().out
    assert "features of an older version: all tracks are extracted again" in out
    assert "24 tracks extracted" in out
    assert not (folder / "features.json").exists()
    assert extract_main(flags(extracted)) == 0
    assert "nothing to extract" in capsys.readouterr().out


def test_two_extractions_into_one_folder_are_refused(settings):
    with open_manifest(settings), pytest.raises(UserError, match="another extraction"):
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
    tracks = [read_manifest(h.feature_folder()).tracks for h in (extracted, both)]
    assert tracks[0] == tracks[1]


def run_limited(module, limit, words):
    """Run a script's main where no file can grow beyond `limit` bytes, as on a full disk."""
    code = (
        f"import {module} as script, sys\n"
        "from support.errors import run_script\n"
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
    words = ["--dataset_path", extracted.dataset_path, "--augment_effects", "noise"]
    done = run_limited("data_augment", 20_000, words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ".wav cannot be written (" in done.stderr
    assert augment_main(words) == 0


def test_features_cut_short_are_extracted_again(extracted, capsys):
    path = extracted.feature_folder() / "jazz/jazz.00000.wav.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    capsys.readouterr()
    extract_main(flags(extracted))
    assert "1 tracks extracted" in capsys.readouterr().out
    assert path.read_bytes() == whole


def outcome(folder):
    """All that a run computed: losses, report (but for the time it took), weights."""
    report = read_json(folder / "report.json")
    del report["minutes"]
    weights = load_checkpoint(folder / "best.pt")["model"]
    history = (folder / "history.csv").read_text(encoding="utf-8")
    return history, report, {name: value.tolist() for name, value in weights.items()}


def test_killed_training_ends_as_an_undisturbed_one(extracted, tmp_path):
    words = {"num_epochs": 30, "batch_size": 3, "optimizer": "adamw", "lr_schedule": "onecycle"}
    words |= {"class_weights": True, "random_offset": True, "time_mask": 9, "mixup": 0.3}
    train_main(flags(extracted, run_path=str(tmp_path / "whole"), **words))
    killed = tmp_path / "killed"
    arguments = flags(extracted, run_path=str(killed), **words)
    assert kill_when((killed / "last.pt").exists, "train_test.py", *arguments)
    train_main(["--resume", str(killed)])
    assert outcome(killed) == outcome(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes to set")
def test_a_full_disk_while_training_is_a_message(extracted, tmp_path):
    for limit in (3_000, 65_536):
        words = flags(extracted, run_path=str(tmp_path / f"run{limit}"))
        done = run_limited("train_test", limit, words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr
        assert ".pt cannot be written (" in done.stderr


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
        f"to continue: python train_test.py --resume {folder}",
        "interrupted",
    ]
    assert load_checkpoint(folder / "last.pt")["epoch"] >= 1
    assert not list(folder.glob("*.part"))
