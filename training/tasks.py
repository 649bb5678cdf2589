"""The tasks, genre and tagging: one object each, with all that training and scoring ask of it.

To add one: an entry in `TASKS` here, its labels in `LABELS` of tracks/catalog.py, its name and
classes in hparams.py. The losses are in optimization.py. Code asks `TASKS[hparams.task]`, or
`task_of(report)` if it has only a report, and never compares names.

Shapes: logits and probabilities (chunks, classes); labels (chunks,) for genres, (chunks, tags) for
tags; `tracks` (chunks,), the index of each chunk's track.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hparams import HParams
from support.errors import UserError
from tracks.sentence import describe_tags
from training import metrics, optimization

Report = dict[str, Any]  # the values of `report.json`


@dataclass(frozen=True)
class Task:
    """All that depends on the kind of label. Comments give the arguments of the functions."""

    loss: Callable[[Tensor, Tensor], Tensor]  # of evaluation, 0-d: (logits, labels)
    # loss of training, with label smoothing: (labels of train or None: no class weights, settings)
    criterion: Callable[[Tensor | None, HParams], nn.Module]
    accuracy: Callable[[Tensor, Tensor], Tensor]  # share of correct answers, 0-d: (logits, labels)
    probabilities: Callable[[Tensor], Tensor]  # of the same shape: (logits)
    # of the same shape, their logarithms divided by a temperature: (probabilities, temperature)
    temper: Callable[[NDArray, float], NDArray]
    # class indices: (probabilities (classes,), the probability above which a tag counts: 0.5)
    predicted: Callable[..., tuple[int, ...]]
    # a sentence that describes a track, or "": (probabilities (classes,), classes, as above)
    sentence: Callable[..., str]
    # what the splits cannot score, as part of the report: ({split: labels by track}, classes)
    check_splits: Callable[[dict[str, NDArray], Sequence[str]], Report]
    # scores of a split: (probabilities, labels, tracks, classes, tags to leave out)
    score: Callable[[NDArray, NDArray, NDArray, Sequence[str], Collection[str]], Report]
    # the probability that each true label got: (probabilities, labels), both by track
    likelihood: Callable[[NDArray, NDArray], NDArray]
    # the probabilities of the answers, and whether the answers are true: (as above)
    outcomes: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]
    # a row for each track: (probabilities, labels, tracks, names, classes)
    list_tracks: Callable[..., list[dict[str, Any]]]
    headline: Callable[[Report], str]  # the main score, in a few words
    format_result: Callable[[Report], str]  # main scores with their 95 % interval
    format_table: Callable[[Report], str]  # scores of each class
    plot_scores: Callable[[Report], Any]  # draws the scores; returns the axes or figure

    picture: str  # file name for `plot_scores`
    accuracy_name: str  # label of the accuracy curve
    per_class: str  # key of a report's scores of each class
    valid_scores: tuple[str, ...]  # keys of the scores on valid in a report
    one_answer: bool  # a track has one class, so that the answer can be "unsure"


def temper_genres(shares: NDArray, temperature: float) -> NDArray:
    """Divide the logarithms of probabilities (..., genres) by a temperature."""
    # the largest is 1 on the way, so that not all can underflow
    powers = (shares / shares.max(-1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(-1, keepdims=True)


def temper_tags(shares: NDArray, temperature: float) -> NDArray:
    """Divide the log odds of probabilities (..., tags) by a temperature."""
    yes, no = shares ** (1 / temperature), (1 - shares) ** (1 / temperature)
    return yes / (yes + no)


def genre_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of chunks whose label has the largest logit."""
    if labels.ndim == 2:  # after mixup (batch, classes): the genre with the larger share counts
        labels = labels.argmax(1)
    return (logits.argmax(1) == labels).float().mean()


def format_genre_result(report: Report) -> str:
    """The tutorial's last line, then the accuracy by track with its 95 % interval."""
    low, high = report["track_interval"]
    by_chunk, tested = "", report.get("classifier")  # which sees whole tracks, not chunks
    if "chunk_accuracy" in report:
        by_chunk = f"Test Accuracy: {report['chunk_accuracy']:.2%}\n"
        tested = f"weights of epoch {report['best_epoch']}"
    return (
        f"{by_chunk}Test Track Accuracy: {report['track_accuracy']:.2%} (95% interval {low:.2%} to "
        f"{high:.2%}; {report['correct_tracks']} of {report['num_tracks']} tracks, {tested})"
    )


