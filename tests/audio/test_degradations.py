"""Degradations do what their names say."""

import numpy as np
import pytest
import soundfile
from conftest import sine

from audio.degradations import DEGRADATIONS, add_room, limit_band, to_mp3
from support.errors import UserError


def level(y):
    return 10 * np.log10(np.mean(np.square(y)))


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 96000])
def test_mp3_keeps_length_and_place_and_has_its_bit_rate(rate, monkeypatch):
    sizes = []
    read = soundfile.read
    monkeypatch.setattr(
        soundfile, "read", lambda file, **_: sizes.append(len(file.getvalue())) or read(file, **_)
    )
    y = sine(440, 4, rate) * np.linspace(0, 1, 4 * rate, dtype=np.float32)
    decoded = to_mp3(y, rate, 64)
    assert (decoded.shape, decoded.dtype) == (y.shape, np.float32)
    assert 1e-5 < np.abs(decoded - y)[rate:-rate].max() < 0.02
    assert sizes[0] * 8 / 4 == pytest.approx(64_000, rel=0.07)  # the first frame holds no sound


def test_without_an_encoder_it_says_why(monkeypatch):
    def fail(*_, **__):
        raise ValueError("Unknown format: 'MP3'")

    monkeypatch.setattr(soundfile, "write", fail)
    with pytest.raises(UserError, match=r"cannot write MP3 here \(Unknown format: 'MP3'\)"):
        to_mp3(sine(440), 8000, 64)


def test_a_band_limit_keeps_what_is_below():
    low, high = sine(6000, rate=44100), sine(10000, rate=44100)
    limited = limit_band(low + high, 44100, 8000)
    assert np.abs(limited - low)[2000:-2000].max() < 1e-3
    assert limit_band(low, 16000, 8000) is low


def test_a_room_decays_by_60_db_in_its_time_and_keeps_the_level(rng):
    click = np.zeros(16000, dtype=np.float32)
    click[0] = 1
    response = add_room(click, 16000, 0.5, 0)
    assert response[0] == pytest.approx(np.sqrt(0.5)) and response.dtype == np.float32
    early, late = response[1:801], response[4001:4801]
    assert level(early) - level(late) == pytest.approx(30, abs=1.5)  # a quarter of a second
    assert np.abs(response[8002:]).max() < 1e-6
    music = rng.standard_normal(32000).astype(np.float32)
    assert level(add_room(music, 16000, 0.5, 1)) == pytest.approx(level(music), abs=1)
    assert not np.array_equal(add_room(click, 16000, 0.5, 1), response)


def test_each_degradation_keeps_the_length_and_is_the_same_each_time():
    y = sine(440, 1, 22050) + sine(9000, 1, 22050)
    quiet = DEGRADATIONS["gain of -12 dB"](y, 22050, 0)
    assert level(quiet) - level(y) == pytest.approx(-12, abs=0.01)
    for name, degrade in DEGRADATIONS.items():
        first, again = degrade(y, 22050, 5), degrade(y, 22050, 5)
        np.testing.assert_array_equal(first, again)
        assert (first.shape, first.dtype) == (y.shape, np.float32)
        assert np.array_equal(first, y) == (name == "unchanged")
