"""Features of a waveform: STFT, mel, MFCC, CQT, and the table of their kinds."""

import functools

import numpy as np
import scipy.fft

from support.errors import UserError

BLOCK = 128  # frames transformed at once: few enough to stay in the cache


BAND = 32  # neighbouring mel filters applied at once


def stft(y, hparams):
    """Short-time Fourier transform of a waveform (slide "STFT"), as `librosa.stft` defines it.

    Parameters: y (samples,). Returns complex64 (fft_size // 2 + 1, frames): 1 s at 22,050 Hz gives
    513 x 44 with fft 1024 and hop 512. Frames are centred on multiples of hop_size, zeros beyond
    the ends; the window is a periodic Hann of win_size, centred in fft_size.
    """
    frames = cut_frames(y, 0, count_frames(len(y), hparams), hparams)
    return scipy.fft.rfft(frames * hann(hparams), axis=1).T


def count_frames(samples, hparams):
    """How many frames a waveform of so many samples has."""
    odd = hparams.fft_size % 2
    return 1 + max(0, samples - odd) // hparams.hop_size


def cut_frames(y, start, stop, hparams):
    """Frames `start` to `stop` of a waveform: (frames, fft_size), centred on multiples of hop_size.

    A view of it, but where frames reach beyond its ends: there are zeros.
    """
    fft_size, hop = hparams.fft_size, hparams.hop_size
    first = start * hop - fft_size // 2
    last = (stop - 1) * hop - fft_size // 2 + fft_size
    part = y[max(0, first) : max(0, last)]
    if first < 0 or last > len(y):
        part = np.pad(part, (max(0, -first), max(0, last - max(len(y), first))))
    step = part.strides[0]
    return np.lib.stride_tricks.as_strided(part, (stop - start, fft_size), (hop * step, step))


def hann(hparams):
    """A periodic Hann window of win_size, centred in fft_size: float32 (fft_size,)."""
    window = np.zeros(hparams.fft_size, dtype=np.float32)
    start = (hparams.fft_size - hparams.win_size) // 2
    window[start : start + hparams.win_size] = np.hanning(hparams.win_size + 1)[:-1]
    return window


def mel_edges(sample_rate, num_mels):
    """Where mel filters begin, peak and end: (num_mels + 2,) in Hz, a filter has three neighbours.

    Equal steps of Slaney's scale (Auditory Toolbox, 1998): 3 mels are 200 Hz up to 1 kHz, then 27
    mels are a factor of 6.4.
    """
    top = sample_rate / 2
    top_mel = top * 3 / 200 if top < 1000 else 15 + 27 * np.log(top / 1000) / np.log(6.4)
    mels = np.linspace(0, top_mel, num_mels + 2)
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