def format_genre_table(report: Report) -> str:
    """Precision, recall and F1 of each genre, and the confusion matrix."""
    numbered = [f"{i:2d} {genre}" for i, genre in enumerate(report["per_genre"], start=1)]
    width = max(map(len, numbered))
    lines = [f"{'   genre':{width}}  precision  recall    f1  tracks"]
    for genre, row in zip(numbered, report["per_genre"].values()):
        scores = f"{row['precision']:9.2f}  {row['recall']:6.2f}  {row['f1']:4.2f}"
        lines.append(f"{genre:{width}}  {scores}  {row['tracks']:6d}")
    lines += format_skipped(report)
    lines += ["", "Confusion matrix (tracks; row: true genre, column: number of the predicted)"]
    lines.append(" " * width + "".join(f"{i:5d}" for i in range(1, len(numbered) + 1)))
    for genre, row in zip(numbered, report["confusion_matrix"]):
        lines.append(f"{genre:{width}}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join(lines)


def draw_genre_scores(report: Report) -> Any:
    """Draw the confusion matrix; return its axes."""
    from training.plots import plot_confusion_matrix  # matplotlib takes a second to load

    return plot_confusion_matrix(np.array(report["confusion_matrix"]), list(report["per_genre"]))


def check_tags(labels: dict[str, NDArray], tags: Sequence[str]) -> Report:
    """Find the tags that a split cannot score: {"left_out": {split: {tag: reason}}}.

    Tags that cannot be learned from train are left out of the other splits too. Raises `UserError`
    if no tag is left to score.
    """
    print(f"Tags: {len(tags)}")
    left_out: dict[str, dict[str, str]] = {}
    not_learned: dict[str, str] = {}
    for split, split_labels in labels.items():
        left_out[split] = found = not_learned | metrics.find_one_sided(split_labels, tags)
        if found:
            print(f"*** {split} leaves out {format_left_out(found)}")
        if split == "train":
            not_learned = {tag: why.replace("track", "train track") for tag, why in found.items()}
    if len(left_out["test"]) == len(tags):
        raise UserError(
            "no tag can be scored: in the test split or in the train split, every track has it or "
            "no track has it; pass other --tags, or add tracks to the lists"
        )
    return {"left_out": left_out}


def format_tag_result(report: Report) -> str:
    """The mean ROC-AUC of all tags with its 95 % interval, and the mean PR-AUC."""
    low, high = report["roc_auc_interval"]
    return (
        f"Test ROC-AUC: {report['roc_auc']:.4f} (mean of {len(report['per_tag'])} tags, 95% "
        f"interval {low:.4f} to {high:.4f}; {report['num_tracks']} tracks, "
        f"weights of epoch {report['best_epoch']})\n"
        f"Test PR-AUC: {report['pr_auc']:.4f}"
    )


def format_tag_table(report: Report) -> str:
    """ROC-AUC, PR-AUC and number of tracks of each tag, and the tags left out of each split."""
    width = max(map(len, ["tag", *report["per_tag"]]))
    lines = [f"{'tag':{width}}  ROC-AUC  PR-AUC  tracks"]
    for tag, row in report["per_tag"].items():
        scores = f"{row['roc_auc']:7.2f}  {row['pr_auc']:6.2f}  {row['tracks']:6d}"
        lines.append(f"{tag:{width}}  {scores}")
    lines += format_skipped(report)
    for split, reasons in report["left_out"].items():
        if reasons:
            lines += ["", f"Left out of {split}: {format_left_out(reasons)}"]
    return "\n".join(lines)


def draw_tag_scores(report: Report) -> Any:
    """Draw ROC-AUC and PR-AUC of each tag; return the figure."""
    from training.plots import plot_tag_scores  # matplotlib takes a second to load

    return plot_tag_scores(report)


def format_skipped(report: Report) -> list[str]:
    """Lines about skipped tracks; empty if there are none."""
    if not any(report["skipped"].values()):
        return []
    counts = ", ".join(f"{split} {count}" for split, count in report["skipped"].items())
    return ["", f"Tracks left out as broken: {counts}"]


def format_left_out(reasons: dict[str, str]) -> str:
    """Tags that are not scored, each with the reason."""
    return ", ".join(f"{tag} ({reason})" for tag, reason in reasons.items())


TASKS = {
    "genre": Task(
        loss=functional.cross_entropy,
        criterion=optimization.genre_criterion,
        accuracy=genre_accuracy,
        probabilities=lambda logits: logits.softmax(1),
        temper=temper_genres,
        predicted=lambda probabilities, _=0.5: (int(probabilities.argmax()),),
        sentence=lambda probabilities, genres, _=0.5: "",
        # no genre is left out: one without test tracks has a score too
        check_splits=lambda labels, genres: {},
        score=lambda probabilities, labels, tracks, genres, _: metrics.score_genres(
            probabilities, labels, tracks, genres
        ),
        likelihood=lambda shares, labels: np.take_along_axis(shares, labels[:, None], 1)[:, 0],
        outcomes=lambda shares, labels: (shares.max(1), shares.argmax(1) == labels),
        list_tracks=metrics.list_genre_predictions,
        headline=lambda report: f"track accuracy {100 * report['track_accuracy']:.1f} %",
        format_result=format_genre_result,
        format_table=format_genre_table,
        plot_scores=draw_genre_scores,
        picture="confusion_matrix.png",
        accuracy_name="chunk accuracy",
        per_class="per_genre",
        valid_scores=("chunk_accuracy", "track_accuracy"),
        one_answer=True,
    ),
    "tagging": Task(
        loss=functional.binary_cross_entropy_with_logits,
        criterion=optimization.tag_criterion,
        # share of tags whose probability is on the label's side of 0.5, the sigmoid of 0
        accuracy=lambda logits, labels: ((logits > 0) == (labels > 0.5)).float().mean(),
        probabilities=lambda logits: logits.sigmoid(),
        temper=temper_tags,
        predicted=lambda probabilities, threshold=0.5: tuple(
            np.flatnonzero(probabilities > threshold).tolist()
        ),
        sentence=describe_tags,
        check_splits=check_tags,
        score=metrics.score_tags,
        likelihood=lambda shares, labels: np.where(labels, shares, 1 - shares).ravel(),
        outcomes=lambda shares, labels: (shares.ravel(), labels.ravel()),  # of all tags together
        list_tracks=metrics.list_tag_predictions,
        headline=lambda report: f"ROC-AUC {report['roc_auc']:.3f}",
        format_result=format_tag_result,
        format_table=format_tag_table,
        plot_scores=draw_tag_scores,
        picture="tag_scores.png",
        accuracy_name="share of correct tags, by chunk",
        per_class="per_tag",
        valid_scores=("chunk_accuracy", "roc_auc", "pr_auc"),
        one_answer=False,
    ),
}


def task_of(report: Report) -> Task:
    """The task of a report, recognized by its scores."""
    return next(task for task in TASKS.values() if task.per_class in report)
