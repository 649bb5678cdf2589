"""Scores of a test: chunks averaged to tracks, accuracies, interval, confusion matrix.

Conventions: probabilities (chunks, classes), rows summing to 1; labels int64; the unit of scores is
the track. A track's probabilities are the mean of its chunks'.
"""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


def average_by_track(values, tracks):
    """Mean of the rows of each track: (chunks, ...) and owners (chunks,) to (tracks, ...).

    Owners are 0, 1, ..., each at least once.
    """
    sums = np.zeros((tracks.max() + 1, *values.shape[1:]))
    np.add.at(sums, tracks, values)
    counts = np.bincount(tracks)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def wilson_interval(correct, total):
    """95 % interval of an accuracy (Wilson, 1927), as two fractions."""
    interval = binomtest(int(correct), int(total)).proportion_ci(0.95, method="wilson")
    return interval.low, interval.high


def score(probabilities, labels, tracks, genres):
    """Scores of chunk probabilities (chunks, classes) for labels and owners (chunks,).

    Returns a dict of plain values: `chunk_accuracy`, `track_accuracy`, `track_interval`,
    `correct_tracks`, `num_tracks`, `per_genre` and `confusion_matrix` (rows are true genres).
    """
    track_labels = average_by_track(labels, tracks).astype(int)
    predicted = average_by_track(probabilities, tracks).argmax(axis=1)
    correct, total = int((predicted == track_labels).sum()), len(predicted)
    classes = np.arange(len(genres))
    *per_class, _ = precision_recall_fscore_support(
        track_labels, predicted, labels=classes, zero_division=0
    )
    per_class.append(np.bincount(track_labels, minlength=len(genres)))
    names = ("precision", "recall", "f1", "tracks")
    return {
        "chunk_accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "track_accuracy": correct / total,
        "track_interval": list(wilson_interval(correct, total)),
        "correct_tracks": correct,
        "num_tracks": total,
        "per_genre": {
            genre: dict(zip(names, values))
            for genre, *values in zip(genres, *(column.tolist() for column in per_class))
        },
        "confusion_matrix": confusion_matrix(track_labels, predicted, labels=classes).tolist(),
    }


def list_predictions(probabilities, labels, tracks, names, genres):
    """Per track its name, genre, prediction and probabilities; chunks as `score` takes them."""
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
