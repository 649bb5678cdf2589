"""Tracks without sound, with one sample, or far too loud: named, finite, and no duplicates."""

import dataclasses
import shutil
from itertools import product

import numpy as np
import pytest
import soundfile
from conftest import RATE, ROOT, flags, sine

import visualize
from data_manager import get_dataloader, load_dataset
from feature_extraction import main as extract_main
from support.errors import UserError
from tracks.lists import SPLITS
from tracks.manifest import read_manifest

KINDS = [
    (feature, scale)
    for feature, scale in product(
        ("log_mel", "linear_stft", "mfcc", "cqt", "waveform"), ("tutorial", "db", "musicnn", "none")
    )
    if scale == "tutorial" or feature not in ("mfcc", "waveform")  # whose values have no scale
]


def of_kind(settings, feature, scale, **changed):
    """Settings for small features of a kind."""
    sizes = {"num_mfcc": 10, "num_cqt_bins": 72, "chunk_length": 32, "feature_length": 64}
    return dataclasses.replace(settings, feature=feature, scale=scale, **sizes | changed)


def quiet(rng, seconds):
    """A random track without sound: (samples, channels), and what extraction says of it."""
    samples = int(seconds * RATE)
    level = 10 ** rng.uniform(-9, -4.05)
    noise = rng.uniform(-level, level, samples)
    loud = rng.uniform(0.01, 0.9) * np.sin(np.arange(samples) * rng.uniform(0.1, 2))
    offset = rng.choice([-1, 1]) * rng.uniform(0.001, 0.9)
    still = 0.3 * level * rng.choice([-1, 1], samples)  # below the threshold, whatever the mean
    silent = "is silent, in the part that is kept"
    constant = "is constant ({:.2g}), without sound, in the part that is kept"
    return [
        (np.zeros((samples, 1)), silent),
        (noise[:, None], silent),
        (np.stack([noise, noise[::-1]], axis=1), silent),
        (np.stack([loud, -loud], axis=1), "is silent in mono: its channels cancel each other out"),
        (np.stack([loud, -loud, noise], axis=1), "is silent in mono: its channels cancel each"),
        (np.full((samples, 1), offset), constant.format(np.float32(offset))),
        ((offset + still)[:, None], "), without sound, in the part that is kept"),
    ][rng.integers(7)]


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize(("feature", "scale"), KINDS)
def test_tracks_without_sound_are_named_and_no_duplicates(
    settings, data_set, feature, scale, capsys
):
    rng = np.random.default_rng(KINDS.index((feature, scale)))
    expected = {}
    for number, split in enumerate(SPLITS * 7):
        y, said = quiet(rng, rng.uniform(0.3, 1))
        expected[f"jazz/quiet.{number}.wav"] = said
        soundfile.write(data_set / f"jazz/quiet.{number}.wav", y, RATE, "FLOAT")
        with open(data_set / f"{split}_list.txt", "a", encoding="utf-8") as file:
            file.write(f"jazz/quiet.{number}.wav\n")
    hparams = of_kind(settings, feature, scale)
    assert extract_main(flags(hparams)) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(expected)
    for name, said in expected.items():
        (line,) = (line for line in lines if f"/{name} " in line)
        assert said in line
    tracks = read_manifest(hparams.feature_folder()).tracks
    assert {name for name, entry in tracks.items() if entry["silent"]} == set(expected)
    for loader in get_dataloader(hparams):  # raises if it takes silence for a duplicate
        assert loader.dataset.x.isfinite().all()


def test_equal_tracks_with_sound_are_still_duplicates(settings, data_set):
    quietest = sine(440, 2.1, level=2e-4)
    for name in ("jazz/jazz.00000.wav", "metal/metal.00007.wav"):
        soundfile.write(data_set / name, quietest, RATE, "FLOAT")
    assert extract_main(flags(settings)) == 0
    with pytest.raises(UserError, match=r"jazz.00000.wav .* metal/metal.00007.wav .* are "):
        get_dataloader(settings)


def test_a_track_that_starts_after_the_kept_part_is_silent(settings, data_set, capsys):
    late = np.concatenate([np.zeros(3 * RATE), sine(440)])
    soundfile.write(data_set / "jazz/jazz.00000.wav", np.stack([late, late], axis=1), RATE)
    assert extract_main(flags(settings)) == 0
    assert "00000.wav is silent, in the part that is kept\n" in capsys.readouterr().err


def test_a_constant_at_another_sample_rate_is_not_silence(settings, data_set, capsys):
    for name, rate in (("jazz/jazz.00000.wav", 44100), ("jazz/jazz.00006.wav", 11025)):
        soundfile.write(data_set / name, np.full(2 * rate, 0.25), rate, "FLOAT")
    assert extract_main(flags(settings)) == 0
    captured = capsys.readouterr()
    assert captured.err.count("is constant (0.25), without sound") == 2
    assert "Resampled to 8000 Hz: 11025 Hz (1 tracks), 44100 Hz (1 tracks)\n" in captured.out
    get_dataloader(settings)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize(("feature", "scale"), KINDS)
def test_one_sample_and_far_too_loud_tracks_give_finite_features(
    settings, data_set, feature, scale, capsys
):
    tone = sine(300, 2.1, level=1)
    soundfile.write(data_set / "jazz/jazz.00000.wav", np.ones(1), 192000)
    soundfile.write(data_set / "jazz/jazz.00001.wav", np.ones(1), RATE)
    for number, level in enumerate((1e30, 1e10, 3e38), 2):
        loud = np.float32(level) * tone
        soundfile.write(data_set / f"jazz/jazz.0000{number}.wav", loud, RATE, "FLOAT")
    hparams = of_kind(settings, feature, scale, skip_broken=True)
    assert extract_main(flags(hparams)) == 0
    errors = capsys.readouterr().err
    assert "unexpected" not in errors
    for number in range(5):
        if number != 1 or feature != "waveform":  # one sample is a row of a waveform
            assert f"jazz.0000{number}.wav " in errors
    for split in SPLITS:
        assert np.isfinite(load_dataset(split, hparams)[0]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("page", ["", "--chunks", "--augment"])
def test_odd_tracks_are_drawn_or_named(data_set, page, capsys):
    tone = sine(300, 0.5, level=1)
    files = {"one": np.ones(1), "zero": np.zeros(4000), "offset": np.full(4000, 0.5)}
    files |= {"loud": np.float32(1e30) * tone, "louder": np.float32(3e38) * tone}
    for name, y in files.items():
        soundfile.write(f"{name}.wav", y, RATE, "FLOAT")
    words = ["--win_size", "256", "--fft_size", "256", "--sample_rate", str(RATE)]
    status = visualize.main([*(f"{name}.wav" for name in files), *page.split(), *words])
    captured = capsys.readouterr()
    assert "unexpected" not in captured.err
    drawn = {name for name in files if f"{name}.wav" in captured.out}
    assert drawn >= {"zero", "offset"}
    assert all(f"{name}.wav h" in captured.err for name in files.keys() - drawn)
    assert status == (1 if drawn != files.keys() else 0)


def test_the_shortest_file_that_people_have(settings, data_set, capsys):
    case = ROOT.parent / "shared/cases/w_1sample_192k.wav"
    if not case.is_file():
        pytest.skip("the sample files are not in ../shared/cases")
    shutil.copy(case, data_set / "jazz/jazz.00000.wav")
    assert extract_main(flags(settings)) == 0
    assert "jazz.00000.wav is shorter than one frame" in capsys.readouterr().err
