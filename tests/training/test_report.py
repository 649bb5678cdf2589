import matplotlib.image
import numpy as np
from matplotlib import pyplot as plt
from sample_reports import HISTORY, some_report, tag_report

from support.files import read_json
from training.calibration import reliability
from training.plots import (
    plot_confusion_matrix,
    plot_learning_curves,
    plot_reliability,
    plot_tag_scores,
)
from training.report import delete_report, write_report
from training.tasks import format_genre_table


def test_text_shows_every_genre_and_count():
    lines = format_genre_table(some_report()).splitlines()
    assert lines[1].split() == ["1", "$classical$", "1.00", "1.00", "1.00", "1"]
    assert lines[3].split() == ["3", "pop", "1.00", "0.50", "0.67", "2"]
    assert lines[-1].split() == ["3", "pop", ".", "1", "1"]
    assert max(map(len, lines)) < 80


def test_files_are_written_whole(tmp_path, recwarn):
    write_report(tmp_path, some_report(), HISTORY)
    assert not recwarn.list
    report = read_json(tmp_path / "report.json")
    assert report["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    for name in ("confusion_matrix.png", "learning_curves.png"):
        picture = matplotlib.image.imread(tmp_path / name)
        assert picture.shape[0] > 300
        assert picture[..., :3].std() > 0.05  # something is drawn
    text = (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert text.startswith(
        "Test Accuracy: 75.00%\nTest Track Accuracy: 75.00% (95% interval 30.06%"
    )
    assert format_genre_table(some_report()) in text
    assert len(list(tmp_path.iterdir())) == 4


def calibrated_report(tracks=16):
    """A report of a run that is unsure; half of its test tracks are right."""
    right = np.arange(tracks) % 2 == 0
    bins = {
        "before": reliability(np.full(tracks, 0.9), right),
        "after": reliability(np.full(tracks, 0.6), right),
    }
    counts = {"tracks": tracks, "by_chance": 0.095, "answered": 10, "answered_right": 9}
    splits = {"valid": bins | counts, "test": bins | counts | {"answered": 0, "answered_right": 0}}
    decision = {"temperature": 2.5, "min_confidence": 0.55}
    return some_report() | {"decision": decision, "calibration": splits}


def test_the_report_says_how_far_to_trust_it(tmp_path):
    text = write_report(tmp_path, calibrated_report())
    error = "expected calibration error 10.0%, without the temperature 40.0%"
    error += "; perfect calibration would give 9.5% on 16 tracks"
    assert text.endswith(
        "\n\nProbabilities, with a temperature of 2.50, fitted on valid\n"
        f"  valid: {error}\n  test: {error}\n\nUnsure below a probability of 55.0%\n"
        "  valid: answers 10 of 16, 9 right (90.0%)\n  test: answers 0 of 16, 0 right\n"
    )
    assert matplotlib.image.imread(tmp_path / "reliability.png")[..., :3].std() > 0.05
    delete_report(tmp_path)
    assert not list(tmp_path.iterdir())
    report = calibrated_report(14)
    report["decision"] = {"temperature": 19.99, "min_confidence": 0.0}
    report["calibration"]["valid"]["answered_right"] = 8
    text = write_report(tmp_path, report)
    assert "a temperature of 19.99, its bound, fitted" in text
    assert "\nNever unsure (no threshold makes 90% of the answers on valid right)\n" in text
    assert not (tmp_path / "reliability.png").exists(), "14 tracks are too few for 15 bins"


def test_bars_show_the_share_of_right_answers_and_their_number():
    ax = plot_reliability(calibrated_report())
    heights = {int(bar.get_x() * 15): bar.get_height() for bar in ax.patches if bar.get_height()}
    assert heights == {13: 0.5, 9: 0.5}, "0.9 and 0.6 are in the bins 13 and 9"
    assert [text.get_text() for text in ax.texts] == ["16", "16"]
    labels = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert labels[1:] == [
        "temperature 1: calibration error 40.0 %",
        "temperature 2.50: calibration error 10.0 %",
    ]
    plt.close(ax.figure)


def test_confusion_matrix_shows_the_counts_and_their_shares():
    ax = plot_confusion_matrix(np.array([[3, 1], [0, 4]]), ["a", "b"])
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {(0, 0): "3\n75 %", (1, 0): "1\n25 %", (1, 1): "4\n100 %"}  # (predicted, true)
    assert "7 of 8" in ax.get_title()
    plt.close(ax.figure)


def test_learning_curves_hold_the_history_and_mark_the_best():
    figure = plot_learning_curves(HISTORY, 2)
    loss = figure.axes[0]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [2, 1, 2 / 3])
    assert "epoch 2" in loss.get_legend().get_texts()[-1].get_text()
    plt.close(figure)


def test_a_report_of_tags_is_written_whole(tmp_path):
    text = write_report(tmp_path, tag_report(), HISTORY)
    assert text.startswith(
        "Test ROC-AUC: 0.7667 (mean of 3 tags, 95% interval 0.6000 to 0.9000; 4 tracks, weights of "
        "epoch 2)\nTest PR-AUC: 0.5667\n\n"
    )
    lines = text.splitlines()
    assert lines[4].split() == ["mood:$sad$", "0.90", "0.50", "3"]
    assert "Tracks left out as broken: train 0, valid 2, test 0" in lines
    assert lines[-1] == "Left out of valid: loud (no track has it)"
    assert read_json(tmp_path / "report.json") == tag_report()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.txt", "report.json", "tag_scores.png", "learning_curves.png"}
    assert matplotlib.image.imread(tmp_path / "tag_scores.png")[..., :3].std() > 0.05


def test_bars_of_tags_are_sorted_and_stand_beside_chance():
    figure = plot_tag_scores(tag_report())
    roc, pr = figure.axes
    assert [label.get_text() for label in roc.get_yticklabels()][::-1] == [
        *("loud (2)", "mood:$sad$ (3)", "느린 (1)"),
    ]
    assert [bar.get_width() for bar in pr.patches] == [0.2, 0.5, 1.0]
    np.testing.assert_array_equal(roc.lines[0].get_xdata(), [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(pr.lines[0].get_xdata(), [0.25, 0.75, 0.5])
    assert "PR-AUC" in pr.get_xlabel() and "tag" in roc.get_ylabel()
    plt.close(figure)
