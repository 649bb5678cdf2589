"""Score genres and tags: average chunks to tracks; compute accuracies, AUCs and their intervals.

Tracks are scored, not chunks: the probabilities of a track are the mean over its chunks.

Conventions: probabilities (chunks, classes); labels, int64 (chunks,) for genres, 0 or 1
(chunks, tags) for tags; `tracks` (chunks,), the index of each chunk's track, with every index from
0 to the largest. SciPy and scikit-learn are imported inside functions: they take a second to load,
and prediction does not need them.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000  # of the test tracks, for the interval of a mean AUC
Names = Sequence[str]  # of tracks or classes, in the order of rows or columns


def average_by_track(values: NDArray, tracks: NDArray) -> NDArray:
    """Average the rows of each track.

    Parameters
    ----------
    values : NDArray [shape=(chunks, ...)]
        Probabilities or labels.
    tracks : NDArray of int [shape=(chunks,)]
        The index of each chunk's track.

    Returns
    -------
    NDArray of float64 [shape=(tracks, ...)]

    Examples
    --------
    >>> average_by_track(np.array([0.25, 0.75, 1.0]), np.array([0, 0, 1]))
    array([0.5, 1. ])
    """
    sums = np.zeros((tracks.max() + 1, *values.shape[1:]))
    np.add.at(sums, tracks, values)
    counts = np.bincount(tracks)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))  # (tracks,) -> (tracks, 1, ...)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Compute the 95 % interval of an accuracy (Wilson, 1927).

    Parameters
    ----------
    correct, total : int
        Numbers of correct answers and of all answers, `total` > 0.

    Returns
    -------
    low, high : float
        Lower and upper bound, as fractions.

    Examples
    --------
    >>> low, high = wilson_interval(8, 10)
    >>> f"{low:.2f} to {high:.2f}"
    '0.49 to 0.94'
    """
    from scipy.stats import binomtest

    interval = binomtest(int(correct), int(total)).proportion_ci(0.95, method="wilson")
    return interval.low, interval.high


def score_genres(
    probabilities: NDArray, labels: NDArray, tracks: NDArray, genres: Names
) -> dict[str, Any]:
    """Score genre predictions by chunk and by track.

    Parameters
    ----------
    probabilities, labels, tracks : NDArray
        Shapes (chunks, genres), (chunks,) and (chunks,).
    genres : sequence of str
        Their names.

    Returns
    -------
    dict
        Plain values: `chunk_accuracy`, `track_accuracy`, `track_interval` (95 %),
        `correct_tracks`, `num_tracks`, `per_genre` and `confusion_matrix` (a row per true genre).

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> labels = tracks = np.array([0, 0, 1])
    >>> scores = score_genres(probabilities, labels, tracks, ["jazz", "pop"])
    >>> scores["track_accuracy"], scores["confusion_matrix"]
    (1.0, [[1, 0], [0, 1]])
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    track_labels = average_by_track(labels, tracks).astype(int)
    predicted = average_by_track(probabilities, tracks).argmax(axis=1)
    correct, total = int((predicted == track_labels).sum()), len(predicted)
    classes = np.arange(len(genres))
    precision, recall, f1, _ = precision_recall_fscore_support(
        track_labels, predicted, labels=classes, zero_division=0
    )
    counts = np.bincount(track_labels, minlength=len(genres))  # scikit-learn's can be floats
    rows = zip(*(column.tolist() for column in (precision, recall, f1, counts)))
    names = ("precision", "recall", "f1", "tracks")
    return {
        "chunk_accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "track_accuracy": correct / total,
        "track_interval": list(wilson_interval(correct, total)),
        "correct_tracks": correct,
        "num_tracks": total,
        "per_genre": {genre: dict(zip(names, row)) for genre, row in zip(genres, rows)},
        "confusion_matrix": confusion_matrix(track_labels, predicted, labels=classes).tolist(),
    }


def list_genre_predictions(
    probabilities: NDArray, labels: NDArray, tracks: NDArray, names: Names, genres: Names
) -> list[dict[str, Any]]:
    """Name, genre, predicted genre and probabilities of each track, for the report."""
    track_labels = average_by_track(labels, tracks).astype(int)
    return [
        {
            "track": name,
            "genre": genres[label],
            "predicted": genres[row.argmax()],
            "probabilities": dict(zip(genres, row.tolist())),
        }
        for name, label, row in zip(names, track_labels, average_by_track(probabilities, tracks))
    ]


def find_one_sided(labels: NDArray, tags: Names) -> dict[str, str]:
    """Tags that labels (tracks, tags) cannot score, each with the reason."""
    reasons = {0: "no track has it", 1: "every track has it"}
    shares = labels.mean(axis=0)  # (tracks, tags) -> (tags,)
    return {tag: reasons[share] for tag, share in zip(tags, shares) if share in reasons}


def score_tags(
    probabilities: NDArray,
    labels: NDArray,
    tracks: NDArray,
    tags: Names,
    left_out: Collection[str] = (),
) -> dict[str, Any]:
    """Score tag predictions by track.

    Parameters
    ----------
    probabilities, labels, tracks : NDArray
        Shapes (chunks, tags), (chunks, tags) and (chunks,).
    tags : sequence of str
        Their names.
    left_out : collection of str
        Tags to leave out, in addition to those that all tracks have, or none.

    Returns
    -------
    dict
        Plain values: `chunk_accuracy`, the share of correct decisions at 0.5; `per_tag`, the
        ROC-AUC, PR-AUC (average precision) and number of tracks of each tag; their means `roc_auc`
        and `pr_auc`, and `roc_auc_interval` (95 %), all None if no tag is scored; `num_tracks`.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.2], [0.1, 0.3], [0.8, 0.1]])
    >>> labels = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> score_tags(probabilities, labels, np.arange(3), ["loud", "slow"])["roc_auc"]
    1.0
    """
    correct = (probabilities > 0.5) == (labels > 0.5)
    labels, probabilities = (average_by_track(each, tracks) for each in (labels, probabilities))
    unscored = {*left_out, *find_one_sided(labels, tags)}
    scored = [i for i, tag in enumerate(tags) if tag not in unscored]
    labels, probabilities = labels[:, scored] > 0.5, probabilities[:, scored]
    per_tag = [score_tag(*columns) for columns in zip(labels.T, probabilities.T)]
    means = {
        name: float(np.mean([row[name] for row in per_tag])) if per_tag else None
        for name in ("roc_auc", "pr_auc")
    }
    return {
        "chunk_accuracy": float(correct.mean()),
        **means,
        "roc_auc_interval": bootstrap_interval(labels, probabilities) if per_tag else None,
        "num_tracks": len(labels),
        "per_tag": {tags[i]: row for i, row in zip(scored, per_tag)},
    }


def score_tag(labels: NDArray, probabilities: NDArray) -> dict[str, float]:
    """Scores of one tag from labels, bool, and probabilities (tracks,)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "pr_auc": float(average_precision_score(labels, probabilities)),
        "tracks": int(labels.sum()),
    }


