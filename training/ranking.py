"""Score a similarity search: how high it ranks tracks of the query's genre.

A track of a split is the query, and the others are ranked, the most similar first. Random rankings
and the best possible one are scored too, for comparison. Time and memory grow with the number of
tracks, not with its square: at most `MOST_QUERIES` tracks are queries, one at a time.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.index import nearest

MOST_QUERIES = 2_000  # then the mean precision is known to about 0.01
RANDOM_RANKINGS = 10_000  # random scores are the mean over at least this many

# A ranking puts all tracks except query i in order, the most similar first: i -> (tracks - 1,)
Ranking = Callable[[int], NDArray]


class RankingScores(NamedTuple):
    """Precision among the first tracks, and mean average precision, both means over queries."""

    precision: float
    mean_average_precision: float


def query_scores(relevant: NDArray, count: int) -> tuple[float, float]:
    """Precision among the first `count` ranked tracks, and average precision, for one query.

    `relevant` (others,) is whether each track, best-ranked first, has the query's genre; one must.

    >>> query_scores(np.array([True, False, True, False]), count=2)
    (0.5, 0.8333333333333333)
    """
    ranks = np.flatnonzero(relevant)
    precisions = np.arange(1, len(ranks) + 1) / (ranks + 1)  # at each relevant track: (relevant,)
    return float(relevant[:count].mean()), float(precisions.mean())


def choose_queries(labels: NDArray) -> NDArray:
    """The first `MOST_QUERIES` tracks whose genre another track shares: indices; labels: (tracks,).

    For a fair choice the tracks are in random order.
    """
    _, genre, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.flatnonzero(sizes[genre] > 1)[:MOST_QUERIES]


def score_ranking(ranking: Ranking, labels: NDArray, count: int) -> RankingScores:
    """Mean `query_scores` over `choose_queries`; labels: (tracks,)."""
    queries = choose_queries(labels)
    scores = [query_scores(labels[ranking(i)] == labels[i], count) for i in queries]
    return RankingScores(*map(float, np.mean(scores, axis=0)))


def cosine_ranking(embeddings: NDArray) -> Ranking:
    """Rank by the cosine of embeddings (tracks, values) of length 1."""
    return lambda i: nearest(embeddings[i], embeddings, len(embeddings), [i])[0]


def ideal_ranking(labels: NDArray) -> Ranking:
    """Rank all tracks of the query's genre first: no ranking scores higher. Labels: (tracks,)."""
    tracks = np.arange(len(labels))
    return lambda i: np.delete(tracks, i)[np.argsort(np.delete(labels, i) != labels[i])]


def random_scores(labels: NDArray, count: int, seed: int) -> RankingScores:
    """Mean scores of at least `RANDOM_RANKINGS` random rankings; labels: (tracks,)."""
    rng, tracks = np.random.default_rng(seed), np.arange(len(labels))
    # rounded up; a round ranks once for each track, of many tracks for each query
    rounds = -(-RANDOM_RANKINGS // min(len(labels), MOST_QUERIES))
    scores = [
        score_ranking(lambda i: rng.permutation(np.delete(tracks, i)), labels, count)
        for _ in range(rounds)
    ]
    return RankingScores(*map(float, np.mean(scores, axis=0)))
