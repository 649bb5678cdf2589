"""Write the report of a run: `report.txt`, `report.json` and pictures."""

from pathlib import Path

from support.files import write_json, write_text
from training.checkpoint import History
from training.tasks import TASKS, Report, task_of


def write_report(folder: Path, report: Report, history: History | None = None) -> str:
    """Write a report as text, JSON and pictures into the folder of its run; return the text.

    `history` holds the rows of `history.csv`, None for classifiers without epochs.
    """
    from support.canvas import save_picture  # matplotlib takes a second to load
    from training.plots import plot_learning_curves

    task = task_of(report)
    text = f"{task.format_result(report)}\n\n{task.format_table(report)}\n"
    write_text(folder / "report.txt", text)
    save_picture(folder / task.picture, task.plot_scores, report)
    if history:
        curves = history, report["best_epoch"], task.accuracy_name
        save_picture(folder / "learning_curves.png", plot_learning_curves, *curves)
    write_json(folder / "report.json", report)  # last: a run with this file has finished
    return text


def delete_report(folder: Path) -> None:
    """Delete the report of a run that continues: it describes older weights."""
    pictures = (task.picture for task in TASKS.values())
    others = ("learning_curves.png", "run.png", "filters.png")  # visualize.py draws the last two
    for name in ("report.json", "report.txt", *pictures, *others):
        (folder / name).unlink(missing_ok=True)
