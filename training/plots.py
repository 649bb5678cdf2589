"""Pictures of runs: learning curves, confusion matrix, scores of tags, timelines, filters."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from audio.plots import bin_hz
from hparams import HParams
from support import canvas
from support.errors import visible

Report = dict[str, Any]  # the content of `report.json`
History = list[dict[str, Any]]  # the rows of `history.csv`, one per epoch

TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 1e9)  # seconds between ticks
GTZAN_GENRES = {"blues", "classical", "country", "disco", "hiphop"}
GTZAN_GENRES |= {"jazz", "metal", "pop", "reggae", "rock"}
MANY_CLASSES = 10  # from this number on, cells of a confusion matrix have no room for a percentage
LONGEST_NAME = 14  # letters: with longer class names a matrix does not fit into half a page
ROW_COLOURS = (  # of a timeline
    *(canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.RED, canvas.SKY, canvas.PINK),
    *(canvas.YELLOW, "black"),
)


def class_word(classes: Iterable[str]) -> str:
    """The word for a class: "genre" if all are genres of GTZAN, else "class" (dog, violin ...)."""
    return "genre" if set(classes) <= GTZAN_GENRES else "class"


def matrix_inches(classes: int) -> float:
    """The height of a confusion matrix whose cells have room for their numbers."""
    return max(5, 0.62 * classes + 2) if classes < MANY_CLASSES else 0.4 * classes + 2.5


def plot_confusion_matrix(matrix: NDArray, classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix, with counts in its cells and shares of the true class in colour.

    Fewer than ten classes have percentages too, and a colour bar.

    Parameters
    ----------
    matrix
        Counts of tracks (classes, classes), int; rows are true classes.
    classes, ax
        Names of the classes; axes to draw into, by default those of a new figure.

    Returns
    -------
    Axes
        Predicted classes to the right, true classes downwards.

    Examples
    --------
    >>> plot_confusion_matrix(np.array([[3, 1], [0, 4]]), ["jazz", "rock"]).get_title()
    'Test tracks: 7 of 8 right (87.5%)'
    """
    few, word = len(classes) < MANY_CLASSES, class_word(classes)
    size = matrix_inches(len(classes))
    ax = canvas.new_axes(ax, figsize=(size + 0.8 * few, size))
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    image = ax.imshow(share, cmap=canvas.SHARE_MAP, vmin=0, vmax=1)
    style: canvas.Options = {"ha": "center", "va": "center", "fontsize": canvas.TINY}
    for row, column in np.argwhere(matrix):
        text = f"{matrix[row, column]}" + (f"\n{100 * share[row, column]:.0f} %" if few else "")
        color = "black" if share[row, column] > 0.5 else "white"
        ax.text(column, row, text, color=color, linespacing=1.1, **style)
    ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(classes)), classes)
    right, tracks = np.trace(matrix), matrix.sum()
    ax.set(xlabel=f"predicted {word}", ylabel=f"true {word}")
    ax.set_title(f"Test tracks: {right} of {tracks} right ({right / tracks:.1%})")
    if few:
        ax.figure.colorbar(image, ax=ax, label=f"share of the true {word}'s tracks", shrink=0.8)
    return ax


