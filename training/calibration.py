"""How far to trust a run's probabilities: temperature, calibration error, and when it is unsure.

A temperature divides the logarithms of a track's probabilities, the means over its chunks (Guo et
al., "On Calibration of Modern Neural Networks", 2017). It is the one that makes the labels of the
valid split most likely. It changes how sure a run is, never its answer.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.metrics import average_by_track
from training.tasks import Task

BOUNDS = (0.05, 20.0)  # of a temperature
BINS = 15  # of equal width, for the calibration error, as in the paper
GOAL = 0.9  # share of the answers on valid that must be right: otherwise a run is unsure
DRAWS = 200  # times that outcomes are drawn, for the error by chance
FEWEST = 5  # answers that a share needs; it also needs a tenth of the tracks


class Chunks(NamedTuple):
    """The logits of a model for the chunks of a split, and the true labels."""

    logits: Tensor  # (chunks, classes), on the CPU
    labels: NDArray  # (chunks,), or for tagging (chunks, tags)
    tracks: NDArray  # (chunks,): the index of each chunk's track

    def probabilities(self, task: Task) -> tuple[NDArray, NDArray, NDArray]:
        """Return probabilities (chunks, classes), labels and tracks."""
        return task.probabilities(self.logits).numpy(), self.labels, self.tracks

    def track_labels(self) -> NDArray:
        """Return the labels of tracks: (tracks,), or for tagging (tracks, tags)."""
        return average_by_track(self.labels, self.tracks).astype(int)

    def by_track(self, temperature: float, task: Task) -> NDArray:
        """Return the probabilities of tracks at a temperature: (tracks, classes)."""
        shares = average_by_track(self.probabilities(task)[0], self.tracks)
        return task.temper(shares, temperature)

    def listed(self, temperature: float, task: Task) -> tuple[NDArray, NDArray, NDArray]:
        """Return probabilities of tracks at a temperature, their labels and indices."""
        labels = self.track_labels()
        return self.by_track(temperature, task), labels, np.arange(len(labels))


def fit_decision(valid: Chunks, task: Task) -> dict[str, float]:
    """Return how logits become decisions, fitted on valid: temperature and least confidence."""
    temperature = fit_temperature(valid, task)
    if not task.one_answer:
        return {"temperature": temperature}
    outcomes = task.outcomes(valid.by_track(temperature, task), valid.track_labels())
    return {"temperature": temperature, "min_confidence": choose_threshold(*outcomes)}


def fit_temperature(valid: Chunks, task: Task) -> float:
    """Return the temperature at which the labels of tracks are most likely.

    A split without errors, or with few tracks, says little about it. A prior then keeps it near 1:
    its logarithm has a standard normal distribution.
    """
    from scipy.optimize import minimize_scalar

    labels, shares = valid.track_labels(), valid.by_track(1.0, task)

    def loss(log: float) -> float:
        likelihood = task.likelihood(task.temper(shares, np.exp(log)), labels)
        return float(log**2 / 2 - np.log(np.maximum(likelihood, 1e-12)).sum())

    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded")
    return float(np.exp(found.x))


def choose_threshold(confidence: NDArray, right: NDArray) -> float:
    """Return the least confidence at which enough of the answers are right.

    Parameters
    ----------
    confidence, right : NDArray [shape=(tracks,)]
        The probability of each answer, and whether it is right.

    Returns
    -------
    float
        The smallest threshold at which `GOAL` of the answers are right, with `FEWEST` answers or
        more; if there is none, the one with the largest share. 0 answers always.

    Examples
    --------
    >>> choose_threshold(np.linspace(0.9, 0.1, 9), np.arange(9) < 5)
    0.45
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, answers = confidence[order], np.arange(1, len(order) + 1)
    share = np.cumsum(right[order]) / answers  # of right answers, from the most confident on
    lower = np.append(ranked[1:], 0)  # equal confidences are answered together
    possible = (ranked > lower) & (answers >= max(FEWEST, len(order) / 10))
    possible[-1] = True
    share = np.where(possible, np.minimum(share, GOAL), -1)
    last = int(np.flatnonzero(share == share.max())[-1])
    # halfway to the next one, so that rounding does not decide
    return float((ranked[last] + lower[last]) / 2) if lower[last] else 0.0


def reliability(confidence: NDArray, outcome: NDArray) -> dict[str, Any]:
    """Return the expected calibration error of probabilities, and its bins.

    It is the mean, weighted by count, of the distance between mean probability and share of true
    outcomes in bins of equal width (Naeini, Cooper and Hauskrecht, 2015).

    Parameters
    ----------
    confidence, outcome : NDArray [shape=(answers,)]
        The probability of each answer, and whether the answer is true.

    Examples
    --------
    >>> found = reliability(np.array([0.75, 0.75, 0.0]), np.array([True, False, False]))
    >>> round(found["error"], 3)  # two thirds of 0.75 - 0.5
    0.167
    """
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    given, true = (np.bincount(index, values, BINS) for values in (confidence, outcome))
    return {
        "error": float(np.abs(given - true).sum() / len(index)),
        "counts": counts.tolist(),
        "confidence": (given / np.maximum(1, counts)).tolist(),
        "share": (true / np.maximum(1, counts)).tolist(),
    }


def error_by_chance(confidence: NDArray) -> float:
    """Return the mean calibration error that chance alone causes at these probabilities.

    It is the error of perfect calibration. It is not 0, because few answers fall into each bin.
    Outcomes are drawn (Broecker and Smith, 2007).
    """
    rng = np.random.default_rng(0)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(DRAWS))
    return float(np.mean([reliability(confidence, outcome)["error"] for outcome in drawn]))


def assess(chunks: Chunks, decision: dict[str, float], task: Task) -> dict[str, Any]:
    """Return how well a split is calibrated, `before` and `after` the temperature.

    `by_chance` is the error that perfect calibration would have after it. For a task with one
    answer, also how many tracks are `answered`, and how many of these are right.
    """
    labels = chunks.track_labels()
    before, after = (
        task.outcomes(chunks.by_track(temperature, task), labels)
        for temperature in (1.0, decision["temperature"])
    )
    found = {"before": reliability(*before), "after": reliability(*after), "tracks": len(labels)}
    found["by_chance"] = error_by_chance(after[0])
    if not task.one_answer:
        return found
    confidence, right = after
    sure = confidence >= decision["min_confidence"]
    return found | {"answered": int(sure.sum()), "answered_right": int(right[sure].sum())}
