"""Scores of rankings: by hand, at random, and the best possible."""

import numpy as np
import pytest

from training import ranking
from training.ranking import (
    choose_queries,
    cosine_ranking,
    ideal_ranking,
    query_scores,
    random_scores,
    score_ranking,
)


def test_precision_and_average_precision_by_hand():
    relevant = np.array([True, False, True, False, False])
    assert query_scores(relevant, 2) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    labels = np.array([0, 0, 1, 1, 1, 2])
    assert list(score_ranking(ideal_ranking(labels), labels, 2)) == pytest.approx(
        [(2 * 0.5 + 3) / 5, 1]
    )


def test_random_scores_are_what_shuffling_gives():
    labels = np.repeat(np.arange(4), 6)
    precision, mean = random_scores(labels, 10, 0)
    assert precision == pytest.approx(5 / 23, abs=0.01)
    assert 5 / 23 < mean < 0.4
    assert random_scores(labels, 10, 0) == (precision, mean)


def test_a_limited_number_of_tracks_are_queries(monkeypatch):
    monkeypatch.setattr(ranking, "MOST_QUERIES", 5)
    labels, asked = np.array([2, *[0, 1] * 20]), []
    assert choose_queries(labels).tolist() == [1, 2, 3, 4, 5], "track 0 is alone"
    ideal = ideal_ranking(labels)
    assert score_ranking(lambda i: asked.append(i) or ideal(i), labels, 3) == (1, 1)
    assert asked == [1, 2, 3, 4, 5]


def test_scores_of_some_queries_are_near_those_of_all(monkeypatch, rng):
    labels = rng.integers(0, 4, 1500)
    x = (np.eye(4)[labels] + rng.normal(0, 1, (1500, 4))).astype(np.float32)
    by_cosine = cosine_ranking(x / np.linalg.norm(x, axis=1, keepdims=True))
    every = score_ranking(by_cosine, labels, 10)
    monkeypatch.setattr(ranking, "MOST_QUERIES", 400)
    np.testing.assert_allclose(score_ranking(by_cosine, labels, 10), every, atol=0.04)