def plot_tag_scores(report: Report, axes: Sequence[Axes] | None = None) -> FigureBase:
    """Draw each tag's ROC-AUC and PR-AUC, best on top, with the scores of chance.

    Draws into two `axes`, or into a new figure; returns the figure.
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
        ax.barh(range(len(tags)), [row[key] for row in scores], color=canvas.BLUE, height=0.7)
        ax.plot(chance, range(len(tags)), "D", color=canvas.ORANGE, markeredgecolor="black", ms=5)
        ax.set(xlabel=f"{name} (diamond: chance)", xlim=(0, 1), ylim=(-0.6, len(tags) - 0.4))
        ax.set_title(f"mean of {len(tags)} tags: {report[key]:.3f}")
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(tags)), [f"{tag} ({row['tracks']})" for tag, row in rows])
    axes[0].set_ylabel(f"tag (how many of {report['num_tracks']} test tracks have it)")
    return axes[0].figure


def tag_inches(tags: int) -> float:
    """The height of a picture of tags, at most 400 inches: a larger one is not legible."""
    return min(400, 0.24 * tags + 1.6)


def plot_learning_curves(
    history: History,
    best: int,
    accuracy: str = "chunk accuracy",
    axes: Sequence[Axes] | None = None,
) -> FigureBase:
    """Draw loss (nats) and accuracy on the train and valid split by epoch.

    Parameters
    ----------
    history
        Rows of `history.csv`: dicts with epoch, train_loss, train_acc, valid_loss, valid_acc.
    best
        The epoch to mark, whose weights were tested.
    accuracy, axes
        Label of the accuracy axis; two axes to draw into, by default those of a new figure.

    Returns
    -------
    FigureBase

    Examples
    --------
    >>> row = {"epoch": 1, "train_loss": 2, "train_acc": 0.2, "valid_loss": 2, "valid_acc": 0.1}
    >>> len(plot_learning_curves([row], best=1).axes)
    2
    """
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 20 else None
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
    for ax, key, label in zip(axes, ("loss", "acc"), ("loss (nats)", accuracy)):
        for split, style, color in (("train", "-", canvas.BLUE), ("valid", "--", canvas.RED)):
            values = [row[f"{split}_{key}"] for row in history]
            ax.plot(epochs, values, style, marker=marker, label=split, color=color)
        ax.axvline(best, color="gray", linewidth=0.8, label=f"tested (epoch {best})")
        ax.set(xlabel="epoch", ylabel=label, xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(alpha=0.3)
        ax.legend()
    axes[1].set_ylim(-0.03, 1.03)  # the frame must not hide a curve at 0 or 1
    return axes[0].figure


def plot_reliability(report: Report, ax: Axes | None = None) -> Axes:
    """Draw how often answers on the test split are right, by probability; return the axes.

    Each bin has a bar without the temperature and one with it; the numbers on top count answers.
    """
    split, temperature = report["calibration"]["test"], report["decision"]["temperature"]
    ax = canvas.new_axes(ax, figsize=(10, 5))
    bins = len(split["after"]["counts"])
    for when, name, color, place, height in (
        ("before", "temperature 1", canvas.RED, 0.3, 1.11),
        ("after", f"temperature {temperature:.2f}", canvas.BLUE, 0.7, 1.03),
    ):
        found, middles = split[when], (np.arange(bins) + place) / bins
        label = f"{name}: calibration error {100 * found['error']:.1f} %"
        ax.bar(middles, found["share"], 0.4 / bins, color=color, label=label)
        for index in np.flatnonzero(found["counts"]):
            middle, count = (index + 0.5) / bins, found["counts"][index]
            ax.text(middle, height, count, color=color, ha="center", fontsize=canvas.TINY)
    ax.plot([0, 1], [0, 1], "--", color="black", label="exact probabilities")
    ax.set(xlim=(0, 1), ylim=(0, 1.2), yticks=np.arange(6) / 5)
    ax.set(xlabel="probability of the answer", ylabel="share of answers that are right")
    ax.set_title(f"{split['tracks']} test tracks (numbers: answers)")
    ax.figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return ax


class Decision(NamedTuple):
    """A model's decision about a track, and the probability that it gave to the decision."""

    track: str
    text: str
    probability: float


def list_decisions(report: Report, right: bool) -> list[Decision]:
    """List the right or wrong decisions in a report: one per track, or per track and tag."""
    found = []
    for row in report["tracks"]:
        shares = row["probabilities"]
        if "genre" in row and (row["predicted"] == row["genre"]) is right:
            text = f"predicted {row['predicted']}" + ("" if right else f", is {row['genre']}")
            found.append(Decision(row["track"], text, shares[row["predicted"]]))
        for tag, share in shares.items() if "tags" in row else ():
            yes = share > 0.5
            if (yes == (tag in row["tags"])) is right:
                text = f"predicted {'' if yes else 'no '}{tag}"
                found.append(Decision(row["track"], text, share if yes else 1 - share))
    return found


def find_wrong(report: Report, most: int = 10) -> list[Decision]:
    """The wrong decisions in a report, the most confident first."""
    return sorted(list_decisions(report, False), key=lambda row: -row.probability)[:most]


def find_least_confident(report: Report, most: int = 10) -> list[Decision]:
    """The right decisions in a report, the least confident first."""
    return sorted(list_decisions(report, True), key=lambda row: row.probability)[:most]


