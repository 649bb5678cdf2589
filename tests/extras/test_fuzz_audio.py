"""1,000 damaged and lying headers of audio files: a clear error or samples, and bounded memory."""

import io
import resource
import sys

import numpy as np
import pytest
import soundfile
from conftest import sine

from audio.reading import SUFFIXES, load_audio, read_audio, stream_audio, warnings_of
from hparams import HParams
from support.errors import UserError

FORMATS = ("WAV", "AIFF", "AU", "FLAC", "OGG", "MP3", "W64", "RF64", "CAF")
ROUNDS = 112  # of each format
RATE = 16000
EXTREME = (0, 1, 0x7F, 0x80, 0xFF)
LIMIT = 400 << 20  # bytes by which the process may grow


def make(kind, seconds=1.5, subtype=None):
    """The bytes of a file of tones and noise, stereo."""
    rng = np.random.default_rng(0)
    y = np.stack([sine(440, seconds, RATE), sine(660, seconds, RATE)], axis=1)
    data = io.BytesIO()
    soundfile.write(data, y + 0.05 * rng.standard_normal(y.shape), RATE, subtype, format=kind)
    return data.getvalue()


def mutate(data, rng):
    """Bytes that were changed, cut, put in or doubled, mostly in the header."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        end = len(data) if rng.random() < 0.2 else min(len(data), 120)
        at, count = int(rng.integers(0, end)), int(rng.choice([1, 1, 2, 4, 8]))
        change = rng.integers(0, 6)
        if change == 0:
            data[at] ^= 1 << rng.integers(0, 8)
        elif change == 1:
            data[at : at + count] = bytes([rng.choice(EXTREME)]) * count
        elif change == 2:
            data[at : at + count] = rng.bytes(count)
        elif change == 3 and rng.random() < 0.3:
            del data[at : at + int(rng.integers(1, 2000))]
        elif change == 4 and rng.random() < 0.3:
            data[at:at] = rng.bytes(int(rng.integers(1, 2000)))
        elif change == 5 and rng.random() < 0.2:
            data += data[: int(rng.integers(1, len(data)))]
    return bytes(data)


def read_both_ways(path):
    """The samples of a file, or the error; both ways of reading have to agree."""
    try:
        samples, rate = read_audio(path)
    except UserError as error:
        with pytest.raises(UserError) as streamed:
            list(stream_audio(path, HParams(sample_rate=RATE)))
        assert str(streamed.value) == str(error)
        return str(error)
    hparams = HParams(sample_rate=rate)
    parts = list(stream_audio(path, hparams))
    np.testing.assert_array_equal(np.concatenate(parts), load_audio(path, hparams))
    return samples


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_headers_end_in_samples_or_a_clear_error(tmp_path, kind, capfd):
    rng, whole = np.random.default_rng(FORMATS.index(kind)), make(kind)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in range(ROUNDS):
        suffix = rng.choice(sorted(SUFFIXES)) if number % 4 == 0 else f".{kind.lower()}"
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(mutate(whole, rng))
        refused += isinstance(read_both_ways(path), str)
    assert 0 < refused < ROUNDS
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < LIMIT
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_no_damage_of_the_sound_passes_a_checksum(tmp_path, kind):
    rng, whole, path = np.random.default_rng(7), make(kind), tmp_path / "a"
    path.write_bytes(whole)
    expected, refused = read_both_ways(path), 0
    start = 200 if kind == "FLAC" else 0  # FLAC has no checksum of its metadata
    for _ in range(ROUNDS):
        data = bytearray(whole)
        for at in rng.integers(start, len(data), rng.integers(1, 4)):
            data[at] ^= 1 << rng.integers(0, 8)
        path.write_bytes(data)
        samples = read_both_ways(path)
        refused += isinstance(samples, str)
        if not isinstance(samples, str) and not warnings_of(path):
            np.testing.assert_array_equal(samples, expected)
    assert refused > 0.9 * ROUNDS
