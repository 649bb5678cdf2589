"""Temperature, calibration error and the threshold of unsure, on answers made by hand."""

import numpy as np
import pytest
import torch

from training.calibration import (
    BINS,
    BOUNDS,
    Chunks,
    assess,
    choose_threshold,
    error_by_chance,
    fit_decision,
    fit_temperature,
    reliability,
)
from training.metrics import average_by_track
from training.tasks import TASKS


def true_chunks(task, rng, factor=1.0, tracks=1000, chunks=2, classes=4):
    """Chunks whose labels are drawn from their track's probabilities; then logits are scaled."""
    logits = torch.from_numpy(rng.normal(0, 2, (tracks, classes))).float()
    shares = TASKS[task].probabilities(logits).numpy()
    draw = rng.random((tracks, 1))
    labels = (shares.cumsum(1) < draw).sum(1).clip(0, classes - 1)
    if task == "tagging":
        labels = (rng.random(shares.shape) < shares).astype(np.float32)
    owners = np.repeat(np.arange(tracks), chunks)
    return Chunks(factor * logits[owners], labels[owners], owners)


@pytest.mark.parametrize("task", ["genre", "tagging"])
@pytest.mark.parametrize("factor", [0.4, 1, 3])
def test_the_factor_on_true_logits_is_recovered(rng, task, factor):
    chunks = true_chunks(task, rng, factor)
    temperature = fit_temperature(chunks, TASKS[task])
    assert temperature == pytest.approx(factor, rel=0.1)
    found = assess(chunks, fit_decision(chunks, TASKS[task]), TASKS[task])
    assert found["tracks"] == 1000
    assert found["after"]["error"] < 0.05
    assert factor == 1 or found["before"]["error"] > 1.5 * found["after"]["error"]


@pytest.mark.parametrize("task", TASKS)
def test_a_temperature_changes_no_tracks_answer(rng, task):
    chunks = true_chunks(task, rng, tracks=300)
    chunks = chunks._replace(logits=chunks.logits + torch.randn(chunks.logits.shape))
    found = [chunks.by_track(t, TASKS[task]) for t in (*BOUNDS, 1)]
    assert all(np.isfinite(each).all() for each in found)
    answers = [each.argmax(1) if task == "genre" else each > 0.5 for each in found]
    assert (answers[1] == answers[2]).all()
    assert (answers[0] == answers[2]).all()
    mean = average_by_track(chunks.probabilities(TASKS[task])[0], chunks.tracks)
    np.testing.assert_allclose(found[2], mean, rtol=1e-6)


def test_a_small_split_without_errors_sharpens_a_little(rng):
    labels = np.array([0, 1, 2])
    for tracks in (3, 300):
        owners = np.arange(tracks)
        chunks = Chunks(3 * torch.eye(3)[owners % 3], labels[owners % 3], owners)
        temperature = fit_temperature(chunks, TASKS["genre"])
        low, high = (0.5, 1) if tracks == 3 else (0.3, 0.6)
        assert low < temperature < high, tracks
    wrong = chunks._replace(labels=(chunks.labels + 1) % 3)
    assert 10 < fit_temperature(wrong, TASKS["genre"]) <= BOUNDS[1]


def test_the_calibration_error_is_the_textbooks():
    confidence = np.array([0.95, 0.95, 0.65, 0.65, 0.62, 1.0])
    right = np.array([True, False, True, True, False, True])
    found = reliability(confidence, right)
    # the bins 9 (0.6 to 0.667) and 14 (0.933 to 1)
    assert found["error"] == pytest.approx((abs(1.92 - 2) + abs(2.9 - 2)) / 6)
    counts = np.zeros(BINS)
    counts[[9, 14]] = 3
    assert found["counts"] == counts.tolist()
    assert found["share"][9] == found["share"][14] == pytest.approx(2 / 3)
    assert found["confidence"][9] == pytest.approx(0.64)
    exact = reliability(np.full(4, 0.75), np.array([True, True, True, False]))
    assert exact["error"] == pytest.approx(0)


def test_few_answers_have_an_error_by_chance():
    # of one answer with a probability of 0.75 it is 0.25 or 0.75
    assert error_by_chance(np.array([0.75])) == pytest.approx(0.375, abs=0.04)
    few, many = (error_by_chance(np.linspace(0.2, 1, count)) for count in (32, 10_000))
    assert 0.17 < few < 0.23
    assert many < 0.02


@pytest.mark.parametrize(
    ("right", "threshold"),
    [
        ("1111111111", 0.0),  # all right: always answers
        ("1111111110", 0.0),  # 9 of 10 too
        ("1111111100", 0.2),  # 8 of 9 are fewer than 90 %: 8 of 8
        ("1111100000", 0.5),
        ("1101101000", 0.5),  # none reaches 90 %: 4 of 5 is the largest share of five or more
        ("0000000000", 0.0),  # none is better than another
        ("0111", 0.0),  # fewer than five tracks
    ],
)
def test_the_threshold_is_the_smallest_with_enough_right(right, threshold):
    right = np.array([letter == "1" for letter in right])
    confidence = np.arange(len(right), 0, -1) / 10 - 0.05
    shuffled = np.random.default_rng(1).permutation(len(right))
    found = choose_threshold(confidence[shuffled], right[shuffled])
    assert found == pytest.approx(threshold)


def test_equal_confidences_are_answered_together():
    confidence = np.array([0.9, 0.9, 0.9, 0.6, 0.6, 0.6, 0.3, 0.3])
    right = np.array([True] * 4 + [False] * 4)  # 4 of 6 are the best of five or more
    assert choose_threshold(confidence, right) == pytest.approx(0.45)
