"""Features against librosa's, and where tones land in them."""

import librosa
import numpy as np
import pytest
from conftest import esc10, sine

from audio.features import (
    count_frames,
    extract_feature,
    hz_to_mel,
    log_mel,
    mel_filters,
    mel_to_hz,
    stft,
)
from audio.reading import load_audio
from hparams import HParams


def librosa_log_mel(y, hparams):
    """The slide's code on float64."""
    S = librosa.stft(
        y.astype(np.float64),
        n_fft=hparams.fft_size,
        hop_length=hparams.hop_size,
        win_length=hparams.win_size,
    )
    mel_basis = librosa.filters.mel(
        sr=hparams.sample_rate, n_fft=hparams.fft_size, n_mels=hparams.num_mels, dtype=np.float64
    )
    return np.log10(1 + 10 * mel_basis @ np.abs(S)).T


def test_one_second_is_513_by_44():
    assert stft(sine(440, rate=22050), HParams()).shape == (513, 44)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"fft_size": 512, "win_size": 400, "hop_size": 160, "num_mels": 40, "sample_rate": 16000},
        {"fft_size": 2048, "win_size": 2048, "hop_size": 700, "num_mels": 96},
    ],
)
def test_log_mel_is_librosas(sizes, rng):
    hparams = HParams(**sizes)
    y = (0.1 * rng.standard_normal(30000)).astype(np.float32) + sine(440, 30000 / 22050, 22050)
    expected = librosa_log_mel(y, hparams)
    np.testing.assert_allclose(log_mel(y, hparams), expected, rtol=1e-5, atol=2e-6)
    assert log_mel(y, hparams).dtype == np.float32


def test_log_mel_of_real_recordings_is_librosas():
    for path in sorted(esc10().rglob("*.00000.ogg")):
        y = load_audio(path, HParams())
        expected = librosa_log_mel(y, HParams())
        np.testing.assert_allclose(log_mel(y, HParams()), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 65536, 66047, 66048, 66049, 200000])
@pytest.mark.parametrize("fft_size", [1024, 1023])
def test_any_length_is_librosas(samples, fft_size, rng):
    hparams = HParams(fft_size=fft_size, win_size=1000)
    y = (0.1 * rng.standard_normal(samples)).astype(np.float32)
    feature = log_mel(y, hparams)
    assert feature.shape == (count_frames(samples, hparams), 128)
    if samples:
        expected = librosa_log_mel(y, hparams)
        np.testing.assert_allclose(feature, expected, rtol=1e-5, atol=2e-6)
    assert stft(y, hparams).shape == (fft_size // 2 + 1, len(feature))


@pytest.mark.parametrize("sizes", [(22050, 1024, 128), (8000, 256, 16), (1500, 256, 20)])
def test_mel_filters_are_librosas(sizes):
    rate, fft_size, num_mels = sizes
    expected = librosa.filters.mel(sr=rate, n_fft=fft_size, n_mels=num_mels)
    np.testing.assert_allclose(mel_filters(*sizes), expected, atol=1e-7)


def librosa_mel(y, power=1):
    S = np.abs(librosa.stft(y.astype(np.float64), n_fft=1024, hop_length=512)) ** power
    return librosa.filters.mel(sr=22050, n_fft=1024, n_mels=128, dtype=np.float64) @ S


@pytest.mark.parametrize("scale", ["tutorial", "db", "musicnn", "none"])
@pytest.mark.parametrize("feature", ["log_mel", "linear_stft"])
def test_scales_are_of_the_magnitude(feature, scale, rng):
    y = (0.1 * rng.standard_normal(9000)).astype(np.float32)
    magnitude = np.abs(librosa.stft(y.astype(np.float64), n_fft=1024, hop_length=512))
    power = magnitude**2
    if feature == "log_mel":
        magnitude, power = librosa_mel(y), librosa_mel(y, power=2)
    expected = {
        "tutorial": np.log10(1 + 10 * magnitude),
        "db": librosa.amplitude_to_db(magnitude, top_db=None),
        "musicnn": np.log10(1 + 10000 * power),
        "none": magnitude,
    }[scale]
    got = extract_feature(y, HParams(feature=feature, scale=scale))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.T, rtol=1e-4, atol=1e-4)


def test_mfcc_is_librosas_of_the_mel_spectrogram_in_db(rng):
    y = (0.1 * rng.standard_normal(9000)).astype(np.float32)
    expected = librosa.feature.mfcc(
        S=librosa.amplitude_to_db(librosa_mel(y), top_db=None), n_mfcc=20
    )
    got = extract_feature(y, HParams(feature="mfcc", num_mfcc=20))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.T, atol=1e-3)


@pytest.mark.parametrize("hz", [65.41, 440, 1760])
def test_a_sine_lands_in_its_cqt_bin(hz):
    feature = extract_feature(sine(hz, 3, 22050), HParams(feature="cqt"))
    assert feature.shape == (1 + 3 * 22050 // 512, 168)
    assert feature.dtype == np.float32
    assert feature[60].argmax() == round(24 * np.log2(hz / 32.703))


@pytest.mark.parametrize("hz", [220, 440, 1000, 3000])
def test_a_sine_lands_in_its_mel_bin(hz):
    hparams = HParams()
    centres = librosa.mel_frequencies(hparams.num_mels + 2, fmin=0, fmax=11025)[1:-1]
    loudest = log_mel(sine(hz, rate=22050), hparams)[20].argmax()
    assert abs(loudest - np.abs(centres - hz).argmin()) <= 1


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("samples", [0, 1, 100, 1023, 1024])
@pytest.mark.parametrize("fft_size", [1024, 1023])
def test_short_waveforms_give_a_frame(samples, fft_size):
    hparams = HParams(fft_size=fft_size, win_size=fft_size)
    feature = log_mel(np.ones(samples, dtype=np.float32), hparams)
    assert feature.shape[1] == 128
    assert 1 <= len(feature) <= 3
    assert np.isfinite(feature).all()


def test_the_mel_scale_is_slaneys_both_ways():
    hz = np.linspace(0, 11025, 500)
    np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz))
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)
