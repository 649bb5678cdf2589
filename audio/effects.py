"""Effects on waveforms: pitch, tempo, speed, noise, shift, percussive part.

A new effect is a function of a waveform, its sample rate and parameters, and an entry in `EFFECTS`
that draws the parameters.

Arrays: waveform (samples,) float32 mono in [-1, 1]; spectra (frames, bins) complex64, time first.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft
from scipy.ndimage import median_filter

from audio.chunks import resize_array
from audio.features import BLOCK, hann, stft
from hparams import HParams

SMALLEST = np.float32(1e-20)  # a magnitude below this has no phase


def time_stretch(y: NDArray[np.float32], sample_rate: int, rate: float) -> NDArray[np.float32]:
    """Change the tempo of a waveform and keep its pitch.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    rate : float
        Factor on the tempo.

    Returns
    -------
    (samples / rate,)

    Examples
    --------
    >>> time_stretch(np.zeros(22050, np.float32), 22050, rate=1.25).shape
    (17640,)
    """
    sizes = frame_sizes(sample_rate)
    D = stft(y, sizes).T  # (bins, frames) -> (frames, bins)
    frames = len(np.arange(0, len(D), rate))
    length = max(1, round(len(y) / rate))
    return overlap_add(stretched_spectra(D, rate), frames, length, sizes)


def pitch_shift(y: NDArray[np.float32], sample_rate: int, semitones: float) -> NDArray[np.float32]:
    """Change the pitch of a waveform and keep its duration: stretch it, then resample it.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    semitones : float
        Change of pitch: 12 is an octave up, -12 an octave down.

    Returns
    -------
    (samples,)

    Examples
    --------
    >>> pitch_shift(np.zeros(22050, np.float32), 22050, semitones=-2).shape
    (22050,)
    """
    rate = 2 ** (semitones / 12)
    # a higher pitch is faster, so that the waveform has to be slower before
    slower = time_stretch(y, sample_rate, 1 / rate)
    return resize_array(change_speed(slower, sample_rate, rate), len(y))


def change_speed(y: NDArray[np.float32], sample_rate: int, rate: float) -> NDArray[np.float32]:
    """Change tempo and pitch of a waveform together, as a faster turntable does.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second (not used).
    rate : float
        Factor on tempo and frequencies.

    Returns
    -------
    (samples / rate,)

    Examples
    --------
    >>> change_speed(np.zeros(22050, np.float32), 22050, rate=1.05).shape
    (21000,)
    """
    return resize_array(soxr.resample(y, rate, 1), max(1, round(len(y) / rate)))


def add_noise(
    y: NDArray[np.float32], sample_rate: int, snr_db: float, noise_seed: int
) -> NDArray[np.float32]:
    """Add white noise to a waveform.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second (not used).
    snr_db : float
        Mean power of the waveform relative to the noise, in dB.
    noise_seed : int
        Random seed.

    Returns
    -------
    (samples,)

    Examples
    --------
    >>> noisy = add_noise(np.ones(22050, np.float32), 22050, snr_db=20, noise_seed=0)
    >>> round(float(noisy.std()), 3)
    0.1
    """
    noise = np.random.default_rng(noise_seed).standard_normal(len(y), dtype=np.float32)
    power = np.mean(np.square(y)) / np.mean(np.square(noise)) / 10 ** (snr_db / 10)
    return y + np.float32(np.sqrt(power)) * noise


def shift(y: NDArray[np.float32], sample_rate: int, seconds: float) -> NDArray[np.float32]:
    """Move a waveform to a later time and put its end at the start.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    seconds : float
        Delay.

    Returns
    -------
    (samples,)

    Examples
    --------
    >>> shift(np.array([1, 2, 3, 4], np.float32), 2, seconds=0.5)
    array([4., 1., 2., 3.], dtype=float32)
    """
    return np.roll(y, round(seconds * sample_rate))


def percussive(
    y: NDArray[np.float32], sample_rate: int, margin: float = 1.0
) -> NDArray[np.float32]:
    """Keep the percussive part of a waveform (median filtering; FitzGerald, 2010).

    A median over time keeps steady tones, a median over frequency keeps clicks. Each bin of the
    spectrum is scaled by the clicks' share of the power of both.

    Parameters
    ----------
    y, sample_rate : (samples,), int
        Waveform, and its samples per second.
    margin : float
        Factor on the tones' magnitudes: above 1, only clicks that much stronger remain.

    Returns
    -------
    (samples,)

    Examples
    --------
    >>> percussive(np.zeros(22050, np.float32), 22050).shape
    (22050,)
    """
    sizes = frame_sizes(sample_rate)
    D = stft(y, sizes).T  # (bins, frames) -> (frames, bins)
    S = np.abs(D)
    harmonic = np.square(margin * running_median(S))  # (frames, bins), as S
    clicks = np.square(running_median(S.T).T)  # (bins, frames) inside, (frames, bins) after
    D *= clicks / (harmonic + clicks + np.float32(1e-30))  # silence stays silent
    blocks = (D[start : start + BLOCK] for start in range(0, len(D), BLOCK))
    return overlap_add(blocks, len(D), len(y), sizes)


def running_median(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of 31 neighbours along the first axis of x; the ends are mirrored."""
    # median_filter(x, (31, 1)) is the same and eight times slower: 1-D has an algorithm of its own
    # mirrored here, (n, columns) -> (n + 30, columns): SciPy 1.17 reads beyond two values
    padded = np.pad(x, ((15, 15), (0, 0)), mode="symmetric")
    return np.stack([median_filter(column, 31)[15:-15] for column in padded.T], axis=1)