def plot_hardest(report: Report, ax: Axes | None = None) -> Axes:
    """Draw the most confident errors in a report; if there are none, the least confident decisions.

    Each is a bar of probability below the track's name and the decision.
    """
    wrong = find_wrong(report)
    rows = wrong or find_least_confident(report)
    ax = canvas.new_axes(ax, figsize=(6, 5))
    for row, (track, text, share) in enumerate(rows):
        ax.barh(row, share, height=0.25, color=canvas.RED if wrong else canvas.BLUE)
        names = visible(shorten(track)), visible(shorten(text))
        words = f"{names[0]}\n{100 * share:.0f} %: {names[1]}"
        style: canvas.Options = {"fontsize": canvas.TINY, "linespacing": 1.1, "clip_on": True}
        ax.text(0.01, row - 0.16, words, va="bottom", **style)
    ax.set(xlim=(0, 1), ylim=(max(5, len(rows)) - 0.6, -0.9), yticks=[], xlabel="probability")
    ax.set_title("Most confident errors" if wrong else "No errors; the least confident predictions")
    return ax


def shorten(text: str, most: int = 50) -> str:
    """Replace the middle of a text with dots if it is longer than `most` letters."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 + 5 :]}"


def plot_timeline(
    probabilities: NDArray,
    times: NDArray,
    classes: Sequence[str],
    title: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw how the probabilities within a track change, and which class is the most likely one.

    Draws the eight classes with the largest maxima. Colours reach up to the largest probability.
    The strip on top has the colour of the winner, gray for a class that is not drawn. Silent chunks
    stay white.

    Parameters
    ----------
    probabilities, times
        Probabilities of the chunks (chunks, classes), NaN for silence; seconds at which the chunks
        start, and at which the last one ends (chunks + 1,).
    classes, title, ax
        Names of the classes or tags; title; axes to draw into, by default those of a new figure.

    Returns
    -------
    Axes
        Time to the right, classes downwards.

    Examples
    --------
    >>> ax = plot_timeline(np.eye(2), np.array([0, 3, 6]), ["jazz", "rock"], "song.wav")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['most likely', 'jazz', 'rock']
    """
    silent, heard = np.isnan(probabilities).any(1), np.nan_to_num(probabilities)
    shown = np.argsort(-heard.max(axis=0), kind="stable")[: len(ROW_COLOURS)]
    ax = canvas.new_axes(ax, figsize=(10, 0.35 * len(shown) + 2))
    edges, most = np.arange(len(shown) + 1), max(1e-3, heard.max())
    rows = probabilities[:, shown].T  # (chunks, classes) -> (rows, chunks)
    mesh = ax.pcolormesh(times, edges, rows, vmin=0, vmax=most, cmap=canvas.SHARE_MAP)
    winners = np.where(silent, -1, heard.argmax(axis=1))
    draw_winners(winners, times, shown, ax)
    other = "gray: other" if not np.isin(winners[~silent], shown).all() else ""
    notes = ", ".join(filter(None, [other, "white: silent" if silent.any() else ""]))
    strip = f"most likely\n({notes})" if notes else "most likely"
    ax.set_yticks([-0.8, *edges[:-1] + 0.5], [strip, *(classes[i] for i in shown)])
    ax.set_ylim(len(shown), -1.3)
    ax.xaxis.set_major_locator(MultipleLocator(next(s for s in TICKS if times[-1] <= 10 * s)))
    ax.xaxis.set_major_formatter(lambda t, _: f"{int(t // 60)}:{int(t % 60):02d}")
    if len(shown) < len(classes):
        title += f" (the top {len(shown)} of {len(classes)})"
    ax.set(xlabel="time (minutes:seconds)", title=title)
    ax.figure.colorbar(mesh, ax=ax, label="probability")
    return ax


def draw_winners(winners: NDArray, times: NDArray, shown: NDArray, ax: Axes) -> None:
    """Draw the strip of winners (chunks,) above a timeline, and its colours next to the rows.

    A winner of -1 is silence.
    """
    rows = {index: row for row, index in enumerate(shown.tolist())} | {-1: len(ROW_COLOURS) + 1}
    strip = [[rows.get(winner, len(ROW_COLOURS)) for winner in winners.tolist()]]
    cmap = ListedColormap([*ROW_COLOURS, "gray", "white"])
    ax.pcolormesh(times, (-1.3, -0.3), strip, cmap=cmap, vmin=-0.5, vmax=cmap.N - 0.5)
    at_axis = ax.get_yaxis_transform()  # x as a share of the axes, y in rows
    x, y = np.full(len(shown), -0.012), np.arange(len(shown)) + 0.5
    colours = ROW_COLOURS[: len(shown)]
    ax.scatter(x, y, s=40, c=colours, marker="s", clip_on=False, transform=at_axis)
    ax.tick_params(axis="y", length=0, pad=14)


