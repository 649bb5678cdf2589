import numpy as np
import pytest

from metrics import average_by_track, score, wilson_interval
from report import format_report

PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
TRACKS = np.array([0, 0, 1, 1, 2])
LABELS = np.array([0, 0, 1, 1, 1])


def test_a_tracks_probabilities_are_the_mean_of_its_chunks():
    by_track = average_by_track(PROBABILITIES, TRACKS)
    np.testing.assert_allclose(by_track, [[0.65, 0.35], [0.25, 0.75], [0.6, 0.4]])


def test_wilson_interval_is_the_textbooks():
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson_interval(20, 20)[1] == pytest.approx(1)


def test_scores_of_chunks_and_tracks():
    scores = score(PROBABILITIES, LABELS, TRACKS, ["jazz", "pop"])
    assert scores["chunk_accuracy"] == pytest.approx(3 / 5)
    assert scores["track_accuracy"] == pytest.approx(2 / 3)
    assert scores["confusion_matrix"] == [[1, 0], [1, 1]]
    assert scores["per_genre"]["pop"] == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "tracks": 2}
    )


def test_nothing_right_is_a_score_too():
    scores = score(np.eye(3)[[1, 2, 0]], np.arange(3), np.arange(3), ["a", "b", "c"])
    assert scores["track_accuracy"] == 0
    assert [row["tracks"] for row in scores["per_genre"].values()] == [1, 1, 1]
    assert "a" in format_report(scores | {"skipped": {}})


def test_a_genre_without_test_tracks_scores_zero():
    scores = score(np.eye(3)[[0, 1]], np.array([0, 1]), np.array([0, 1]), ["a", "b", "c"])
    assert scores["per_genre"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "tracks": 0}
    assert np.shape(scores["confusion_matrix"]) == (3, 3)
