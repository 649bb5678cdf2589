"""Features of a waveform: STFT, log-mel, MFCC, CQT.

A new kind is a function of a waveform and the settings, an entry in `FEATURES` here, and its name
and number of bins in hparams.py (`KINDS`, `HParams.num_bins`).

Arrays: waveform (samples,) float32 mono in [-1, 1]; feature (frames, bins) float32, time first.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from hparams import HParams
from support.errors import UserError

BLOCK = 128  # frames transformed at once: few enough to stay in the processor's cache
BAND = 32  # neighbouring mel filters applied at once
SILENCE = np.float32(1e-5)  # the smallest magnitude in dB features: -100 dB


def stft(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.complex64]:
    """Short-time Fourier transform (slide "STFT"), as `librosa.stft` defines it.

    Frames are centred on multiples of hop_size, with zeros beyond the ends. The window is a
    periodic Hann of win_size, centred in fft_size.

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: fft_size, win_size, hop_size.

    Returns
    -------
    (fft_size // 2 + 1, frames), complex64

    Examples
    --------
    >>> stft(np.zeros(22050, np.float32), HParams(fft_size=1024, hop_size=512)).shape
    (513, 44)
    """
    return np.concatenate(list(complex_spectra(y, hparams))).T  # (frames, bins) -> (bins, frames)


def complex_spectra(y: NDArray[np.float32], hparams: HParams) -> Iterator[NDArray[np.complex64]]:
    """Yield the STFT of a waveform in blocks (BLOCK or fewer frames, fft_size // 2 + 1)."""
    size, hop, window = hparams.fft_size, hparams.hop_size, hann(hparams)
    frames = count_frames(len(y), hparams)
    for start in range(0, frames, BLOCK):
        # frame i is centred on sample i * hop; only blocks at the ends are padded, hence copied
        first = start * hop - size // 2
        last = (min(start + BLOCK, frames) - 1) * hop - size // 2 + size
        part = y[max(0, first) : max(0, last)]
        if first < 0 or last > len(y):
            part = np.pad(part, (max(0, -first), max(0, last - max(len(y), first))))
        # (samples,) -> (frames, fft_size), overlapping: a view
        block = np.lib.stride_tricks.sliding_window_view(part, size)[::hop]
        yield scipy.fft.rfft(block * window, axis=1)


def spectra(y: NDArray[np.float32], hparams: HParams) -> Iterator[NDArray[np.float32]]:
    """Yield the magnitude STFT of a waveform in blocks (BLOCK or fewer frames, bins)."""
    return map(np.abs, complex_spectra(y, hparams))


def count_frames(samples: int, hparams: HParams) -> int:
    """Return the number of frames of a waveform, the same as librosa's."""
    odd = hparams.fft_size % 2
    return 1 + max(0, samples - odd) // hparams.hop_size


def hann(hparams: HParams) -> NDArray[np.float32]:
    """Return a periodic Hann window of win_size, centred in fft_size: (fft_size,)."""
    # np.hanning is symmetric: without its last value the window is periodic
    window = np.hanning(hparams.win_size + 1)[:-1].astype(np.float32)
    missing = hparams.fft_size - hparams.win_size
    return np.pad(window, (missing // 2, missing - missing // 2))


def hz_to_mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert Hz to mels on Slaney's scale (Auditory Toolbox, 1998)."""
    # linear up to 1 kHz, with 3 mels per 200 Hz; logarithmic above, with 27 mels per factor of 6.4
    logarithmic = 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)
    return np.where(np.less(hz, 1000), np.multiply(hz, 3) / 200, logarithmic)


def mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert mels on Slaney's scale to Hz."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


def mel_edges(sample_rate: int, num_mels: int) -> NDArray[np.float64]:
    """Return the edges of mel filters in Hz, (num_mels + 2,), in equal steps of mels.

    Filter i starts at edge i, peaks at edge i + 1 and ends at edge i + 2.
    """
    return mel_to_hz(np.linspace(0, hz_to_mel(sample_rate / 2), num_mels + 2))


@functools.lru_cache(maxsize=4)
def mel_filters(sample_rate: int, fft_size: int, num_mels: int) -> NDArray[np.float32]:
    """Mel filter bank, as `librosa.filters.mel` builds it: triangles of equal area.

    Parameters
    ----------
    sample_rate, fft_size : int
        Samples per second, and samples of the Fourier transform.
    num_mels : int
        Number of filters, which reach from 0 Hz to half the sample rate.

    Returns
    -------
    (num_mels, fft_size // 2 + 1)

    Examples
    --------
    >>> mel_filters(22050, 1024, 128).shape
    (128, 513)
    """
    edges = mel_edges(sample_rate, num_mels)[:, None]  # (num_mels + 2, 1), against (bins,)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    hz = np.fft.rfftfreq(fft_size, 1 / sample_rate)
    triangles = np.minimum((hz - lower) / (centre - lower), (upper - hz) / (upper - centre))
    return (np.maximum(0, triangles) * 2 / (upper - lower)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def mel_bands(
    sample_rate: int, fft_size: int, num_mels: int
) -> list[tuple[slice, NDArray[np.float32]]]:
    """Split the mel filter bank into bands of filters: [(bins, weights (bins, mels)), ...]."""
    # A filter covers few bins, and its neighbours mostly the same ones: a product for each band
    # with the bins that it needs takes a quarter of the time of one product with all bins.
    filters = mel_filters(sample_rate, fft_size, num_mels)
    bands = []
    for start in range(0, num_mels, BAND):
        band = filters[start : start + BAND]
        used = np.flatnonzero(band.any(axis=0))
        bins = slice(used.min(initial=fft_size), used.max(initial=-1) + 1)
        bands.append((bins, np.ascontiguousarray(band[:, bins].T)))  # (mels, bins) -> (bins, mels)
    return bands


def mel_spectrogram(
    y: NDArray[np.float32], hparams: HParams, power: int = 1
) -> NDArray[np.float32]:
    """Apply mel filters to a power of the magnitude STFT of a waveform: (frames, num_mels)."""
    bands = mel_bands(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    # written in place: many small arrays to join would keep the threads of extraction waiting
    mel = np.empty((count_frames(len(y), hparams), hparams.num_mels), dtype=np.float32)
    for row, S in zip(range(0, len(mel), BLOCK), spectra(y, hparams)):
        if power > 1:
            S **= power
        for first, (bins, weights) in zip(range(0, hparams.num_mels, BAND), bands):
            # (frames, bins) @ (bins, mels) -> (frames, mels)
            part = mel[row : row + BLOCK, first : first + BAND]
            np.matmul(S[:, bins], weights, out=part)
    return mel


def decibels(magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert magnitudes to dB; silence is -100 dB."""
    return 20 * np.log10(np.maximum(magnitude, SILENCE))


class Scale(NamedTuple):
    """The power that magnitudes are raised to, before mel filters, and what follows them."""

    power: int
    compress: Callable[[NDArray[np.float32]], NDArray[np.float32]]


SCALES = {
    "tutorial": Scale(1, lambda magnitude: np.log10(1 + 10 * magnitude)),
    "db": Scale(1, decibels),
    # the input of musicnn (Pons and Serra, 2019)
    "musicnn": Scale(2, lambda power: np.log10(1 + 10000 * power)),
    "none": Scale(1, lambda magnitude: magnitude),
}


def rescale(magnitude: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Convert magnitudes to `hparams.scale`."""
    power, compress = SCALES[hparams.scale]
    return compress(magnitude**power)


def log_mel(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """The tutorial's log-mel (slide "Mel Spectrogram"): log10(1 + 10 * mel @ |STFT|).

    The filters are applied to magnitudes, not powers. Each value depends on its frame alone, not on
    the loudness of the track.

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: sample_rate, fft_size, win_size, hop_size, num_mels; another
        `scale` replaces the logarithm above, and "musicnn" takes powers.

    Returns
    -------
    (frames, num_mels)

    Examples
    --------
    >>> log_mel(np.zeros(22050, np.float32), HParams(hop_size=512, num_mels=128)).shape
    (44, 128)
    """
    power, compress = SCALES[hparams.scale]
    return compress(mel_spectrogram(y, hparams, power))


def linear_stft(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Magnitude STFT on `hparams.scale`.

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: fft_size, win_size, hop_size, scale.

    Returns
    -------
    (frames, fft_size // 2 + 1)

    Examples
    --------
    >>> linear_stft(np.zeros(22050, np.float32), HParams(fft_size=512, win_size=512)).shape
    (44, 257)
    """
    return rescale(np.concatenate(list(spectra(y, hparams))), hparams)


def mfcc(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients (slide "MFCC"; Davis and Mermelstein, 1980).

    The first coefficients of the orthonormal DCT-II of the mel spectrogram in dB, as in
    `librosa.feature.mfcc(S=...)`; `hparams.scale` has no effect.

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: sample_rate, fft_size, win_size, hop_size, num_mels, num_mfcc.

    Returns
    -------
    (frames, num_mfcc)
        Coefficient 0 measures loudness.

    Examples
    --------
    >>> mfcc(np.zeros(22050, np.float32), HParams(num_mfcc=13)).shape
    (44, 13)
    """
    return cepstra(mel_spectrogram(y, hparams), hparams)


def cepstra(mel: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Convert a mel spectrogram (frames, num_mels) to MFCCs (frames, num_mfcc)."""
    coefficients: NDArray[np.float32] = scipy.fft.dct(decibels(mel), axis=1, norm="ortho")
    return coefficients[:, : hparams.num_mfcc]


def cqt(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Magnitude constant-Q transform (slide "CQT") on `hparams.scale`, computed by librosa.

    Bins are evenly spaced in pitch, from C1 (32.7 Hz) upwards (Schörkhuber and Klapuri, 2010).

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: sample_rate, hop_size, num_cqt_bins, bins_per_octave, scale.

    Returns
    -------
    (frames, num_cqt_bins)

    Examples
    --------
    >>> cqt(np.zeros(22050, np.float32), HParams(num_cqt_bins=84, bins_per_octave=12)).shape
    (44, 84)
    """
    import librosa  # here, because it takes seconds to load and only this feature needs it

    octaves = -(-hparams.num_cqt_bins // hparams.bins_per_octave)
    frames, missing = 1 + len(y) // hparams.hop_size, max(0, 2**octaves - len(y))
    try:
        D = librosa.cqt(
            np.pad(y, (0, missing)),  # librosa refuses shorter waveforms
            sr=hparams.sample_rate,
            hop_length=hparams.hop_size,
            n_bins=hparams.num_cqt_bins,
            bins_per_octave=hparams.bins_per_octave,
        )
    except librosa.ParameterError as error:
        if "finite" not in str(error):
            raise
        # large samples overflow on the way
        return np.full((1, hparams.num_cqt_bins), np.nan, dtype=np.float32)
    # (bins, frames) -> (frames, bins)
    return rescale(np.abs(D[:, :frames]).T.astype(np.float32), hparams)


def waveform(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """The waveform itself as a feature: (samples, 1)."""
    return y[:, None]  # (samples,) -> (samples, 1)


FEATURES: dict[str, Callable[[NDArray[np.float32], HParams], NDArray[np.float32]]] = {
    f.__name__: f for f in (log_mel, linear_stft, mfcc, cqt, waveform)
}


def extract_feature(y: NDArray[np.float32], hparams: HParams) -> NDArray[np.float32]:
    """Extract the feature that `hparams.feature` names.

    Parameters
    ----------
    y, hparams : (samples,), HParams
        Waveform, and settings: feature, and those of its function in `FEATURES`.

    Returns
    -------
    (rows, bins)
        A row is a frame, or a sample if the feature is "waveform"; bins is `hparams.num_bins`.

    Examples
    --------
    >>> extract_feature(np.zeros(22050, np.float32), HParams(feature="mfcc")).shape
    (44, 13)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` reports what overflows
        return FEATURES[hparams.feature](y, hparams)


def silent_row(hparams: HParams) -> NDArray[np.float32]:
    """Return a row (bins,) of the feature of silence, which is not 0 in dB and for MFCCs."""
    if hparams.feature == "mfcc":
        silence = np.zeros((1, hparams.num_mels), dtype=np.float32)
        return cepstra(silence, hparams).ravel()  # (1, num_mfcc) -> (num_mfcc,)
    scale = "none" if hparams.feature == "waveform" else hparams.scale
    return SCALES[scale].compress(np.zeros(hparams.num_bins, dtype=np.float32))


def warn_of_empty_mels(hparams: HParams) -> None:
    """Print a warning if mel bands have no bin of the STFT. Raises `UserError` if none has one."""
    filters = mel_filters(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    if empty := int((filters.max(axis=1) == 0).sum()):
        message = f"{empty} of {hparams.num_mels} mel bands are empty: "
        message += "lower --num_mels or raise --fft_size"
        if empty == hparams.num_mels:
            raise UserError(message)
        print(f"warning: {message}")
