"""Scores of a test: chunks averaged to tracks, accuracies and AUCs, intervals, confusion matrix.

Conventions: probabilities (chunks, classes), rows summing to 1, and int64 labels (chunks,); of tags
probabilities and labels (chunks, tags). The unit of scores is the track: its probabilities are the
mean of its chunks'.
"""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from training.index import nearest

RESAMPLES = 1000  # of the test tracks, for the interval of a mean AUC


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


def find_one_sided(labels, tags):
    """Tags that labels (tracks, tags) cannot score, and why: {tag: "no track has it"}."""
    shares = labels.mean(axis=0)
    why = {0: "no track has it", 1: "every track has it"}
    return {tag: why[share] for tag, share in zip(tags, shares) if share in why}


def score_tags(probabilities, labels, tracks, tags, left_out=()):
    """Scores of chunk probabilities of tags (chunks, tags) for labels alike and owners (chunks,).

    Returns a dict of plain values: `chunk_accuracy`, the share of decisions at 0.5 that are right;
    `per_tag`, each tag's ROC-AUC, PR-AUC (average precision) and number of tracks that have it;
    `roc_auc` and `pr_auc`, the means of those (None if there are none), with `roc_auc_interval`;
    `num_tracks`. Tags of `left_out`, and those that no track has, or every one, are in neither.
    """
    right = (probabilities > 0.5) == (labels > 0.5)
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
        "chunk_accuracy": float(right.mean()),
        **means,
        "roc_auc_interval": bootstrap_interval(labels, probabilities) if per_tag else None,
        "num_tracks": len(labels),
        "per_tag": {tags[i]: row for i, row in zip(scored, per_tag)},
    }


def score_tag(labels, probabilities):
    """The scores of one tag: labels, bool, and probabilities (tracks,)."""
    return {
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "pr_auc": float(average_precision_score(labels, probabilities)),
        "tracks": int(labels.sum()),
    }


def bootstrap_interval(labels, probabilities, seed=0):
    """95 % interval of the mean ROC-AUC of tags, by resampling tracks (Efron, 1979): two numbers.

    Labels, bool, and probabilities (tracks, tags). A resample in which no track has a tag, or every
    one, leaves that tag out of its mean.
    """
    rng, count = np.random.default_rng(seed), len(labels)
    means = []
    for _ in range(10):  # all at once would take gigabytes for some ten thousand tracks
        times = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES // 10)
        aucs = [resampled_auc(*columns, times) for columns in zip(labels.T, probabilities.T)]
        known = ~np.all(np.isnan(aucs), axis=0)
        means.append(np.nanmean(np.array(aucs)[:, known], axis=0))
    return np.percentile(np.concatenate(means), (2.5, 97.5)).tolist()


def resampled_auc(labels, probabilities, times):
    """ROC-AUC of a tag in resamples that hold each track so many `times`: (resamples, tracks).

    The share of pairs, of a track with the tag and one without, in which the first has the higher
    probability, equal ones counting half: (resamples,), NaN where there is no pair.
    """
    order = np.argsort(probabilities)
    starts = np.flatnonzero(np.diff(probabilities[order], prepend=-1))  # of equal probabilities
    times, labels = times[:, order], labels[order]
    having = np.add.reduceat(times * labels, starts, axis=1)
    lacking = np.add.reduceat(times * ~labels, starts, axis=1)
    below = np.cumsum(lacking, axis=1) - lacking / 2
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN promised
        return (having * below).sum(axis=1) / (having.sum(axis=1) * lacking.sum(axis=1))


def list_tag_predictions(probabilities, labels, tracks, names, tags):
    """Per track its name, tags and probabilities; chunks as `score_tags` takes them."""
    track_labels = average_by_track(labels, tracks) > 0.5
    return [
        {
            "track": name,
            "tags": [tag for tag, has in zip(tags, row_labels) if has],
            "probabilities": dict(zip(tags, row.tolist())),
        }
        for name, row_labels, row in zip(
            names, track_labels, average_by_track(probabilities, tracks)
        )
    ]


RANKINGS = 10_000  # random ones, at least, that chance is the mean of


def rank_scores(relevant, count):
    """Precision among the first `count` and average precision of a ranking, best first.

    `relevant` (others,) tells which of the others are of the query's genre: one at least.
    """
    places = np.flatnonzero(relevant)
    precisions = np.arange(1, len(places) + 1) / (places + 1)
    return relevant[:count].mean(), precisions.mean()


def score_ranks(rank, labels, count):
    """Mean `rank_scores` of all queries whose genre (tracks,) another track has: (P, MAP).

    `rank(i)` puts all tracks but i in order, the most similar first.
    """
    sought = [i for i in range(len(labels)) if (labels == labels[i]).sum() > 1]
    return np.mean([rank_scores(labels[rank(i)] == labels[i], count) for i in sought], axis=0)


def by_cosine(embeddings):
    """A `rank` for `score_ranks`: by the cosine of embeddings (tracks, values) of length 1."""
    return lambda i: nearest(embeddings[i], embeddings, len(embeddings), [i])[0]


def by_chance(tracks, rng):
    """A `rank` for `score_ranks`: at random."""
    return lambda i: rng.permutation(np.delete(np.arange(tracks), i))


def chance(labels, count, seed):
    """The scores of random rankings, the mean of `RANKINGS` of them or more."""
    rng, draws = np.random.default_rng(seed), -(-RANKINGS // len(labels))
    rank = by_chance(len(labels), rng)
    return np.mean([score_ranks(rank, labels, count) for _ in range(draws)], axis=0)


def perfect(labels):
    """A `rank` for `score_ranks`: all of the query's genre first."""
    others = np.arange(len(labels))
    return lambda i: np.delete(others, i)[np.argsort(np.delete(labels, i) != labels[i])]