def bootstrap_interval(labels: NDArray, probabilities: NDArray) -> list[float]:
    """Compute the 95 % interval of a mean ROC-AUC by resampling tracks (Efron, 1979).

    A tag is left out of the mean of a resample if all tracks drawn have it, or none of them.

    Parameters
    ----------
    labels, probabilities : NDArray of bool, of float [shape=(tracks, tags)]
        Whether a track has a tag, and with which probability it was predicted.

    Returns
    -------
    list of float
        Lower and upper bound; equal arguments give equal bounds.

    Examples
    --------
    >>> labels = np.array([[True], [True], [False], [False]])
    >>> bootstrap_interval(labels, np.array([[0.9], [0.8], [0.2], [0.1]]))
    [1.0, 1.0]
    """
    rng, count = np.random.default_rng(0), len(labels)
    means = []
    for _ in range(10):  # all resamples at once would take a gigabyte for 100,000 tracks
        times = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES // 10)
        times = np.asfortranarray(times, dtype=np.float32)  # by track: converted once for all tags
        aucs = [resampled_auc(*columns, times) for columns in zip(labels.T, probabilities.T)]
        known = ~np.all(np.isnan(aucs), axis=0)
        means.append(np.nanmean(np.array(aucs)[:, known], axis=0))  # (tags, 100) -> (100,)
    return np.percentile(np.concatenate(means), (2.5, 97.5)).tolist()


def resampled_auc(labels: NDArray, probabilities: NDArray, times: NDArray) -> NDArray:
    """ROC-AUC of a tag in each resample, (resamples,); NaN if all tracks have the tag, or none.

    `times` (resamples, tracks) counts how often each track was drawn. The AUC is the share of pairs
    of a track with the tag and one without in which the first has the higher probability. Equal
    probabilities count half.
    """
    values, ranks = np.unique(probabilities[labels], return_inverse=True)
    with_tag, without = np.flatnonzero(labels), np.flatnonzero(~labels)
    # a track without the tag counts half from the first value on that is not below its own, and
    # half from the first above it
    steps = [np.searchsorted(values, probabilities[without], side) for side in ("left", "right")]
    drawn = times.T.astype(np.float32, copy=False)  # exact for up to 8 million tracks
    below = sum_rows(np.concatenate(steps), np.tile(without, 2), 0.5, len(values) + 1, drawn)
    below = np.cumsum(below, axis=0)  # (values + 1, resamples); the last row counts all
    positives = sum_rows(ranks, with_tag, 1.0, len(values), drawn)  # (values, resamples)
    with np.errstate(invalid="ignore"):  # 0 / 0 gives NaN, as documented
        return (positives * below[:-1]).sum(axis=0) / (positives.sum(axis=0) * below[-1])


def sum_rows(
    targets: NDArray, sources: NDArray, weight: float, count: int, rows: NDArray
) -> NDArray:
    """Add `weight` times each source row to its target row: float64 (count, columns)."""
    from scipy.sparse import csr_array

    weights = np.full(len(targets), weight, dtype=np.float32)
    # as a sparse matrix it is a tenth of the time that sorting the rows takes
    matrix = csr_array((weights, (targets, sources)), shape=(count, len(rows)))
    return (matrix @ rows).astype(np.float64)


def list_tag_predictions(
    probabilities: NDArray, labels: NDArray, tracks: NDArray, names: Names, tags: Names
) -> list[dict[str, Any]]:
    """Name, tags and probabilities of each track, for the report."""
    track_labels = average_by_track(labels, tracks) > 0.5
    by_track = average_by_track(probabilities, tracks)
    return [
        {
            "track": name,
            "tags": [tag for tag, has_tag in zip(tags, row_labels) if has_tag],
            "probabilities": dict(zip(tags, row.tolist())),
        }
        for name, row_labels, row in zip(names, track_labels, by_track)
    ]
