"""Write the report of a run: `report.txt`, `report.json` and pictures."""

from pathlib import Path

import numpy as np

from support.files import write_json, write_text
from training.calibration import BINS, BOUNDS, GOAL
from training.checkpoint import History
from training.tasks import TASKS, Report, Task, task_of


def write_report(folder: Path, report: Report, history: History | None = None) -> str:
    """Write a report as text, JSON and pictures into the folder of its run; return the text.

    `history` holds the rows of `history.csv`, None for classifiers without epochs.
    """
    from support.canvas import save_picture  # matplotlib takes a second to load
    from training.plots import plot_learning_curves, plot_reliability

    task = task_of(report)
    parts = [task.format_result(report), task.format_table(report)]
    if "calibration" in report:
        parts.append(format_calibration(report))
        if task.one_answer:
            parts.append(format_answers(report))
        if report["calibration"]["test"]["tracks"] >= BINS:  # fewer say nothing by bin
            save_picture(folder / "reliability.png", plot_reliability, report)
    if "robustness" in report:
        parts.append(format_robustness(report, task))
    text = "\n\n".join(parts) + "\n"
    write_text(folder / "report.txt", text)
    save_picture(folder / task.picture, task.plot_scores, report)
    if history:
        curves = history, report["best_epoch"], task.accuracy_name
        save_picture(folder / "learning_curves.png", plot_learning_curves, *curves)
    write_json(folder / "report.json", report)  # last: a run with this file has finished
    return text


def format_calibration(report: Report) -> str:
    """How well the probabilities are calibrated, without and with the temperature."""
    temperature = report["decision"]["temperature"]
    bound = ", its bound" if min(abs(np.log(temperature / np.array(BOUNDS)))) < 0.01 else ""
    lines = [f"Probabilities, with a temperature of {temperature:.2f}{bound}, fitted on valid"]
    for name, split in report["calibration"].items():
        before, after = (split[when]["error"] for when in ("before", "after"))
        error = f"expected calibration error {after:.1%}, without the temperature {before:.1%}"
        chance = f"{split['by_chance']:.1%} on {split['tracks']} tracks"
        lines.append(f"  {name}: {error}; perfect calibration would give {chance}")
    return "\n".join(lines)


def format_answers(report: Report) -> str:
    """When the run is unsure, and how many of its answers are right."""
    splits, least = report["calibration"], report["decision"]["min_confidence"]
    first = f"Unsure below a probability of {least:.1%}" if least else "Never unsure"
    if splits["valid"]["answered_right"] < GOAL * splits["valid"]["answered"]:
        first += f" (no threshold makes {GOAL:.0%} of the answers on valid right)"
    lines = [first]
    for name, split in splits.items():
        answered, right = split["answered"], split["answered_right"]
        share = f" ({right / answered:.1%})" if answered else ""
        lines.append(f"  {name}: answers {answered} of {split['tracks']}, {right} right{share}")
    return "\n".join(lines)


def format_robustness(report: Report, task: Task) -> str:
    """A line for each degradation: the main score, or why there is none."""
    rows = report["robustness"].items()
    texts = {name: row if isinstance(row, str) else task.headline(row) for name, row in rows}
    width = max(map(len, texts))
    lines = (f"  {name:{width}}  {text}" for name, text in texts.items())
    return "\n".join(["Robustness (the audio of the test tracks, degraded)", *lines])


def delete_report(folder: Path) -> None:
    """Delete the report of a run that continues: it describes older weights."""
    pictures = (task.picture for task in TASKS.values())
    # visualize.py draws the last two
    others = ("reliability.png", "learning_curves.png", "run.png", "filters.png")
    for name in ("report.json", "report.txt", *pictures, *others):
        (folder / name).unlink(missing_ok=True)
