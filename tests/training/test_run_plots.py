"""The numbers behind the pictures of runs."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sample_reports import HISTORY

from training.plots import (
    ROW_COLOURS,
    class_word,
    find_least_confident,
    find_wrong,
    plot_confusion_matrix,
    plot_filter,
    plot_hardest,
    plot_learning_curves,
    plot_timeline,
    run_layout,
)


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def test_a_filter_of_one_bin_is_a_line():
    line = plot_filter(np.array([[1.0, -2.0, 0.5]]), 2).lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [1, -2, 0.5])
    assert plot_filter(np.ones((3, 3)), 2).images[0].get_clim() == (-2, 2)


def test_a_matrix_of_many_genres_or_long_names_has_a_row_of_the_page():
    for genres, row in (
        (["pop"] * 10, ["matrix", "hardest"]),
        ([*"abcdefghijk"], ["matrix", "matrix"]),
        (["a name of some length"], ["matrix", "matrix"]),
    ):
        numbered = {f"{genre}{i}": {} for i, genre in enumerate(genres)}
        assert row in run_layout([], {"per_genre": numbered})[0]


def test_the_most_confident_errors_come_first():
    rows = [("a", "x", "y", 0.6), ("b", "x", "x", 0.9), ("c", "y", "x", 0.8)]
    tracks = [
        {"track": t, "genre": g, "predicted": p, "probabilities": {p: share}}
        for t, g, p, share in rows
    ]
    assert find_wrong({"tracks": tracks}) == [
        ("c", "predicted x, is y", 0.8),
        ("a", "predicted y, is x", 0.6),
    ]
    tags = [{"track": "a", "tags": ["loud"], "probabilities": {"loud": 0.1, "slow": 0.7}}]
    assert find_wrong({"tracks": tags}) == [
        ("a", "predicted no loud", 0.9),
        ("a", "predicted slow", 0.7),
    ]


def right_report():
    rows = [("a", "x", 0.9), ("b", "y", 0.4)]
    return {
        "tracks": [
            {"track": t, "genre": g, "predicted": g, "probabilities": {g: p}} for t, g, p in rows
        ]
    }


def test_without_errors_the_least_confident_tracks_are_shown():
    assert find_wrong(right_report()) == []
    assert find_least_confident(right_report()) == [
        ("b", "predicted y", 0.4),
        ("a", "predicted x", 0.9),
    ]
    ax = plot_hardest(right_report())
    assert ax.get_title() == "No errors; the least confident predictions"
    assert [bar.get_width() for bar in ax.patches] == [0.4, 0.9]
    assert ax.texts[0].get_text() == "b\n40 %: predicted y"
    tags = [{"track": "a", "tags": ["loud"], "probabilities": {"loud": 0.9, "slow": 0.3}}]
    assert find_least_confident({"tracks": tags}) == [
        ("a", "predicted no slow", 0.7),
        ("a", "predicted loud", 0.9),
    ]


def test_a_curve_at_1_is_inside_the_frame():
    history = [row | {"train_acc": 1.0, "valid_acc": 0.0} for row in HISTORY]
    low, high = plot_learning_curves(history, 2).axes[1].get_ylim()
    assert low < 0 and high > 1


def test_classes_are_called_genres_if_all_are_genres_of_gtzan():
    assert class_word(["jazz", "rock"]) == "genre"
    assert class_word(["jazz", "violin"]) == "class"
    for names, word in ((["jazz", "rock"], "genre"), (["dog", "rain"], "class")):
        ax = plot_confusion_matrix(np.eye(2, dtype=int), names)
        assert (ax.get_xlabel(), ax.get_ylabel()) == (f"predicted {word}", f"true {word}")
        assert ax.figure.axes[1].get_ylabel() == f"share of the true {word}'s tracks"


@pytest.mark.parametrize(("classes", "shown", "axes"), [(9, "3\n100 %", 2), (10, "3", 1)])
def test_a_matrix_of_ten_classes_has_only_counts_and_no_colour_bar(classes, shown, axes):
    ax = plot_confusion_matrix(3 * np.eye(classes, dtype=int), [f"c{i}" for i in range(classes)])
    assert {text.get_text() for text in ax.texts} == {shown}
    assert len(ax.figure.axes) == axes


def strip_rows(ax):
    """The row of each chunk's winner; the number of colours means that it has no row."""
    return ax.collections[1].get_array().ravel().tolist()


def test_a_timeline_shows_the_top_rows_up_to_their_maximum_and_the_winner():
    probabilities = np.full((3, 12), 0.01)
    probabilities[0, 5], probabilities[1, 2], probabilities[2, 5] = 0.4, 0.3, 0.2
    classes = [f"c{i}" for i in range(12)]
    ax = plot_timeline(probabilities, np.array([0, 3, 6, 7]), classes, "song.wav")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:3] == ["most likely", "c5", "c2"] and len(names) == 1 + len(ROW_COLOURS)
    assert ax.get_title() == "song.wav (the top 8 of 12)"
    assert ax.collections[0].get_clim() == (0, 0.4)
    np.testing.assert_array_equal(ax.collections[0].get_array()[0], [0.4, 0.01, 0.2])
    assert strip_rows(ax) == [0, 1, 0]


def test_silent_chunks_stay_white():
    probabilities = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]])
    ax = plot_timeline(probabilities, np.arange(4.0), ["jazz", "pop"], "song.wav")
    assert ax.collections[0].get_array().mask.tolist() == [[False, True, False]] * 2
    assert strip_rows(ax) == [0, len(ROW_COLOURS) + 1, 1]
    assert ax.get_yticklabels()[0].get_text() == "most likely\n(white: silent)"
    assert ax.collections[1].get_cmap()(len(ROW_COLOURS) + 1) == (1, 1, 1, 1)


def test_a_winner_without_a_row_is_gray():
    probabilities = np.full((10, 10), 0.1)
    np.fill_diagonal(probabilities, np.linspace(0.9, 0.5, 10))  # each class wins once
    ax = plot_timeline(probabilities, np.arange(11.0), [*"abcdefghij"], "song.wav")
    assert strip_rows(ax) == [*range(8), 8, 8]
    assert ax.get_yticklabels()[0].get_text() == "most likely\n(gray: other)"
    assert ax.collections[1].get_cmap()(8) == (128 / 255, 128 / 255, 128 / 255, 1)
