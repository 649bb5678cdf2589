"""Effects against librosa's and against what they say they change."""

import numpy as np
import pytest
import scipy.ndimage
from conftest import RATE, peak_hz, sine

from audio.effects import (
    EFFECTS,
    add_noise,
    change_speed,
    draw_parameters,
    percussive,
    pitch_shift,
    running_median,
    shift,
    time_stretch,
)


@pytest.mark.parametrize("semitones", [-2, 0.5, 1, 7])
def test_pitch_moves_by_the_semitones_and_duration_stays(semitones):
    y = sine(440, 3, 22050)
    shifted = pitch_shift(y, 22050, semitones)
    moved = 12 * np.log2(peak_hz(shifted, 22050) / 440)
    assert moved == pytest.approx(semitones, abs=0.02)
    assert shifted.shape == y.shape
    assert shifted.dtype == np.float32


@pytest.mark.parametrize("rate", [0.8, 1.07, 1.25])
def test_a_stretch_changes_duration_and_tempo_but_not_pitch(rate):
    y = sine(440, 4, 22050)
    y[::11025] += 3
    stretched = time_stretch(y, 22050, rate)
    assert len(stretched) == round(len(y) / rate)
    assert peak_hz(stretched, 22050) == pytest.approx(440, abs=0.5)
    envelope = np.abs(percussive(stretched, 22050))
    for click in range(2, 6):  # half seconds
        at = round(click * 11025 / rate)
        nearby = envelope[at - 2000 : at + 2000]
        assert abs(int(nearby.argmax()) - 2000) < 600


def test_speed_changes_duration_and_pitch_alike():
    fast = change_speed(sine(440, 3), RATE, 1.1)
    assert len(fast) == round(3 * RATE / 1.1)
    assert peak_hz(fast) == pytest.approx(484, abs=0.5)


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_noise_is_as_far_below_the_music_as_it_says(rng, snr_db):
    y = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
    noise = add_noise(y, RATE, snr_db, 1) - y
    measured = 10 * np.log10(np.mean(y**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.01)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.05  # white
    assert not np.array_equal(add_noise(y, RATE, snr_db, 1), add_noise(y, RATE, snr_db, 2))


def test_a_shift_is_of_the_seconds_and_loses_nothing(rng):
    y = rng.standard_normal(RATE).astype(np.float32)
    shifted = shift(y, RATE, 0.25)
    assert np.array_equal(shifted[RATE // 4 :], y[: -RATE // 4])
    assert np.array_equal(np.sort(shifted), np.sort(y))


def test_the_percussive_part_has_the_clicks_and_not_the_tone():
    tone, clicks = sine(440, 3, 22050), np.zeros(3 * 22050, np.float32)
    clicks[5000::11025] = 1
    part = percussive(tone + clicks, 22050)
    inner = slice(4096, -4096)  # a tone's start and end are clicks
    assert np.corrcoef(part[inner], clicks[inner])[0, 1] > 0.9
    assert np.abs(part[clicks == 0][inner]).max() < 0.1


def test_effects_have_the_values_of_librosa(rng):
    effects = pytest.importorskip("librosa").effects
    y = (0.1 * rng.standard_normal(30_000)).astype(np.float32)
    exact = y.astype(np.float64)  # its phases are sums: in float32 they lose their digits
    for ours, theirs in (
        (time_stretch(y, 22050, 0.9), effects.time_stretch(exact, rate=0.9)),
        (pitch_shift(y, 22050, 2), effects.pitch_shift(exact, sr=22050, n_steps=2)),
        (percussive(y, 22050), effects.percussive(exact)),
    ):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 7), (5, 3), (16, 4), (63, 5), (65, 2), (200, 33)])
def test_the_running_median_is_scipys(rng, shape):
    x = rng.integers(0, 50, shape).astype(np.float32)
    assert np.array_equal(running_median(x), scipy.ndimage.median_filter(x, (31, 1)))


def test_the_running_median_of_two_values_is_exact():
    x = np.array([[1, 5], [2, 4]], np.float32)
    # rows repeat as 0 1 1 0 0 1 1 ...: 16 of the 31 neighbours of a row are the other row
    assert np.array_equal(running_median(x), x[::-1])


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_effects_take_short_and_silent_tracks(effect, samples):
    parameters = draw_parameters("a/a.wav", effect, 1, 0)
    for y in (np.zeros(samples, np.float32), sine(440)[1 : samples + 1]):
        changed = EFFECTS[effect].apply(y, RATE, **parameters)
        assert len(changed) > 0
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_changes_the_signal_and_each_copy_otherwise(effect, rng):
    y = (0.1 * rng.standard_normal(2 * RATE)).astype(np.float32)
    drawn = [draw_parameters("a/a.wav", effect, number, 0) for number in (1, 2)]
    assert drawn[0] == draw_parameters("a/a.wav", effect, 1, 0)
    assert drawn[0] != draw_parameters("a/b.wav", effect, 1, 0)
    assert drawn[0] != draw_parameters("a/a.wav", effect, 1, 1)
    first, second = (EFFECTS[effect].apply(y, RATE, **parameters) for parameters in drawn)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, y)
