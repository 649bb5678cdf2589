"""Effects on waveforms: pitch, tempo, speed, noise, shift, percussive part.

Arrays: waveform (samples,) float32 mono in [-1, 1]; spectra (frames, bins) complex64, time first.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.fft
import soxr

from audio.chunks import resize_array
from audio.features import BLOCK, count_frames, cut_frames, hann
from hparams import HParams

SMALLEST = np.float32(1e-20)  # magnitude that has a phase


TILE = 16  # medians found together: those of 2 * TILE - 1 = 31 values each, librosa's default


def frame_sizes(sample_rate):
    """Settings of an STFT for effects: Hann windows of a power of two, about 93 ms, hop a quarter.

    At 22,050 Hz these are 2048 and 512, librosa's defaults.
    """
    size = 2 ** max(6, round(np.log2(sample_rate * 2048 / 22050)))
    return HParams(sample_rate=sample_rate, fft_size=size, win_size=size, hop_size=size // 4)


def complex_spectra(y, sizes):
    """The STFT of a waveform (samples,): (frames, fft_size // 2 + 1), complex64."""
    window, frames = hann(sizes), count_frames(len(y), sizes)
    D = np.empty((frames, sizes.fft_size // 2 + 1), dtype=np.complex64)
    for start in range(0, frames, BLOCK):
        block = cut_frames(y, start, min(start + BLOCK, frames), sizes)
        D[start : start + BLOCK] = scipy.fft.rfft(block * window, axis=1)
    return D


def overlap_add(blocks, frames, length, sizes):
    """The waveform (length,) whose STFT is nearest to spectra given in blocks (frames, bins).

    Least squares: windowed again, added, divided by the sum of squared windows (Griffin and Lim,
    1984). `frames` is the number of all frames.
    """
    laps, hop = sizes.fft_size // sizes.hop_size, sizes.hop_size
    window = hann(sizes)
    total = np.zeros((frames + laps - 1, hop), dtype=np.float32)
    weight = np.zeros_like(total)
    start = 0
    for D in blocks:
        parts = scipy.fft.irfft(D, sizes.fft_size, axis=1)
        parts = (parts * window).reshape(-1, laps, hop)
        for lap in range(laps):
            total[start + lap : start + lap + len(D)] += parts[:, lap]
        start += len(D)
    for lap, squares in enumerate(np.square(window).reshape(laps, hop)):
        weight[lap : lap + frames] += squares
    y = total / np.maximum(weight, np.float32(1e-3))  # which is less only beyond the ends
    return resize_array(y.ravel()[sizes.fft_size // 2 :], length)


def stretched_spectra(D, rate):
    """Yield the spectra of a track `rate` times as fast, in blocks (BLOCK or fewer frames, bins).

    A phase vocoder (Flanagan and Golden, 1966): magnitudes are interpolated between neighbouring
    frames, each bin's phase goes on by what it advances between them. As frames are read and
    written with one hop, that advance is needed only modulo a turn: a product of unit phasors, no
    angle is taken. Values are those of `librosa.phase_vocoder` in double precision.
    """
    steps = np.arange(0, len(D), rate)
    D = np.pad(D, ((0, 2), (0, 0)))
    phase = None
    for begin in range(0, len(steps), BLOCK):
        at = steps[begin : begin + BLOCK]
        first = int(at[0])
        magnitude, unit = polar(D[first : int(at[-1]) + 2])
        index = at.astype(int) - first
        share = (at % 1).astype(np.float32)[:, None]
        advance = unit[index + 1] * unit[index].conj()
        phases = accumulate(unit[0] if phase is None else phase, advance)
        phase = polar(phases[-1])[1]  # of length 1 again: rounding adds up
        yield ((1 - share) * magnitude[index] + share * magnitude[index + 1]) * phases[:-1]


def polar(D):
    """Magnitudes and unit phasors of spectra; the phasor of nothing is 1."""
    magnitude = np.abs(D)
    unit = D * (1 / np.maximum(magnitude, SMALLEST))
    unit[magnitude < SMALLEST] = 1
    return magnitude, unit


def accumulate(phase, advance):
    """Products of a phase (bins,) and none, one, two ... of the rows of advances (frames, bins)."""
    phases = np.empty((len(advance) + 1, len(phase)), dtype=phase.dtype)
    phases[0] = phase
    for row, turn in enumerate(advance):  # faster than multiply.accumulate along columns
        np.multiply(phases[row], turn, out=phases[row + 1])
    return phases


def time_stretch(y, sample_rate, rate):
    """A waveform `rate` times as fast, its pitch kept: (samples,) to (samples / rate,)."""
    sizes = frame_sizes(sample_rate)
    D = complex_spectra(y, sizes)
    frames = len(np.arange(0, len(D), rate))
    length = max(1, round(len(y) / rate))
    return overlap_add(stretched_spectra(D, rate), frames, length, sizes)


def pitch_shift(y, sample_rate, semitones):
    """A waveform higher by `semitones`, its duration kept: stretched, then resampled (soxr)."""
    rate = 2 ** (semitones / 12)
    slower = time_stretch(y, sample_rate, 1 / rate)
    return resize_array(change_speed(slower, sample_rate, rate), len(y))


def change_speed(y, sample_rate, rate):
    """A waveform `rate` times as fast and as high: (samples,) to (samples / rate,)."""
    return resize_array(soxr.resample(y, rate, 1), max(1, round(len(y) / rate)))


def add_noise(y, sample_rate, snr_db, noise_seed):
    """A waveform with white noise `snr_db` below its own mean power."""
    noise = np.random.default_rng(noise_seed).standard_normal(len(y), dtype=np.float32)
    power = np.mean(np.square(y)) / np.mean(np.square(noise)) / 10 ** (snr_db / 10)
    return y + np.float32(np.sqrt(power)) * noise


def shift(y, sample_rate, seconds):
    """A waveform that starts `seconds` later and goes round: its end stands first."""
    return np.roll(y, round(seconds * sample_rate))


def percussive(y, sample_rate, margin=1.0):
    """The percussive part of a waveform, by medians of its spectra (FitzGerald, 2010).

    Over time a median keeps what sounds on, over frequency what is a click; each bin is kept by
    their shares of power. With a `margin` above 1, what sounds on must be that much weaker.
    """
    sizes = frame_sizes(sample_rate)
    D = complex_spectra(y, sizes)
    S = np.abs(D)
    harmonic = np.square(margin * running_median(S))
    clicks = np.square(running_median(np.ascontiguousarray(S.T)).T)
    D *= clicks / (harmonic + clicks + np.float32(1e-30))  # silence stays silent
    blocks = (D[start : start + BLOCK] for start in range(0, len(D), BLOCK))
    return overlap_add(blocks, len(D), len(y), sizes)


def running_median(x):
    """The median of 31 neighbours along the first axis of x (rows, columns), mirrored at its ends.

    Equal to `scipy.ndimage.median_filter(x, (31, 1))`. 16 neighbouring windows share 16 values,
    two halves of them 24, and so on: shared values are sorted once, and of those only the ones that
    can still be the median are kept (Adams, "Fast Median Filters using Separable Sorting
    Networks", 2021, in one dimension). Whole rows are compared at once.
    """
    medians = np.empty_like(x)
    padded = np.pad(x, ((TILE, TILE + -len(x) % TILE), (0, 0)), mode="symmetric")
    step = 4 * TILE  # rows whose values stay in the cache
    for start in range(0, len(x), step):
        part = padded[start : start + step + 2 * TILE]
        blocks = sorted_blocks(part)
        core = [row[1:-1] for row in blocks[TILE]]
        fill_medians(core, 0, blocks, medians[start : start + step])
    return medians


def sorted_blocks(x):
    """Rows of x in sorted blocks of 1, 2, 4 ... TILE: {length: [the least of each block, ...]}."""
    blocks = {1: [x]}
    length = 1
    while length < TILE:
        rows = blocks[length]
        blocks[2 * length] = sort_bitonic([a[0::2] for a in rows] + [b[1::2] for b in rows[::-1]])
        length *= 2
    return blocks


def sort_bitonic(values):
    """Arrays sorted element by element, given such that they rise and then fall (Batcher, 1968)."""
    half = len(values) // 2
    if not half:
        return values
    low = [np.minimum(a, b) for a, b in zip(values[:half], values[half:])]
    high = [np.maximum(a, b) for a, b in zip(values[:half], values[half:])]
    return sort_bitonic(low) + sort_bitonic(high)


def middle(core, block):
    """The middle n of the 3 n values in sorted arrays `core` (2 n) and `block` (n), sorted."""
    n = len(block)
    upper = sort_bitonic([np.maximum(a, b) for a, b in zip(core[:n], block[::-1])])
    return sort_bitonic([np.minimum(a, b) for a, b in zip(upper, core[: n - 1 : -1])])


def fill_medians(core, start, blocks, medians):
    """Write the medians of rows `start` to `start + len(core)` of every TILE rows.

    `core` has the values, sorted, of those that all of their windows share which can be a median.
    """
    half = len(core) // 2
    if not half:
        rows = medians[start::TILE]
        rows[:] = core[0][: len(rows)]
        return
    for first, at in ((start, start + half), (start + half, start + 2 * TILE)):
        block = [row[at // half :: TILE // half][: len(core[0])] for row in blocks[half]]
        fill_medians(middle(core, block), first, blocks, medians)


def draw_change(rng, least, most):
    """A number of either sign, of a size from `least` to `most`: a copy differs from its source."""
    return float(rng.choice((-1, 1)) * rng.uniform(least, most))


def draw_semitones(rng):
    """Half a semitone to two, up or down."""
    return {"semitones": round(draw_change(rng, 0.5, 2), 3)}


def draw_stretch(rng):
    """0.8 to 0.95 or 1.06 to 1.25 times as fast: of 30 s at least 24 s stay, 1024 frames."""
    return {"rate": round(1.25 ** draw_change(rng, 0.25, 1), 4)}


def draw_speed(rng):
    """0.89 to 0.97 or 1.03 to 1.12 times as fast: two semitones at most."""
    return {"rate": round(2 ** (draw_change(rng, 0.5, 2) / 12), 4)}


def draw_noise(rng):
    """A signal-to-noise ratio of 10 to 30 dB, and the seed of the noise."""
    return {"snr_db": round(rng.uniform(10, 30), 2), "noise_seed": int(rng.integers(2**32))}


def draw_shift(rng):
    """1 s to 10 s."""
    return {"seconds": round(rng.uniform(1, 10), 3)}


def draw_margin(rng):
    """1 to 2: at 1 the harmonic part would be all the rest."""
    return {"margin": round(rng.uniform(1, 2), 3)}


class Effect(NamedTuple):
    """How an effect's parameters are drawn, and how it is applied with them.

    `draw(rng)` gives a dict, `apply(y, sample_rate, **parameters)` a waveform.
    """

    draw: Callable
    apply: Callable


EFFECTS = {
    "pitch_shift": Effect(draw_semitones, pitch_shift),
    "time_stretch": Effect(draw_stretch, time_stretch),
    "speed": Effect(draw_speed, change_speed),
    "noise": Effect(draw_noise, add_noise),
    "shift": Effect(draw_shift, shift),
    "percussive": Effect(draw_margin, percussive),
}


def draw_parameters(name, effect, number, seed):
    """The parameters of copy `number` of a track with an effect; the same whatever else is made."""
    digest = hashlib.sha256(f"{name}\n{effect}\n{number}".encode()).digest()
    return EFFECTS[effect].draw(np.random.default_rng([seed, int.from_bytes(digest)]))


def within_range(y):
    """A waveform made quieter where it would clip."""
    return y / max(1, np.abs(y).max())
