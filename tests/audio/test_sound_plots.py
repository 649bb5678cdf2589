"""The numbers behind the pictures of sound."""

import dataclasses

import librosa
import numpy as np
import pytest
from conftest import RATE, sine
from drawings import TONE, drawn_rows, loudest_row
from matplotlib import pyplot as plt

from audio.chunks import network_feature, row_seconds, track_chunks
from audio.features import hann, hz_to_mel
from audio.plots import (
    audible_cqt,
    bin_hz,
    colour_limits,
    envelope,
    first_null,
    formula_mels,
    main_lobe_width,
    own_settings,
    plot_chunks,
    plot_feature,
    plot_mel_scales,
    plot_window,
    plot_window_spectrum,
    side_lobe_level,
    stft_settings,
    window_spectrum,
)
from hparams import HParams
from support.canvas import SKY


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def kinds(hparams):
    """Each picture with a frequency axis: (settings, name of the axis)."""
    return {
        "linear": (stft_settings(hparams, scale="none"), None),
        "db": (stft_settings(hparams), None),
        "log": (stft_settings(hparams), "log"),
        "mel": (own_settings(hparams, feature="log_mel"), None),
        "cqt": (audible_cqt(hparams), None),
    }


@pytest.mark.parametrize("kind", ["linear", "db", "log", "mel", "cqt"])
@pytest.mark.parametrize("rate", [RATE, 22050])
def test_a_tone_is_drawn_within_one_bin_of_its_frequency(kind, rate):
    hparams, axis = kinds(HParams(sample_rate=rate))[kind]
    ax = plot_feature(sine(TONE, 3, rate), hparams, axis=axis)
    low, high = loudest_row(ax)
    width = high - low
    # at most one bin from the middle of the loudest row
    assert low - width / 2 <= TONE <= high + width / 2
    assert ax.get_xlabel() == "time (s)"
    assert ax.get_ylabel() in ("frequency (Hz)", "note")
    assert ax.get_xlim()[1] == pytest.approx(3, abs=0.05)


def test_frequencies_of_bins_are_librosas():
    mel = bin_hz(HParams())
    np.testing.assert_allclose(mel, librosa.mel_frequencies(130, fmax=11025)[1:-1], rtol=1e-6)
    cqt = bin_hz(HParams(feature="cqt"))
    np.testing.assert_allclose(
        cqt, librosa.cqt_frequencies(168, fmin=32.7031957, bins_per_octave=24)
    )
    stft = bin_hz(HParams(feature="linear_stft"))
    np.testing.assert_allclose(stft, librosa.fft_frequencies(sr=22050, n_fft=1024))
    assert bin_hz(HParams(feature="mfcc")) is None


@pytest.mark.parametrize(
    ("name", "width", "level"),
    [
        ("rectangular", 2, -13.26),
        ("Hann", 4, -31.47),
        ("Hamming", 4, -42.68),
        ("Blackman", 6, -58.11),
    ],
)
@pytest.mark.parametrize("size", [256, 1024])
def test_lobes_of_windows_are_those_of_theory(name, width, level, size):
    bins, spectrum = window_spectrum(name, size)
    assert main_lobe_width(bins, spectrum) == pytest.approx(width, abs=0.05)
    assert side_lobe_level(spectrum) == pytest.approx(level, abs=0.15)
    assert spectrum[0] == 0 and first_null(spectrum) > 0


def test_names_of_many_chunks_do_not_overlap(settings):
    hparams = dataclasses.replace(settings, chunk_length=10)
    ax = plot_chunks(np.zeros((1000, hparams.num_bins)), 1000, 100, hparams)
    assert [text.get_text() for text in ax.texts] == [str(n) for n in range(1, 101, 7)]
    assert len(ax.lines) == 100


def test_silence_is_dark_and_long_features_are_thinned():
    assert colour_limits(np.zeros((2, 2)), HParams()) == (0, 1)
    assert colour_limits(np.full((2, 2), -100.0), HParams(scale="db")) == (-100, -20)
    ax = plot_feature(sine(TONE, 4, 22050), HParams(hop_size=16))
    values, _ = drawn_rows(ax)
    assert values.shape == (128, 1379)  # every fourth of 5513 frames
    assert ax.get_xlim()[1] == pytest.approx(4, abs=0.01)


def test_a_few_loud_values_do_not_darken_the_others(rng):
    feature = rng.uniform(0, 1, (100, 100))
    feature[0, :5] = 50
    least, most = colour_limits(feature, HParams())
    assert 0 < least < 0.05 and 0.95 < most < 1.01


@pytest.mark.parametrize("kind", ["log_mel", "mfcc", "waveform"])
def test_borders_of_chunks_are_single_lines_that_are_not_white(settings, rng, kind):
    hparams = dataclasses.replace(settings, feature=kind)
    feature = rng.uniform(-1, 1, (2 * hparams.chunk_length, hparams.num_bins))
    ax = plot_chunks(feature, len(feature), 2, hparams)
    borders = [line.get_xdata()[0] for line in ax.lines]
    assert borders == [0, hparams.chunk_length * row_seconds(hparams)]
    assert {line.get_color() for line in ax.lines} <= {SKY, "black"}


def test_the_window_shown_is_that_of_the_features():
    shape = plot_window("Hann", 1024, 22050).lines[0].get_ydata()
    np.testing.assert_allclose(shape, hann(HParams()), atol=1e-6)
    ax = plot_window_spectrum("Hann", 1024, 22050)
    assert ax.get_title() == "main lobe 4.0 bins, 86 Hz\nside lobes -31.5 dB"


def test_mel_scales_are_librosas():
    hz = np.array([0, 200, 999, 1000, 1001, 4000, 11025.0])
    np.testing.assert_allclose(formula_mels(hz), librosa.hz_to_mel(hz, htk=True))
    np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz))
    left = plot_mel_scales(22050).lines[0]
    assert np.interp(1000, left.get_xdata(), left.get_ydata()) == pytest.approx(1000, abs=1)


def test_an_envelope_keeps_every_peak(rng):
    y = rng.standard_normal(10_007).astype(np.float32)
    low, high, starts = envelope(y, 100)
    assert len(low) == len(high) == len(starts) == 100
    assert (low.min(), high.max()) == (y.min(), y.max())
    assert len(envelope(y[:7], 100)[0]) == 7


@pytest.mark.parametrize("changed", [{}, {"feature": "mfcc"}, {"feature_length": 0}])
def test_chunks_are_those_that_a_network_gets(settings, data_set, changed):
    hparams = dataclasses.replace(settings, chunk_length=120, **changed)
    path = data_set / "jazz/jazz.00000.wav"  # 263 frames
    feature, real, counted = network_feature(path, 30, hparams)
    chunks = np.concatenate([batch for batch, _ in track_chunks(path, hparams)])
    assert counted == len(chunks) == 2
    np.testing.assert_allclose(feature[: 2 * 120].reshape(chunks.shape), chunks, atol=1e-5)
    ax = plot_chunks(feature, real, counted, hparams)
    assert [text.get_text() for text in ax.texts][:3] == ["1", "2", "left out"][: len(ax.texts)]
    borders = sorted({line.get_xdata()[0] for line in ax.lines})
    np.testing.assert_allclose(borders[:2], [0, 120 * 64 / RATE])
