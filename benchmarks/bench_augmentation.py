"""Compare the effects in audio/effects.py with librosa's, in process, on one thread.

    python benchmarks/bench_augmentation.py

The errors of both are differences from librosa's values in double precision.
"""

from collections.abc import Callable, Iterator
from functools import partial

import librosa
import numpy as np
from numpy.typing import NDArray
from side_by_side import compare_calls, make_parser, table

from audio import effects

RATE = 22050
Effect = Callable[[NDArray], NDArray]
CASES: dict[str, tuple[Effect, Effect]] = {  # librosa's function and ours
    "time stretch, 1.1 times as fast": (
        partial(librosa.effects.time_stretch, rate=1.1),
        partial(effects.time_stretch, sample_rate=RATE, rate=1.1),
    ),
    "pitch shift, 2 semitones": (
        partial(librosa.effects.pitch_shift, sr=RATE, n_steps=2),
        partial(effects.pitch_shift, sample_rate=RATE, semitones=2),
    ),
    "percussive part": (
        librosa.effects.percussive,
        partial(effects.percussive, sample_rate=RATE),
    ),
}


def synthesize() -> NDArray[np.float32]:
    """Synthesize 30 s of tones, clicks and noise: (samples,)."""
    rng = np.random.default_rng(0)
    t = np.arange(30 * RATE) / RATE
    y = 0.2 * np.sin(2 * np.pi * 220 * t) + 0.1 * np.sin(2 * np.pi * 660 * t)
    y[:: RATE // 2] += 0.5  # clicks, two per second
    return (y + 0.05 * rng.standard_normal(len(t))).astype(np.float32)


def compare_effects(runs: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each effect: times and largest errors of both."""
    y = synthesize()
    for name, (theirs, ours) in CASES.items():
        row = compare_calls(name, partial(theirs, y), partial(ours, y), runs, threads=1)
        exact = theirs(y.astype(np.float64))  # librosa keeps the precision of its input
        errors = [f"{np.abs(function(y) - exact).max():.0e}" for function in (theirs, ours)]
        yield *row, " / ".join(errors)


def main() -> str:
    """Return the report as Markdown."""
    runs = make_parser(__doc__, runs=10).parse_args().runs
    columns = ("effect", "librosa", "ours", "ratio (from to)", "largest error, both")
    return (
        f"## Augmentation\n\nOne track of 30 s, in process, one thread; {runs} pairs. Errors are "
        "differences from librosa's\nvalues in double precision.\n\n"
        f"{table(list(compare_effects(runs)), columns)}\n"
    )


if __name__ == "__main__":
    print(main(), end="")
