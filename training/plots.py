"""Pictures of runs: curves, confusion matrix, scores of tags, timelines."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, MultipleLocator

from support.canvas import BLUE, ORANGE, RED, new_axes

TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 1e9)  # seconds between them


def plot_confusion_matrix(matrix, genres, ax=None):
    """A confusion matrix (classes, classes): counts of tracks, and shares of the true genre."""
    size = matrix_inches(len(genres))
    ax = new_axes(ax, figsize=(size + 0.8, size))
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
    style = {"ha": "center", "va": "center", "fontsize": 9, "linespacing": 1.1}
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            color = "black" if share[row, column] > 0.5 else "white"
            shown = f"{matrix[row, column]}\n{100 * share[row, column]:.0f} %"
            ax.text(column, row, shown, color=color, **style)
    ax.set_xticks(range(len(genres)), genres, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(genres)), genres)
    accuracy = np.trace(matrix) / matrix.sum()
    ax.set(xlabel="predicted genre", ylabel="true genre")
    ax.set_title(f"Test tracks: {np.trace(matrix)} of {matrix.sum()} right ({accuracy:.1%})")
    ax.figure.colorbar(image, ax=ax, label="share of the true genre's tracks", shrink=0.8)
    return ax


def matrix_inches(genres):
    """The height of a confusion matrix of so many genres: each has room for its two numbers."""
    return max(5, 0.62 * genres + 2)


def plot_tag_scores(report, axes=None):
    """Each tag's ROC-AUC and PR-AUC, the best on top, beside what chance gives, in two `axes`.

    Or in a figure of their own; returns the figure.
    """
    rows = sorted(report["per_tag"].items(), key=lambda item: item[1]["roc_auc"])
    tags, scores = zip(*rows)
    shares = [row["tracks"] / report["num_tracks"] for row in scores]
    if axes is None:
        size = (10, tag_inches(len(tags)))
        axes = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")[1]
    for ax, key, name, chance in zip(
        axes, ("roc_auc", "pr_auc"), ("ROC-AUC", "PR-AUC"), ([0.5] * len(tags), shares)
    ):
        ax.barh(range(len(tags)), [row[key] for row in scores], color=BLUE, height=0.7)
        ax.plot(chance, range(len(tags)), "D", color=ORANGE, markeredgecolor="black", ms=5)
        ax.set(xlabel=f"{name} (diamond: by chance)", xlim=(0, 1), ylim=(-0.6, len(tags) - 0.4))
        ax.set_title(f"mean of {len(tags)} tags: {report[key]:.3f}")
        ax.grid(axis="x", alpha=0.3)
    labels = [f"{tag} ({row['tracks']})" for tag, row in rows]
    axes[0].set_yticks(range(len(tags)), labels)
    axes[0].set_ylabel(f"tag (how many of {report['num_tracks']} test tracks have it)")
    return axes[0].figure


def tag_inches(tags):
    """The height of a picture of so many tags: of more than a thousand, none is legible."""
    return min(400, 0.24 * tags + 1.6)


def plot_learning_curves(history, best, accuracy="chunk accuracy", axes=None):
    """Loss and accuracy by epoch, from rows of `history.csv`, in two `axes`; `best` is marked.

    Or in a figure of their own; returns the figure.
    """
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 20 else None
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
    for ax, key, label in zip(axes, ("loss", "acc"), ("loss (nats)", accuracy)):
        for split, style, color in (("train", "-", BLUE), ("valid", "--", RED)):
            values = [row[f"{split}_{key}"] for row in history]
            ax.plot(epochs, values, style, marker=marker, label=split, color=color)
        ax.axvline(best, color="gray", linewidth=0.8, label=f"tested (epoch {best})")
        ax.set(xlabel="epoch", ylabel=label, xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(alpha=0.3)
        ax.legend()
    axes[1].set_ylim(0, 1)
    return axes[0].figure


def find_wrong(report, most=10):
    """The wrong predictions of a report's tracks, the surest first, at most so many.

    A list of (track, what was said of it, probability of that). Of tags each is a prediction.
    """
    found = []
    for row in report["tracks"]:
        shares = row["probabilities"]
        if "genre" in row and row["predicted"] != row["genre"]:
            said = f"said {row['predicted']}, is {row['genre']}"
            found.append((row["track"], said, shares[row["predicted"]]))
        for tag in shares if "tags" in row else ():
            has = tag in row["tags"]
            if has != (shares[tag] > 0.5):
                sure = 1 - shares[tag] if has else shares[tag]
                found.append((row["track"], f"said {'no ' * has}{tag}", sure))
    return sorted(found, key=lambda row: -row[2])[:most]


def plot_wrong(wrong, ax=None):
    """What `find_wrong` gives: a bar of probability each, below the track and what was said."""
    ax = new_axes(ax, figsize=(6, 5))
    for row, (track, said, share) in enumerate(wrong):
        ax.barh(row, share, height=0.25, color=RED)
        words = f"{shorten(track)}\n{100 * share:.0f} %: {shorten(said)}"
        ax.text(0.01, row - 0.16, words, va="bottom", fontsize=9, linespacing=1.1, clip_on=True)
    ax.set(xlim=(0, 1), ylim=(max(5, len(wrong)) - 0.6, -0.9), yticks=[], xlabel="probability")
    ax.set_title("Most confidently wrong" if wrong else "Nothing was wrong")
    return ax


def shorten(text, most=50):
    """Words without their middle, where they are longer than so many letters."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 + 5 :]}"


def plot_timeline(probabilities, times, genres, title, ax=None):
    """Probabilities of chunks (chunks, classes) over time; `times` (chunks + 1,) are in seconds."""
    ax = new_axes(ax, figsize=(10, max(2.5, 0.35 * len(genres) + 1.5)))
    mesh = ax.pcolormesh(times, np.arange(len(genres) + 1), probabilities.T, vmin=0, vmax=1)
    mesh.set_cmap("cividis")
    ax.set_yticks(np.arange(len(genres)) + 0.5, genres)
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MultipleLocator(next(s for s in TICKS if times[-1] <= 10 * s)))
    ax.xaxis.set_major_formatter(lambda t, _: f"{int(t // 60)}:{int(t % 60):02d}")
    ax.set(xlabel="time (minutes:seconds)", title=title)
    ax.figure.colorbar(mesh, ax=ax, label="probability")
    return ax
