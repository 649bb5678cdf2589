"""`make mine` goes from a folder of music, whatever its names, to a report."""

import os
import shutil
import subprocess
import sys

import pytest
import soundfile
from conftest import RATE, ROOT, sine

FOLDERS = {"hip hop": 300, "Ünïcode & co": 900}  # with the pitch of their tracks
TRACKS = ("01 - it's.wav", "a (live) #2.flac", "100% $HOME.ogg", "b;c.wav", "`d`.wav", "한국.mp3")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project's code, in which runs and features are made."""
    left_out = shutil.ignore_patterns(".*", "runs", "feature", "demo", "tests", "*.png", "*.ipynb")
    return shutil.copytree(ROOT, tmp_path / "checkout", ignore=left_out)


def write_music(folder):
    for genre, hz in FOLDERS.items():
        (folder / genre).mkdir(parents=True)
        for number, name in enumerate(TRACKS):
            y = sine(hz * (1 + number / 50), 3.5 + number / 10)
            soundfile.write(folder / genre / name, y, RATE)
    return folder


def make_mine(checkout, folder):
    """Run `make mine` with this Python instead of a new environment."""
    (checkout / "installed").touch()
    words = [f"VENV_PYTHON={sys.executable}", "INSTALLED=installed"]
    given = [f"DATA={folder}"] if folder else []
    # a make within another one prints more
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    options = {"capture_output": True, "encoding": "utf-8", "env": environment}
    return subprocess.run(["make", "mine", *given, *words], cwd=checkout, **options)


def test_a_folder_becomes_a_report_and_its_lists_are_kept(checkout, tmp_path):
    folder = write_music(tmp_path / 'it\'s my $5 "내 음악"')
    done = make_mine(checkout, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = ("12 tracks, 12 groups", "0 duplicates and 0 near-duplicates", "12 tracks extracted")
    assert [step for step in steps if step not in done.stdout] == []
    assert "Test Track Accuracy:" in done.stdout
    (report,) = checkout.glob("runs/*-Compact2D-*/report.txt")
    assert report.read_text(encoding="utf-8") in done.stdout
    lists = {path: path.read_bytes() for path in folder.glob("*_list.txt")}
    soundfile.write(folder / "hip hop/new.wav", sine(310, 3.2), RATE)
    again = make_mine(checkout, folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "keeps its lists of 12 tracks; 1 others are in no list" in again.stdout
    assert lists == {path: path.read_bytes() for path in folder.glob("*_list.txt")}


def test_a_broken_track_stops_it_with_its_message(checkout, tmp_path):
    folder = write_music(tmp_path / "music")
    broken = folder / "hip hop" / TRACKS[0]
    broken.write_bytes(b"no audio")
    done = make_mine(checkout, folder)
    assert done.returncode != 0
    assert f"broken: {broken}" in done.stderr
    assert "Traceback" not in done.stderr and "Extracting" not in done.stdout


def test_without_a_folder_it_is_one_clear_line(checkout):
    done = make_mine(checkout, "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DATA is missing: name the folder of your music, make mine DATA=my_music" in done.stderr
    assert len(done.stderr.splitlines()) == 1
