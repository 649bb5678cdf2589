import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training.metrics import (
    average_by_track,
    bootstrap_interval,
    list_tag_predictions,
    resampled_auc,
    score_genres,
    score_tags,
    wilson_interval,
)
from training.tasks import format_genre_table

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
    scores = score_genres(PROBABILITIES, LABELS, TRACKS, ["jazz", "pop"])
    assert scores["chunk_accuracy"] == pytest.approx(3 / 5)
    assert scores["track_accuracy"] == pytest.approx(2 / 3)
    assert scores["confusion_matrix"] == [[1, 0], [1, 1]]
    assert scores["per_genre"]["pop"] == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "tracks": 2}
    )


def test_no_correct_track_is_a_score_too():
    scores = score_genres(np.eye(3)[[1, 2, 0]], np.arange(3), np.arange(3), ["a", "b", "c"])
    assert scores["track_accuracy"] == 0
    assert [row["tracks"] for row in scores["per_genre"].values()] == [1, 1, 1]
    assert "a" in format_genre_table(scores | {"skipped": {}})


def test_a_genre_without_test_tracks_scores_zero():
    scores = score_genres(np.eye(3)[[0, 1]], np.array([0, 1]), np.array([0, 1]), ["a", "b", "c"])
    assert scores["per_genre"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "tracks": 0}
    assert np.shape(scores["confusion_matrix"]) == (3, 3)


def tagged_tracks(rng, count=40):
    """Labels, bool, and rounded probabilities (tracks, 3), the first tag the easiest."""
    labels = rng.random((count, 3)) < (0.5, 0.3, 0.1)
    labels[0], labels[1] = True, False
    values = labels * (0.8, 0.3, 0) + rng.random((count, 3))
    return labels, np.round(values / 2, 1)  # rounded: many are equal


def test_tags_are_scored_by_track_as_scikit_learn_does(rng):
    labels, probabilities = tagged_tracks(rng)
    owners = np.repeat(np.arange(40), 2)
    chunks = np.repeat(probabilities, 2, axis=0) + np.tile([[-0.02], [0.02]], (40, 1))
    scores = score_tags(chunks, labels[owners].astype(np.float32), owners, ["a", "b", "c"])
    assert json.loads(json.dumps(scores)) == scores
    for i, tag in enumerate("abc"):
        row = scores["per_tag"][tag]
        assert row["roc_auc"] == pytest.approx(roc_auc_score(labels[:, i], probabilities[:, i]))
        assert row["pr_auc"] == pytest.approx(
            average_precision_score(labels[:, i], probabilities[:, i])
        )
        assert row["tracks"] == labels[:, i].sum()
    aucs = [row["roc_auc"] for row in scores["per_tag"].values()]
    assert scores["roc_auc"] == pytest.approx(np.mean(aucs))
    assert scores["chunk_accuracy"] == ((chunks > 0.5) == labels[owners]).mean()
    assert scores["num_tracks"] == 40


def test_resampled_aucs_are_those_of_the_tracks_drawn(rng):
    labels, probabilities = (values[:, 1] for values in tagged_tracks(rng))
    times = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    for row, auc in zip(times, resampled_auc(labels, probabilities, times)):
        drawn = np.repeat(np.arange(40), row)
        assert auc == pytest.approx(roc_auc_score(labels[drawn], probabilities[drawn]))
    assert np.isnan(resampled_auc(labels, probabilities, 1 * labels[None]))  # all have it


def test_resampled_aucs_are_the_shares_of_pairs(rng):
    for seed in range(200):
        draw = np.random.default_rng(seed)
        count, distinct = draw.integers(2, 30), draw.integers(1, 12)
        labels = draw.random(count) < draw.random()
        probabilities = draw.integers(0, distinct, count) / distinct  # most are equal to others
        times = draw.multinomial(count, np.full(count, 1 / count), size=3)
        gap = probabilities[labels][:, None] - probabilities[~labels]
        wins = (gap > 0) + (gap == 0) / 2  # (tracks with the tag, tracks without)
        for row, auc in zip(times, resampled_auc(labels, probabilities, times)):
            pairs = np.outer(row[labels], row[~labels])
            expected = (pairs * wins).sum() / pairs.sum() if pairs.sum() else np.nan
            np.testing.assert_allclose(auc, expected, rtol=1e-14)


def test_the_interval_is_seeded_and_narrows_with_more_tracks(rng):
    few, many = (bootstrap_interval(*tagged_tracks(rng, count)) for count in (20, 500))
    assert many[1] - many[0] < few[1] - few[0]
    labels, probabilities = tagged_tracks(rng)
    low, high = bootstrap_interval(labels, probabilities)
    assert [low, high] == bootstrap_interval(labels, probabilities)
    aucs = [roc_auc_score(*columns) for columns in zip(labels.T, probabilities.T)]
    assert 0 <= low < np.mean(aucs) < high <= 1


def test_intervals_are_those_of_earlier_versions():
    labels, probabilities = tagged_tracks(np.random.default_rng(7), 300)
    expected = [0.6962446239964367, 0.7798916934832323]
    assert bootstrap_interval(labels, probabilities) == pytest.approx(expected, rel=1e-12)


def test_tags_that_cannot_be_scored_are_left_out():
    labels = np.array([[1.0, 0, 0], [1, 0, 1]])
    scores = score_tags(np.full((2, 3), 0.5), labels, np.arange(2), ["all", "none", "some"])
    assert scores["per_tag"] == {"some": {"roc_auc": 0.5, "pr_auc": 0.5, "tracks": 1}}
    assert scores["roc_auc"] == 0.5
    labels[0, 1], tags = 1, ["all", "none", "some"]
    scores = score_tags(
        np.full((2, 3), 0.5), labels, np.arange(2), tags, {"some": "no train track has it"}
    )
    assert list(scores["per_tag"]) == ["none"]
    labels[0, 1] = 0
    scores = score_tags(np.full((2, 2), 0.5), labels[:, :2], np.arange(2), ["all", "none"])
    assert (scores["roc_auc"], scores["roc_auc_interval"], scores["per_tag"]) == (None, None, {})


def test_predictions_of_tags_name_those_a_track_has():
    labels = np.array([[1.0, 0], [1, 0], [1, 1]])
    probabilities = np.array([[0.5, 0.25], [1.0, 0.25], [0.0, 0.5]])
    rows = list_tag_predictions(probabilities, labels, np.array([0, 0, 1]), ["x", "y"], ["a", "b"])
    assert rows == [
        {"track": "x", "tags": ["a"], "probabilities": {"a": 0.75, "b": 0.25}},
        {"track": "y", "tags": ["a", "b"], "probabilities": {"a": 0.0, "b": 0.5}},
    ]
