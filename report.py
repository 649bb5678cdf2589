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


def plot_tag_scores(report):
    """A figure of each tag's ROC-AUC and PR-AUC, the best on top, beside what chance gives."""
    rows = sorted(report["per_tag"].items(), key=lambda item: item[1]["roc_auc"])
    tags, scores = zip(*rows)
    shares = [row["tracks"] / report["num_tracks"] for row in scores]
    size = min(400, 0.24 * len(tags) + 1.6)  # of more than a thousand tags no picture is legible
    figure, axes = plt.subplots(1, 2, figsize=(10, size), sharey=True, layout="constrained")
    for ax, key, name, chance in zip(
        axes, ("roc_auc", "pr_auc"), ("ROC-AUC", "PR-AUC"), ([0.5] * len(tags), shares)
    ):
        ax.barh(range(len(tags)), [row[key] for row in scores], color="#0072B2", height=0.7)
        ax.plot(chance, range(len(tags)), "D", color="#E69F00", markeredgecolor="black", ms=5)
        ax.set(xlabel=f"{name} (diamond: by chance)", xlim=(0, 1), ylim=(-0.6, len(tags) - 0.4))
        ax.set_title(f"mean of {len(tags)} tags: {report[key]:.3f}")
        ax.grid(axis="x", alpha=0.3)
    labels = [f"{tag} ({row['tracks']})" for tag, row in rows]
    axes[0].set_yticks(range(len(tags)), labels)
    axes[0].set_ylabel(f"tag (how many of {report['num_tracks']} test tracks have it)")
    return figure


def plot_learning_curves(history, best, accuracy="chunk accuracy"):
    """A figure of loss and accuracy by epoch, from rows of `history.csv`; `best` is marked."""
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 20 else None
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, key, label in zip(axes, ("loss", "acc"), ("loss (nats)", accuracy)):
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
