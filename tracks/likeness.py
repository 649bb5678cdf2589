"""Whether a track is like those that a run was trained on, by the level of its features.

A track is a point: the mean and the standard deviation of all values of its feature. The spread of
a train split is the median of its tracks' points, the median distance from it along each axis, and
the distance, in these units, that 99 % of its tracks keep. Tracks beyond that are unlike them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 20  # train tracks; the spread of fewer says little
SHARE = 0.99  # of train tracks that are like the others

Spread = dict[str, Any]  # plain values, for a checkpoint: {"median": [2], "scale": [2], "limit": 1}


def level(total: float, squares: float, count: int) -> NDArray[np.float64]:
    """Return mean and deviation (2,) of values with this sum, sum of squares and number.

    >>> level(total=8, squares=40, count=2)
    array([4., 2.])
    """
    mean = total / count
    return np.array([mean, np.sqrt(max(0.0, squares / count - mean**2))])


class LevelMeter:
    """Measures the level of a track while its chunks pass by in batches."""

    def __init__(self) -> None:
        self.rows = self.count = 0
        self.total = self.squares = 0.0

    def watch(
        self, batches: Iterable[tuple[NDArray[np.float32], int]]
    ) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Yield batches as they are: chunks (n, chunk_length, bins), and their real rows."""
        for chunks, real in batches:
            values = chunks.reshape(-1, chunks.shape[-1])[:real].astype(np.float64)
            self.rows, self.count = self.rows + real, self.count + values.size
            self.total, self.squares = self.total + values.sum(), self.squares + (values**2).sum()
            yield chunks, real

    def level(self) -> NDArray[np.float64]:
        """Return mean and deviation (2,) of all values of the real rows so far."""
        return level(self.total, self.squares, self.count)


def find_spread(levels: NDArray[np.float64]) -> Spread | None:
    """Return the spread of the levels (tracks, 2) of a train split, or None if it is too small."""
    if len(levels) < FEWEST:
        return None
    median = np.median(levels, axis=0)
    scale = np.median(np.abs(levels - median), axis=0)
    spread = {"median": median.tolist(), "scale": scale.tolist()}
    return spread | {"limit": float(np.quantile(distance(levels, spread), SHARE))}


def distance(levels: NDArray[np.float64], spread: Spread) -> NDArray[np.float64]:
    """Return how far levels (..., 2) are from the median of a train split, in units of its scale.

    An axis along which half of the train tracks are equal is left out: (...).
    """
    scale = np.array(spread["scale"])
    away = (levels - spread["median"]) / np.where(scale > 0, scale, np.inf)
    return np.sqrt((away**2).sum(-1))
