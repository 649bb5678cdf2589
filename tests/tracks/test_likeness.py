"""Which tracks are unlike those of a train split."""

import numpy as np
import pytest

from tracks.likeness import FEWEST, distance, find_spread, level


def test_the_level_is_mean_and_deviation(rng):
    x = rng.normal(3, 2, (40, 16))
    made = level(x.sum(), np.square(x).sum(), x.size)
    np.testing.assert_allclose(made, [x.mean(), x.std()])
    assert level(9.0, 27.0, 3).tolist() == [3, 0]


def test_one_in_a_hundred_train_tracks_is_beyond_the_limit(rng):
    levels = rng.normal([1, 5], [0.1, 2], (1000, 2))
    spread = find_spread(levels)
    assert (distance(levels, spread) > spread["limit"]).sum() == 10
    np.testing.assert_allclose(spread["median"], [1, 5], atol=0.2)
    np.testing.assert_allclose(spread["scale"], [0.0674, 1.349], rtol=0.1)  # quartiles of a normal
    far = np.array([[1.6, 5], [1, 20], [1.1, 6]])
    assert (distance(far, spread) > spread["limit"]).tolist() == [True, True, False]


def test_a_few_tracks_say_nothing_and_equal_ones_only_along_the_other_axis():
    assert find_spread(np.zeros((FEWEST - 1, 2))) is None
    levels = np.array([[1.0, 2 + 0.01 * i] for i in range(FEWEST)])
    spread = find_spread(levels)
    assert distance(np.array([9.0, 2.1]), spread) < spread["limit"]
    assert distance(np.array([1.0, 4.0]), spread) > spread["limit"]
    assert distance(np.array([5.0, 5.0]), find_spread(np.ones((FEWEST, 2)))) == pytest.approx(0)
