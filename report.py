"""The report of a test: text, `report.json`, and pictures of the run."""

import json
import warnings

import matplotlib

matplotlib.use("Agg")  # pictures go to files: no display is needed
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.ticker import MaxNLocator, MultipleLocator

from manifest import write_atomic, write_text

HANGUL_FONTS = {"Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic", "Noto Sans CJK KR"}
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 1e9)  # seconds between them


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
    if sum(report["skipped"].values()):
        lost = ", ".join(f"{split} {count}" for split, count in report["skipped"].items())
        lines += ["", f"Tracks left out as broken: {lost}"]
    lines += ["", "Confusion matrix (tracks; row: true genre, column: number of the predicted)"]
    lines.append(" " * width + "".join(f"{i:5d}" for i in range(1, len(numbered) + 1)))
    for genre, row in zip(numbered, report["confusion_matrix"]):
        lines.append(f"{genre:{width}}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join(lines)


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
    text = f"{format_result(report)}\n\n{format_report(report)}\n"
    write_text(folder / "report.txt", text)
    write_text(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    matrix, genres = np.array(report["confusion_matrix"]), list(report["per_genre"])
    save_picture(folder / "confusion_matrix.png", plot_confusion_matrix, matrix, genres)
    if history:
        best = report["best_epoch"]
        save_picture(folder / "learning_curves.png", plot_learning_curves, history, best)
    return text


def save_picture(path, plot, *data):
    """Write the picture that `plot(*data)` draws."""
    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans", *sorted(HANGUL_FONTS & installed)]
    style = {"font.family": fonts, "text.parse_math": False}  # a $ in a name is a $
    with plt.rc_context(style), warnings.catch_warnings(record=True) as caught:
        figure = plot(*data)
        write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))
        plt.close(figure)
    if any("missing from font" in str(warning.message) for warning in caught):
        print(f"{path.name}: no font here has all letters of it; Noto Sans CJK has, for one")


def plot_confusion_matrix(matrix, genres):
    """A figure of a confusion matrix (classes, classes): counts over shares of the true genre."""
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    size = max(5, 0.62 * len(genres) + 2)
    figure, ax = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            color = "black" if share[row, column] > 0.5 else "white"
            ax.text(column, row, matrix[row, column], ha="center", va="center", color=color)
    ax.set_xticks(range(len(genres)), genres, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(genres)), genres)
    accuracy = np.trace(matrix) / matrix.sum()
    ax.set(xlabel="predicted genre", ylabel="true genre")
    ax.set_title(f"Test tracks: {np.trace(matrix)} of {matrix.sum()} right ({accuracy:.1%})")
    figure.colorbar(image, label="share of the true genre's tracks", shrink=0.8)
    return figure


def plot_learning_curves(history, best):
    """A figure of loss and accuracy by epoch, from rows of `history.csv`; `best` is marked."""
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 20 else None
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, key, label in zip(axes, ("loss", "acc"), ("loss (nats)", "chunk accuracy")):
        for split, style in (("train", "-"), ("valid", "--")):
            values = [row[f"{split}_{key}"] for row in history]
            ax.plot(epochs, values, style, marker=marker, label=split)
        ax.axvline(best, color="gray", linewidth=0.8, label=f"tested (epoch {best})")
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.legend()
    axes[1].set_ylim(0, 1)
    return figure


def plot_timeline(probabilities, times, genres, title):
    """A figure of chunks' probabilities (chunks, classes); `times` (chunks + 1,) are in seconds."""
    size = max(2.5, 0.35 * len(genres) + 1.5)
    figure, ax = plt.subplots(figsize=(10, size), layout="constrained")
    mesh = ax.pcolormesh(times, np.arange(len(genres) + 1), probabilities.T, vmin=0, vmax=1)
    mesh.set_cmap("cividis")
    ax.set_yticks(np.arange(len(genres)) + 0.5, genres)
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MultipleLocator(next(s for s in TICKS if times[-1] <= 10 * s)))
    ax.xaxis.set_major_formatter(lambda t, _: f"{int(t // 60)}:{int(t % 60):02d}")
    ax.set(xlabel="time (minutes:seconds)", title=title)
    figure.colorbar(mesh, label="probability")
    return figure
