"""The report of a test: text, `report.json`, and pictures of the run."""

import json

import numpy as np

from support.canvas import save_picture
from support.files import write_text
from training.plots import plot_confusion_matrix, plot_learning_curves, plot_tag_scores


def format_report(report):
    """Precision, recall and F1 of each genre, and the confusion matrix, as text."""
    numbered = [f"{i:2d} {genre}" for i, genre in enumerate(report["per_genre"], start=1)]
    width = max(map(len, numbered))
    lines = [f"{'   genre':{width}}  precision  recall    f1  tracks"]
    for genre, row in zip(numbered, report["per_genre"].values()):
        lines.append(
            f"{genre:{width}}  {row['precision']:9.2f}  {row['recall']:6.2f}  {row['f1']:4.2f}"
            f"  {row['tracks']:6d}"
        )
    lines += skipped_lines(report)
    lines += ["", "Confusion matrix (tracks; row: true genre, column: number of the predicted)"]
    lines.append(" " * width + "".join(f"{i:5d}" for i in range(1, len(numbered) + 1)))
    for genre, row in zip(numbered, report["confusion_matrix"]):
        lines.append(f"{genre:{width}}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join(lines)


def skipped_lines(report):
    """What the text says of broken tracks: lines, none where none was left out."""
    if not sum(report["skipped"].values()):
        return []
    lost = ", ".join(f"{split} {count}" for split, count in report["skipped"].items())
    return ["", f"Tracks left out as broken: {lost}"]


def format_tag_report(report):
    """ROC-AUC, PR-AUC and number of tracks of each tag, and those left out of splits, as text."""
    width = max(map(len, ["tag", *report["per_tag"]]))
    lines = [f"{'tag':{width}}  ROC-AUC  PR-AUC  tracks"]
    for tag, row in report["per_tag"].items():
        scores = f"{row['roc_auc']:7.2f}  {row['pr_auc']:6.2f}  {row['tracks']:6d}"
        lines.append(f"{tag:{width}}  {scores}")
    lines += skipped_lines(report)
    for split, found in report["left_out"].items():
        if found:
            shown = ", ".join(f"{tag} ({why})" for tag, why in found.items())
            lines += ["", f"Left out of {split}: {shown}"]
    return "\n".join(lines)


def format_tag_result(report):
    """The mean ROC-AUC of the tags with its 95 % interval, and the mean PR-AUC."""
    low, high = report["roc_auc_interval"]
    return (
        f"Test ROC-AUC: {report['roc_auc']:.4f} (mean of {len(report['per_tag'])} tags, 95% "
        f"interval {low:.4f} to {high:.4f}; {report['num_tracks']} tracks, "
        f"weights of epoch {report['best_epoch']})\n"
        f"Test PR-AUC: {report['pr_auc']:.4f}"
    )


def format_result(report):
    """The tutorial's last line, and below it the score by track with its 95 % interval.

    A report without `chunk_accuracy` is of a classifier that sees whole tracks.
    """
    low, high = report["track_interval"]
    by_chunk, tested = "", report.get("classifier")
    if "chunk_accuracy" in report:
        by_chunk = f"Test Accuracy: {100 * report['chunk_accuracy']:.2f}%\n"
        tested = f"weights of epoch {report['best_epoch']}"
    return (
        f"{by_chunk}Test Track Accuracy: {100 * report['track_accuracy']:.2f}% "
        f"(95% interval {100 * low:.2f}% to {100 * high:.2f}%; "
        f"{report['correct_tracks']} of {report['num_tracks']} tracks, "
        f"{tested})"
    )


def write_report(folder, report, history=None):
    """Write the report as text and as JSON, and its pictures, into a run folder; returns the text.

    `history` has the rows of `history.csv`, where training went by epochs.
    """
    tagging = "per_tag" in report
    formats = (format_tag_result, format_tag_report) if tagging else (format_result, format_report)
    text = "\n\n".join(part(report) for part in formats) + "\n"
    write_text(folder / "report.txt", text)
    write_text(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    if tagging:
        save_picture(folder / "tag_scores.png", plot_tag_scores, report)
    else:
        matrix, genres = np.array(report["confusion_matrix"]), list(report["per_genre"])
        save_picture(folder / "confusion_matrix.png", plot_confusion_matrix, matrix, genres)
    if history:
        label = "share of tags right, by chunk" if tagging else "chunk accuracy"
        curves = history, report["best_epoch"], label
        save_picture(folder / "learning_curves.png", plot_learning_curves, *curves)
    return text
