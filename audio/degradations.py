"""Degrade waveforms as happens on the way to a listener: MP3, a narrow band, noise, level, a room.

`DEGRADATIONS` has what `train_test.py --robustness` does to test tracks, by name.

Arrays: waveform (samples,) float32 mono in [-1, 1].
"""

import io
from collections.abc import Callable

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from audio.chunks import resize_array
from audio.effects import add_noise
from support.errors import UserError

Waveform = NDArray[np.float32]
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def to_mp3(y: Waveform, sample_rate: int, kbits: int) -> Waveform:
    """Encode a waveform as MP3, mono with a constant bit rate, and decode it.

    A sample rate that MP3 does not have is lowered to the next one first, as encoders do.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    kbits : int
        Thousands of bits per second, from 8 (32 for 32 kHz and more) to 64 (160 from 16 kHz on).

    Returns
    -------
    (samples,)

    Raises
    ------
    UserError
        If libsndfile cannot write MP3 here.

    Examples
    --------
    >>> to_mp3(np.zeros(22050, np.float32), 22050, kbits=64).shape
    (22050,)
    """
    rate = max((known for known in MP3_RATES if known <= sample_rate), default=MP3_RATES[0])
    low, high = (32, 320) if rate >= 32000 else (8, 160 if rate >= 16000 else 64)
    # libsndfile maps the bit rates of a sample rate to levels from 0, the highest, to 1, the lowest
    options = {"compression_level": (high - kbits) / (high - low), "bitrate_mode": "CONSTANT"}
    file = io.BytesIO()
    try:
        samples = soxr.resample(y, sample_rate, rate)
        soundfile.write(file, samples, rate, "MPEG_LAYER_III", format="MP3", **options)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
    except (ValueError, soundfile.SoundFileError) as error:
        raise UserError(f"libsndfile cannot write MP3 here ({error})") from error
    return resize_array(soxr.resample(decoded, rate, sample_rate), len(y))


def limit_band(y: Waveform, sample_rate: int, hz: int) -> Waveform:
    """Remove what is above a frequency in Hz, like a file whose sample rate is twice that."""
    if sample_rate <= 2 * hz:
        return y
    return resize_array(
        soxr.resample(soxr.resample(y, sample_rate, 2 * hz), 2 * hz, sample_rate), len(y)
    )


def change_gain(y: Waveform, sample_rate: int, db: float) -> Waveform:
    """Make a waveform louder by a number of dB, or quieter if it is negative."""
    return y * np.float32(10 ** (db / 20))


def add_room(y: Waveform, sample_rate: int, seconds: float, seed: int) -> Waveform:
    """Play a waveform in a synthesized room.

    Its impulse response is the direct sound, and noise of the same energy that decays exponentially
    (Moorer, 1979). Together they have the energy 1, so that the level hardly changes.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    seconds : float
        Reverberation time (T60), in which the noise falls by 60 dB.
    seed : int
        Random seed of the noise.

    Returns
    -------
    (samples,)

    Examples
    --------
    >>> click = np.array([1, *[0] * 999], np.float32)
    >>> round(float(add_room(click, 1000, seconds=0.5, seed=0)[0]), 1)
    0.7
    """
    count = max(1, round(seconds * sample_rate))
    noise = np.random.default_rng(seed).standard_normal(count, dtype=np.float32)
    noise *= 10 ** (-3 * np.arange(count, dtype=np.float32) / count)  # 60 dB: a factor of 1000
    response = np.concatenate([[np.float32(1)], noise / np.linalg.norm(noise)]) / np.sqrt(
        np.float32(2)
    )
    size = next_fast_len(len(y) + len(response), real=True)
    return irfft(rfft(y, size) * rfft(response, size), size)[: len(y)]


# each takes a waveform, its sample rate and a random seed
DEGRADATIONS: dict[str, Callable[[Waveform, int, int], Waveform]] = {
    "unchanged": lambda y, rate, seed: y,
    "MP3 at 64 kbit/s": lambda y, rate, seed: to_mp3(y, rate, 64),
    "no band above 8 kHz": lambda y, rate, seed: limit_band(y, rate, 8000),
    "white noise at 20 dB": lambda y, rate, seed: add_noise(y, rate, 20, seed),
    "gain of -12 dB": lambda y, rate, seed: change_gain(y, rate, -12),
    "room (T60 of 0.5 s)": lambda y, rate, seed: add_room(y, rate, 0.5, seed),
}