def frame_sizes(sample_rate: int) -> HParams:
    """Return settings of an STFT for effects: windows of about 93 ms, and a quarter as hop."""
    # a power of two; at 22,050 Hz 2048 with hop 512, librosa's defaults
    size = 2 ** max(6, round(np.log2(sample_rate * 2048 / 22050)))
    return HParams(sample_rate=sample_rate, fft_size=size, win_size=size, hop_size=size // 4)


def overlap_add(
    blocks: Iterable[NDArray[np.complex64]], frames: int, length: int, sizes: HParams
) -> NDArray[np.float32]:
    """Return the waveform (length,) whose STFT is closest to spectra in blocks (frames, bins).

    `frames` is the number of frames in all blocks.
    """
    # least squares (Griffin and Lim, 1984): window, add, divide by the sum of squared windows
    laps, hop, window = sizes.fft_size // sizes.hop_size, sizes.hop_size, hann(sizes)
    total = np.zeros((frames + laps - 1, hop), dtype=np.float32)
    weight = np.zeros_like(total)
    start = 0
    for D in blocks:
        # (frames, fft_size) -> (frames, laps, hop): lap k of a frame starts k hops after the frame
        parts = (irfft(D, sizes.fft_size, axis=1) * window).reshape(-1, laps, hop)
        for lap in range(laps):
            total[start + lap : start + lap + len(D)] += parts[:, lap]
        start += len(D)
    for lap, squares in enumerate(np.square(window).reshape(laps, hop)):  # (fft_size,) before
        weight[lap : lap + frames] += squares
    y = total / np.maximum(weight, np.float32(1e-3))  # the weight is lower only beyond the ends
    # (frames + laps - 1, hop) -> (samples,), from the centre of the first frame
    return resize_array(y.ravel()[sizes.fft_size // 2 :], length)


def stretched_spectra(D: NDArray[np.complex64], rate: float) -> Iterator[NDArray[np.complex64]]:
    """Yield the spectra of a track `rate` times as fast, in blocks (BLOCK or fewer frames, bins).

    A phase vocoder (Flanagan and Golden, 1966): magnitudes are interpolated between neighbouring
    frames, and the phase of each bin advances as it does between them. Phases are products of unit
    phasors, because the advance is needed only modulo a full turn: frames are read and written with
    the same hop. Values equal `librosa.phase_vocoder` in double precision.
    """
    steps = np.arange(0, len(D), rate)
    D = np.pad(D, ((0, 2), (0, 0)))
    phase = None
    for begin in range(0, len(steps), BLOCK):
        at = steps[begin : begin + BLOCK]
        first = int(at[0])
        magnitude, unit = polar(D[first : int(at[-1]) + 2])
        index = at.astype(int) - first
        share = (at % 1).astype(np.float32)[:, None]  # (frames, 1), against (frames, bins)
        advance = unit[index + 1] * unit[index].conj()
        phases = accumulate(unit[0] if phase is None else phase, advance)
        phase = polar(phases[-1])[1]  # length 1 again, because rounding errors add up
        yield ((1 - share) * magnitude[index] + share * magnitude[index + 1]) * phases[:-1]


def polar(D: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
    """Return magnitudes and unit phasors of spectra; the phasor of silence is 1."""
    magnitude = np.abs(D)
    unit = D * (1 / np.maximum(magnitude, SMALLEST))
    unit[magnitude < SMALLEST] = 1
    return magnitude, unit


def accumulate(
    phase: NDArray[np.complex64], advance: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Multiply a phase (bins,) by the rows of `advance` one after another: (frames + 1, bins)."""
    phases = np.empty((len(advance) + 1, len(phase)), dtype=phase.dtype)
    phases[0] = phase
    for row, turn in enumerate(advance):  # faster than multiply.accumulate along columns
        np.multiply(phases[row], turn, out=phases[row + 1])
    return phases


class Effect(NamedTuple):
    """An effect: `draw(rng)` returns parameters for `apply(y, sample_rate, **parameters)`."""

    draw: Callable[[np.random.Generator], dict[str, Any]]
    apply: Callable[..., NDArray[np.float32]]


def draw_change(rng: np.random.Generator, least: float, most: float) -> float:
    """Draw a number from `least` to `most`, with a random sign."""
    return float(rng.choice((-1, 1)) * rng.uniform(least, most))


EFFECTS = {  # no change is near 0, or a copy would equal its source
    "pitch_shift": Effect(
        lambda rng: {"semitones": round(draw_change(rng, 0.5, 2), 3)}, pitch_shift
    ),
    "time_stretch": Effect(  # 30 s keep at least 24 s, which have 1024 frames
        lambda rng: {"rate": round(1.25 ** draw_change(rng, 0.25, 1), 4)}, time_stretch
    ),
    "speed": Effect(  # two semitones at most
        lambda rng: {"rate": round(2 ** (draw_change(rng, 0.5, 2) / 12), 4)}, change_speed
    ),
    "noise": Effect(
        lambda rng: {
            "snr_db": round(rng.uniform(10, 30), 2),
            "noise_seed": int(rng.integers(2**32)),
        },
        add_noise,
    ),
    "shift": Effect(lambda rng: {"seconds": round(rng.uniform(1, 10), 3)}, shift),
    "percussive": Effect(lambda rng: {"margin": round(rng.uniform(1, 2), 3)}, percussive),
}


def draw_parameters(name: str, effect: str, number: int, seed: int) -> dict[str, Any]:
    """Draw the parameters of copy `number` of a track, always the same for these arguments."""
    digest = hashlib.sha256(f"{name}\n{effect}\n{number}".encode()).digest()
    return EFFECTS[effect].draw(np.random.default_rng([seed, int.from_bytes(digest)]))


def within_range(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a waveform down if it would clip."""
    return y / np.float32(max(1, np.abs(y).max()))
