"""Scores of rankings: by hand, at random, and the best possible."""

import numpy as np
import pytest

from training.ranking import ideal_ranking, query_scores, random_scores, score_ranking


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
