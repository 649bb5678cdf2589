"""Scripts killed at any moment and run again end where an undisturbed run does."""

import dataclasses
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, flags, write_data_set

from feature_extraction import main as extract_main
from hparams import UserError
from manifest import Journal, read_manifest


def kill_after(seconds, script, *arguments, with_signal=signal.SIGTERM):
    """Run a script and kill it after some seconds; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(with_signal)
        process.communicate()
        return True
    return False


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
        settings, dataset_path=str(tmp_path / "large"), feature_path="whole", feature_length=0
    )
    killed = dataclasses.replace(whole, feature_path="killed")
    extract_main(flags(whole))
    began = time.monotonic()
    draw = random.Random(0)
    while kill_after(draw.uniform(0.4, 1.2), "feature_extraction.py", *flags(killed)):
        assert time.monotonic() - began < 60
    extract_main(flags(killed))
    expected, found = contents(whole.feature_folder()), contents(killed.feature_folder())
    assert {p for p in found if p.suffix != ".part"} == set(expected)
    assert all(found[path] == data for path, data in expected.items())


def test_two_extractions_into_one_folder_are_refused(settings):
    with Journal(settings.feature_folder()), pytest.raises(UserError, match="another extraction"):
        extract_main(flags(settings))
    assert extract_main(flags(settings)) == 0


def test_features_cut_short_are_extracted_again(extracted, capsys):
    path = extracted.feature_folder() / "train/jazz/jazz.00000.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    capsys.readouterr()
    extract_main(flags(extracted))
    assert "1 tracks extracted" in capsys.readouterr().out
    assert path.read_bytes() == whole
