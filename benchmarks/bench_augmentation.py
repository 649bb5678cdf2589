"""Effects of effects.py against librosa's, in process, on one thread.

    python benchmarks/bench_augmentation.py

Then how far the values of both are from librosa's own computed in double precision.
"""

import argparse
import functools
import sys

import numpy as np
from bench_extraction import seconds
from side_by_side import ROOT, compare, table
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(ROOT))

import effects

RATE = 22050


def cases():
    """The (effect, librosa's function, ours), each of a waveform."""
    import librosa

    yield (
        "time stretch, 1.1 times as fast",
        functools.partial(librosa.effects.time_stretch, rate=1.1),
        functools.partial(effects.time_stretch, sample_rate=RATE, rate=1.1),
    )
    yield (
        "pitch shift, 2 semitones",
        lambda y: librosa.effects.pitch_shift(y, sr=RATE, n_steps=2),
        functools.partial(effects.pitch_shift, sample_rate=RATE, semitones=2),
    )
    yield (
        "percussive part",
        librosa.effects.percussive,
        functools.partial(effects.percussive, sample_rate=RATE),
    )


def synthesize():
    """30 s of tones, clicks and noise: (samples,), float32."""
    rng = np.random.default_rng(0)
    t = np.arange(30 * RATE) / RATE
    y = 0.2 * np.sin(2 * np.pi * 220 * t) + 0.1 * np.sin(2 * np.pi * 660 * t)
    y[:: RATE // 2] += 0.5
    return (y + 0.05 * rng.standard_normal(len(t))).astype(np.float32)


def compare_effects(runs):
    """A row for each effect: times of both, and the largest error of both."""
    y = synthesize()
    for name, theirs, ours in cases():
        with threadpool_limits(1):
            both = (functools.partial(seconds, theirs, y), functools.partial(seconds, ours, y))
            row = compare(name, *both, runs)
        exact = theirs(y.astype(np.float64))
        errors = [f"{np.abs(function(y) - exact).max():.0e}" for function in (theirs, ours)]
        yield *row[:4], " / ".join(errors)


def main(argv=None):
    """The report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="pairs that count [10]")
    runs = parser.parse_args(argv).runs
    columns = ("effect", "librosa", "ours", "ratio (from to)", "largest error, both")
    return (
        "## Augmentation\n\n"
        f"One track of 30 s, in process, one thread; {runs} pairs. Errors are differences from\n"
        "librosa's values in double precision.\n\n"
        f"{table(list(compare_effects(runs)), columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")