@functools.lru_cache(maxsize=4)
def mel_filters(sample_rate, fft_size, num_mels):
    """Mel filter bank (num_mels, fft_size // 2 + 1), float32, as `librosa.filters.mel` builds it.

    Triangles of equal area between the `mel_edges`.
    """
    edges = mel_edges(sample_rate, num_mels)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    hz = np.fft.rfftfreq(fft_size, 1 / sample_rate)
    triangles = np.minimum((hz - lower) / (centre - lower), (upper - hz) / (upper - centre))
    return (np.maximum(0, triangles) * 2 / (upper - lower)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def mel_bands(sample_rate, fft_size, num_mels):
    """The mel filter bank without most of its zeros: a list of (mels, bins, weights (bins, mels)).

    A filter is 0 but for a few bins, and neighbours share most of theirs: products over the bins
    that a slice of mels needs are a quarter of the whole product.
    """
    filters = mel_filters(sample_rate, fft_size, num_mels)
    bands = []
    for start in range(0, num_mels, BAND):
        mels = slice(start, start + BAND)
        used = np.flatnonzero(filters[mels].any(axis=0))
        bins = slice(used.min(initial=fft_size), used.max(initial=-1) + 1)
        bands.append((mels, bins, np.ascontiguousarray(filters[mels, bins].T)))
    return bands


def spectra(y, hparams):
    """Yield the magnitude STFT of a waveform in blocks (BLOCK or fewer frames, bins), float32."""
    window, frames = hann(hparams), count_frames(len(y), hparams)
    for start in range(0, frames, BLOCK):
        block = cut_frames(y, start, min(start + BLOCK, frames), hparams)
        yield np.abs(scipy.fft.rfft(block * window, axis=1))


def mel_spectrogram(y, hparams):
    """Mel filters on the magnitude STFT of a waveform: (frames, num_mels), float32."""
    bands = mel_bands(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    feature = np.empty((count_frames(len(y), hparams), hparams.num_mels), dtype=np.float32)
    for start, S in zip(range(0, len(feature), BLOCK), spectra(y, hparams)):
        mel = feature[start : start + BLOCK]
        for mels, bins, weights in bands:
            np.matmul(S[:, bins], weights, out=mel[:, mels])
    return feature


def decibels(magnitude):
    """20 log10 of magnitudes, those below 1e-5 taken as that: -100 dB."""
    return 20 * np.log10(np.maximum(magnitude, np.float32(1e-5)))


SCALES = {  # of magnitudes, by `hparams.scale`
    "tutorial": lambda magnitude: np.log10(1 + 10 * magnitude),
    "db": decibels,
    "none": lambda magnitude: magnitude,
}


def log_mel(y, hparams):
    """The tutorial's log-mel of a waveform: log10(1 + 10 * mel @ |STFT|), (frames, num_mels).

    Or the same mel spectrogram on another `hparams.scale`.
    """
    return SCALES[hparams.scale](mel_spectrogram(y, hparams))


def linear_stft(y, hparams):
    """The magnitude STFT of a waveform on `hparams.scale`: (frames, fft_size // 2 + 1)."""
    return SCALES[hparams.scale](np.concatenate(list(spectra(y, hparams))))


def mfcc(y, hparams):
    """Mel-frequency cepstral coefficients (slide "MFCC"): (frames, num_mfcc).

    The first coefficients of the orthonormal DCT-II of the mel spectrogram in dB, as
    `librosa.feature.mfcc(S=...)` takes them (Davis and Mermelstein, 1980).
    """
    return cepstra(mel_spectrogram(y, hparams), hparams)


def cepstra(mel, hparams):
    """The cepstral coefficients of a mel spectrogram: (frames, num_mels) to (frames, num_mfcc)."""
    return scipy.fft.dct(decibels(mel), axis=1, norm="ortho")[:, : hparams.num_mfcc]


def cqt(y, hparams):
    """The magnitude constant-Q transform (slide "CQT") on `hparams.scale`: (frames, num_cqt_bins).

    From C1, 32.7 Hz, `bins_per_octave` bins an octave; by librosa (Schörkhuber and Klapuri, 2010).
    """
    import librosa  # it takes seconds to load, and this feature alone needs it

    magnitude = np.abs(
        librosa.cqt(
            np.ascontiguousarray(y),
            sr=hparams.sample_rate,
            hop_length=hparams.hop_size,
            n_bins=hparams.num_cqt_bins,
            bins_per_octave=hparams.bins_per_octave,
        )
    )
    return SCALES[hparams.scale](magnitude.T.astype(np.float32))


def waveform(y, hparams):
    """The waveform itself: (samples, 1)."""
    return y[:, None]


FEATURES = {f.__name__: f for f in (log_mel, linear_stft, mfcc, cqt, waveform)}


def extract_feature(y, hparams):
    """The feature that `hparams.feature` names of a waveform (samples,): (rows, bins), float32."""
    return FEATURES[hparams.feature](y, hparams)


def silent_row(hparams):
    """A row of the feature of silence (bins,), float32: in dB and of MFCCs it is not 0."""
    if hparams.feature == "mfcc":
        return cepstra(np.zeros((1, hparams.num_mels), dtype=np.float32), hparams)[0]
    scale = "none" if hparams.feature == "waveform" else hparams.scale
    return SCALES[scale](np.zeros(hparams.num_bins, dtype=np.float32))


def warn_of_empty_mels(hparams):
    """Say so where mel bands are narrower than the bins of the STFT and hold nothing.

    Raises `UserError` where all of them are.
    """
    filters = mel_filters(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    if empty := int((filters.max(axis=1) == 0).sum()):
        message = (
            f"{empty} of {hparams.num_mels} mel bands are empty: "
            "lower --num_mels or raise --fft_size"
        )
        if empty == hparams.num_mels:
            raise UserError(message)
        print(f"warning: {message}")