def plot_filter(weights: NDArray, most: float, ax: Axes | None = None) -> Axes:
    """Draw the weights (bins, rows) of a filter from -most to most; one bin as a line."""
    ax = canvas.new_axes(ax)
    if len(weights) == 1:
        ax.plot(weights[0], ".-", color=canvas.BLUE)
        ax.axhline(0, color="gray", linewidth=0.8)
        ax.set(xlim=(-0.5, weights.size - 0.5), ylim=(-1.1 * most, 1.1 * most))
        return ax
    colours: canvas.Options = {"cmap": canvas.TWO_SIDED_MAP, "vmin": -most, "vmax": most}
    ax.imshow(weights, origin="lower", aspect="auto", interpolation="nearest", **colours)
    return ax


def label_filters(axes: Sequence[Axes], weights: NDArray, hparams: HParams) -> None:
    """Label the bins of filters (filters, bins, rows), in Hz if a filter spans all bins."""
    hz, bins = bin_hz(hparams), weights.shape[1]
    ticks = np.unique(np.linspace(0, bins - 1, min(bins, 5)).astype(int))
    unit, values = ("Hz", hz[ticks]) if hz is not None and bins == len(hz) else ("bin", ticks)
    for ax in axes:
        ax.set_ylabel(unit if bins > 1 else "weight")
        if bins > 1:
            ax.set_yticks(ticks, [f"{value:.0f}" for value in values])


def run_page(title: str, history: History, report: Report | None, advice: str = "") -> FigureBase:
    """Make a page of a run: learning curves, with advice above, scores and the hardest tracks.

    An empty `history` and a `report` of None are left out.
    """
    rows, heights, width = run_layout(history, report)
    options = {"height_ratios": heights, "width_ratios": [1.1, 1]}
    figure, axes = canvas.new_page(width, sum(heights) + 0.4, rows, title, **options)
    if history:
        best = min(history, key=lambda row: row["valid_loss"])["epoch"]
        tagging = report and "per_tag" in report
        label = "share of correct tags, by chunk" if tagging else "chunk accuracy"
        pair = axes["loss"], axes["acc"]
        if report and "best_epoch" in report:
            best = report["best_epoch"]
        plot_learning_curves(history, best, label, pair)
        axes["loss"].set_title(advice, fontsize=canvas.SMALL)
    if report:
        draw_scores(report, axes)
    return figure


def run_layout(
    history: History, report: Report | None
) -> tuple[list[list[str]], list[float], float]:
    """The page of a run: names of axes in rows, heights of rows and width in inches."""
    rows, heights = ([["loss", "acc"]], [3.4]) if history else ([], [])
    if report and "per_tag" in report:
        tall = tag_inches(len(report["per_tag"]))
        return [*rows, ["roc", "pr"], ["hardest"] * 2], [*heights, tall, 5.5], 11
    if not report:
        return rows, heights, 11
    classes = report["per_genre"]
    if len(classes) <= 10 and max(map(len, classes)) <= LONGEST_NAME:
        return [*rows, ["matrix", "hardest"]], [*heights, 5.5], 11
    tall = matrix_inches(len(classes))
    return [*rows, ["matrix"] * 2, ["hardest"] * 2], [*heights, tall, 5.5], max(11, tall + 1)


def draw_scores(report: Report, axes: dict[str, Axes]) -> None:
    """Draw the scores of a report and its hardest tracks into axes by name."""
    if "per_tag" in report:
        plot_tag_scores(report, (axes["roc"], axes["pr"]))
        axes["pr"].set_yticks([])  # the labels on the left are for both
    else:
        matrix, classes = np.array(report["confusion_matrix"]), list(report["per_genre"])
        plot_confusion_matrix(matrix, classes, axes["matrix"])
    plot_hardest(report, axes["hardest"])
