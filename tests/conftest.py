"""A tiny data set of synthesized tracks, and settings to match."""

import ctypes
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio.formats import OTHER_SUFFIXES
from audio.reading import SUFFIXES
from feature_extraction import main as extract_main
from hparams import HParams, in_group
from support.flags import flag_words
from tracks.catalog import read_catalog
from tracks.lists import load_lists
from tracks.tags import format_tags

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for scripts: tests run in parallel
ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("support", "audio", "tracks", "training")
RATE = 8000
SIZES = {"train": 4, "valid": 2, "test": 2}
GENRES = ("classical", "jazz", "metal")
TONES = dict(zip(GENRES, (["pitch:low"], ["pitch:middle", "dull"], ["pitch:high", "dull"])))
TAGS = ["dull", "pitch:high", "pitch:low", "pitch:middle"]


@pytest.fixture(autouse=True)
def without_ffmpeg(monkeypatch):
    """Let results not depend on whether ffmpeg is installed; test_ffmpeg.py overrides this."""
    monkeypatch.setattr("audio.decoding.find_ffmpeg", str)
    found = SUFFIXES & OTHER_SUFFIXES
    SUFFIXES.difference_update(found)
    yield
    SUFFIXES.update(found)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sine(hz, seconds=1.0, rate=RATE, level=0.5):
    """A tone (samples,), float32."""
    t = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def peak_hz(y, rate=RATE):
    """The frequency of the highest peak in a waveform's spectrum, interpolated between bins."""
    S = np.log(np.abs(np.fft.rfft(y * np.hanning(len(y)))) + 1e-9)
    k = int(S.argmax())
    a, b, c = S[k - 1 : k + 2]
    return (k + (a - c) / (2 * (a - 2 * b + c))) * rate / len(y)


def write_data_set(folder, seconds=2.1, sizes=SIZES, genres=GENRES):
    """Write a data set whose genres differ in pitch; return the names by split."""
    rng = np.random.default_rng(0)
    names = {split: [] for split in sizes}
    for number, genre in enumerate(genres):
        (folder / genre).mkdir(parents=True)
        splits = [split for split, count in sizes.items() for _ in range(count)]
        for index, split in enumerate(splits):
            y = sine(300 * 2**number * rng.uniform(0.9, 1.1), seconds)
            y += 0.05 * rng.standard_normal(len(y)).astype(np.float32)
            names[split].append(f"{genre}/{genre}.{index:05d}.wav")
            soundfile.write(folder / names[split][-1], y, RATE)
    for split, listed in names.items():
        text = "".join(f"{name}\n" for name in listed)
        (folder / f"{split}_list.txt").write_text(text, encoding="utf-8")
    return names


def write_long(path, seconds, rate=2 * RATE):
    """Write a stereo file of a tone and noise, in which no two parts are alike; return its path."""
    rng = np.random.default_rng(0)
    y = sine(100, seconds, rate) * np.linspace(0, 1, int(seconds * rate), dtype=np.float32)
    y = np.stack([y, y[::-1]], axis=1)
    soundfile.write(path, y + 0.05 * rng.standard_normal(y.shape), rate)
    return path


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """The folder of a data set of 24 tracks of 2.1 s (263 frames), in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def settings(data_set):
    """Settings with small values."""
    return HParams(
        dataset_path=str(data_set),
        feature_path="features",
        genres=list(GENRES),
        num_workers=1,
        sample_rate=RATE,
        fft_size=256,
        win_size=256,
        hop_size=64,
        num_mels=16,
        feature_length=256,
        device="cpu",
        batch_size=8,
        num_epochs=2,
    )


def flags(hparams, *groups, **changed):
    """Settings as words of a command line: all, or only those in `groups`."""
    hparams, words = dataclasses.replace(hparams, **changed), []
    for f in in_group(*groups) if groups else dataclasses.fields(hparams):
        words += flag_words(f.name, getattr(hparams, f.name))
    return words


@pytest.fixture
def extracted(settings):
    """Settings with extracted features."""
    assert extract_main(flags(settings)) == 0
    return settings


def write_tags(data_set, text, encoding="utf-8"):
    (data_set / "tags.csv").write_text(text, encoding=encoding, newline="")


def listed(settings):
    """The names of all tracks in the lists."""
    return [name for names in load_lists(settings).values() for name in names]


@pytest.fixture
def tagging(settings, data_set):
    """Settings for tagging; the tags of a track describe its pitch."""
    tags = {name: TONES[name.split("/")[0]] for name in listed(settings)}
    write_tags(data_set, format_tags(tags))
    return dataclasses.replace(settings, task="tagging")


@pytest.fixture
def extracted_tags(tagging, extracted):
    """Settings for tagging with extracted features, with the tags filled in."""
    return read_catalog(tagging).hparams


@pytest.fixture
def weights(settings):
    """The path of `best.pt` in a run folder for these settings, as if trained."""
    return save_run(settings, "runs/one")


def save_run(settings, folder, **changed):
    """Write a run folder with random weights and `changed` parts; return its `best.pt`."""
    import torch  # most tests do not need it

    from model import build_model
    from training.checkpoint import save_checkpoint

    torch.manual_seed(0)
    parts = {"hparams": settings.to_dict(), "mean": 0.1, "std": 0.2, "epoch": 3}
    parts = parts | {"model": build_model(settings).state_dict()} | changed
    save_checkpoint(Path(folder, "best.pt"), **parts)
    return Path(folder, "best.pt")


@pytest.fixture
def deny():
    """A function that takes all permissions from a path until the test ends, for root too."""
    paths, capabilities = [], None
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        capabilities = drop_capabilities()

    def take(path):
        paths.append((path, path.stat().st_mode))
        path.chmod(0)
        if os.access(path, os.R_OK, effective_ids=os.name != "nt"):
            pytest.skip("permissions do not hold here")
        return path

    yield take
    if capabilities:
        capabilities()
    for path, mode in paths:
        path.chmod(mode)


def drop_capabilities():
    """Take from this thread what lets root read all files; return a function that undoes it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the version of the interface, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, low bits; then the high
    if sys.platform != "linux" or libc.capget(header, sets):
        pytest.skip("only Linux can take permissions from root")
    effective = sets[0]
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, sets)

    def restore():
        sets[0] = effective
        libc.capset(header, sets)

    return restore


def rename_to_bytes(path):
    """Rename a file or folder to a name in Latin-1, which is not UTF-8; return its path."""
    if sys.platform != "linux":
        pytest.skip("only Linux allows such names")
    return path.rename(path.with_name(os.fsdecode(b"caf\xe9" + os.fsencode(path.suffix))))


def run(script, *arguments, cwd, **variables):
    """Run a script as a user does; return its output and its status."""
    environment = {"PYTHONIOENCODING": "utf-8", **os.environ, **variables}
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=170
    )


def source_files():
    """Paths of the project's Python files: scripts and rooms."""
    return [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).glob("*.py"))]


def esc10():
    """The folder of real recordings; skips the test if it is absent."""
    folder = ROOT.parent / "shared" / "audio" / "esc10"
    if not folder.is_dir():
        pytest.skip("the real recordings, ESC-10, are not in ../shared/audio")
    return folder
