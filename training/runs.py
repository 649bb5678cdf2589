"""Run folders: make a new one, and find the one that a command asks for.

The ordinary runs are the folders in `runs`; those of `compare.py`, one level deeper, are not. A run
has finished when it has a report.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hparams import HParams
from support.errors import UserError, visible
from support.files import PARTIAL, delete_partials, lock
from support.flags import command_line
from training.checkpoint import (
    History,
    load_checkpoint,
    read_history,
    read_report,
    read_settings,
    resume_command,
)
from training.classical import has_network
from training.tasks import task_of

RUNS = Path("runs")
PRETRAINED = Path("pretrained")  # where pretrained.py puts the runs that are found by name
LOCK = "run.lock"
SAME_AGE = 1_000_000_000  # ns: of runs that end within a second, nobody knows which is the newest
MOST_NOTES = 3
COLUMNS = ("run", "data", "model", "task", "score", "finished")


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder of a run, finished or not."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The path of its best weights."""
        return self.folder / "best.pt"

    @cached_property
    def written(self) -> dict[str, int]:
        """When its files were written, in ns; without those that it lacks."""
        times = {}
        for name in ("hparams.json", "last.pt", "best.pt", "report.json"):
            with contextlib.suppress(OSError):
                times[name] = (self.folder / name).stat().st_mtime_ns
        return times

    @property
    def finished(self) -> bool:
        """Whether it has been tested; `classic.py` and `train_test.py` write the report last."""
        return "report.json" in self.written

    @property
    def time(self) -> int:
        """When it finished, or was last written to, in ns."""
        return self.written.get("report.json") or max(self.written.values(), default=0)

    @property
    def age(self) -> tuple[bool, int, str]:
        """A key to sort by: unfinished before finished, old before new, then by name."""
        return self.finished, self.time, self.folder.name

    @property
    def obstacle(self) -> str:
        """Why its weights are not used unless it is named; "" if they are."""
        if "best.pt" not in self.written:
            return "has no weights (best.pt)"
        # a best.pt alone was copied here from another place
        ended = self.finished or self.written.keys() == {"best.pt"}
        return "" if ended else "its training has not ended"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Its settings by name; empty if they are damaged."""
        with contextlib.suppress(UserError):
            if "hparams.json" in self.written:
                return read_settings(self.folder)
            return dict(load_checkpoint(self.weights)["hparams"])
        return {}

    @property
    def lacks_network(self) -> str:
        """Why it cannot embed, or show filters; "" if it can."""
        model, source = self.settings.get("model", ""), self.settings.get("init_from", "")
        return "" if has_network(model, source) else f"its {model} has no network"

    @property
    def score(self) -> str:
        """Its main score in words; "" without a report, or with one that is damaged."""
        with contextlib.suppress(UserError, KeyError, TypeError, ValueError, StopIteration):
            if report := read_report(self.folder):
                return task_of(report).headline(report)
        return ""

    def row(self) -> list[str]:
        """Its cells in the table of runs, in the order of `COLUMNS`."""
        data, model, task = (
            str(self.settings.get(k, "?")) for k in ("dataset_path", *COLUMNS[2:4])
        )
        ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time / 1e9))
        if not self.finished:
            ended = "no"
            with contextlib.suppress(UserError):
                epochs = len(read_history(self.folder))
                ended = f"no: epoch {epochs} of {self.settings.get('num_epochs', '?')}"
        cells = self.folder.name, Path(data).name or data, model, task, self.score, ended
        return [visible(cell) for cell in cells]


def list_runs() -> list[Run]:
    """The runs in `runs`, by `Run.age`."""
    runs = (Run(path) for path in RUNS.glob("*"))
    return sorted((run for run in runs if run.written), key=lambda run: run.age)


def format_runs() -> str:
    """A table of all runs in `runs`, the newest last. Raises `UserError` if there is none."""
    runs = sorted(list_runs(), key=lambda run: run.time)
    rows = [list(COLUMNS), *(run.row() for run in runs)]
    if len(rows) == 1:
        raise UserError("there is no run in runs: train one with `python train_test.py`")
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def make_run_folder(hparams: HParams) -> Path:
    """Make the folder of a new run. Raises `UserError` if `--run_path` is not empty."""
    if not hparams.run_path:
        time_now = time.strftime("%Y%m%d-%H%M%S")
        return new_folder(RUNS / f"{hparams.data_name()}-{hparams.model}-{time_now}")
    folder = Path(hparams.run_path)
    folder.mkdir(parents=True, exist_ok=True)
    check_empty(folder)
    return folder


def check_empty(folder: Path) -> None:
    """Raise `UserError` if a folder has more than a command leaves that was killed at once."""
    names = (path.name for path in folder.iterdir())
    if any(not (name.startswith(LOCK) or PARTIAL.fullmatch(name)) for name in names):
        raise UserError(
            f"--run_path {folder} is not empty: pass another, delete it, or continue the run there "
            f"with `{resume_command(folder)}`"
        )


@contextlib.contextmanager
def open_run(hparams: HParams, resumed: Path | None = None) -> Iterator[Path]:
    """Lock the folder of a new run, or of the one resumed, inside `with`.

    Raises `UserError` if another command writes there.
    """
    folder = resumed or make_run_folder(hparams)
    with lock_run(folder):
        if not resumed:
            check_empty(folder)  # another command can have had the lock until now
        delete_partials(folder, below=False)  # an index below it has a lock of its own
        yield folder


def lock_run(folder: Path, wait: bool = False) -> contextlib.AbstractContextManager[None]:
    """Lock a run's folder; if another command writes there, wait or raise `UserError`."""
    ends = "waiting until it ends" if wait else "wait until it ends, or start another run"
    busy = f"{folder}: another command is writing this run: {ends}"
    return lock(folder / LOCK, busy, wait, delete=True)


def new_folder(first: Path) -> Path:
    """Make a folder with this name, or with -2, -3 ... if it exists."""
    folder, number = first, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another process can make it at any moment
            number += 1
            folder = first.with_name(f"{first.name}-{number}")


def advise_epochs(
    folder: Path, settings: dict[str, Any], report: dict[str, Any], history: History
) -> str:
    """A line that advises more epochs if the last one planned is the best, otherwise ""."""
    epochs = settings.get("num_epochs", 0)
    # the one-cycle schedule ends with its smallest steps, and often with its best epoch
    planned = len(history) == epochs and settings.get("lr_schedule") != "onecycle"
    if not planned or report.get("best_epoch") != epochs:
        return ""
    command = f"{resume_command(folder)} --num_epochs {2 * epochs}"
    return f"*** the best epoch is the last one: more may help: `{command}`"


def find_run_to_resume(run: str) -> Path:
    """The folder that `--resume` names; for "newest" the newest run that has not finished.

    If all have finished, it is the newest of them. Runs of `classic.py` are not considered. Raises
    `UserError` if there is no run, or if it has weights but was not trained by `train_test.py`.
    """
    if run != "newest":
        folder = locate(run)
        trained = any((folder / name).exists() for name in ("last.pt", "history.csv"))
        if (folder / "best.pt").exists() and not trained:
            raise UserError(
                f"--resume {run}: has no last.pt to continue from; start a new run from its "
                f"weights with `{command_line('--init_from', run)}`"
            )
        return folder
    # a run of classic.py has a report, but no last.pt to continue from
    begun = [
        run
        for run in list_runs()
        if "last.pt" in run.written or ("hparams.json" in run.written and not run.finished)
    ]
    if not begun:
        raise UserError("there is no run in runs: start one without --resume, or name its folder")
    return max(begun, key=lambda run: (not run.finished, *run.age)).folder


def find_weights(run: str | Path | None, reject: Callable[[Run], str] = lambda run: "") -> Path:
    """The `best.pt` of a run, named by folder or file; by default the newest finished in `runs`.

    `reject` can say why another run suits the command better ("its task is tagging"). Prints which
    newer runs are not taken. Raises `UserError` if there is no run to take.
    """
    if run:
        return named_weights(run)
    runs = list_runs()
    chosen = choose_run(runs, reject)
    print_others(chosen, runs, lambda run: run.obstacle or reject(run))
    return chosen.weights


def named_weights(run: str | Path) -> Path:
    """The `best.pt` of a run that is named by folder or file. Raises `UserError` without one."""
    path = locate(run)
    if path.is_dir():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError(
            f"{run}: has no weights (best.pt); name the folder of a run of classic.py or "
            "train_test.py (`python train_test.py --runs` lists them), or a pretrained model "
            "(`python pretrained.py` lists those)"
        )
    return path


def locate(run: str | Path) -> Path:
    """The path of a run, given it or the name of a pretrained one."""
    named = PRETRAINED / run
    return named if not Path(run).exists() and named.is_dir() else Path(run)


def choose_run(runs: Sequence[Run], reject: Callable[[Run], str] = lambda run: "") -> Run:
    """The newest run whose weights can be used, if possible one that is not rejected.

    Raises `UserError` if there is none.
    """
    if usable := [run for run in runs if not run.obstacle]:
        return max(usable, key=lambda run: (not reject(run), *run.age))
    if begun := [run for run in runs if "best.pt" in run.written]:
        folder = begun[-1].folder
        raise UserError(
            f"no run in runs has finished: continue one with `{resume_command(folder)}`, or use "
            f"its weights so far with `{command_line('--run', folder)}`"
        )
    raise UserError(
        "no run in runs has weights (best.pt): train one with `python train_test.py` or "
        "`python classic.py`, name its folder with --run, or get a pretrained one with "
        "`python pretrained.py`"
    )


def find_run_folder(run: str, needs_network: bool = False) -> Path:
    """Return a run's folder, given it or its `best.pt`; "" means the newest finished in `runs`.

    Prints which newer runs are not taken. Raises `UserError` if there is no run.
    """
    if run:
        path = locate(run)
        return path.parent if path.name == "best.pt" else path
    if needs_network:
        return find_weights(None, lambda run: run.lacks_network).parent
    if not (runs := list_runs()):
        raise UserError("there is no run in runs: train one, or name its folder")
    print_others(runs[-1], runs, lambda run: "" if run.finished else "its training has not ended")
    return runs[-1].folder


def print_others(chosen: Run, runs: Sequence[Run], reason: Callable[[Run], str]) -> None:
    """Print the runs that are as new as the chosen one, or newer, and why they are not taken."""
    notes = []
    for run in reversed(runs):
        if run is chosen or run.time <= chosen.time - SAME_AGE:
            continue
        folder, why = visible(run.folder), reason(run)
        if not why and abs(run.time - chosen.time) < SAME_AGE:
            notes.append(f"*** {folder} is as new: pass --run to name the one you mean")
        elif run.time > chosen.time:
            notes.append(f"*** {folder} is newer, but {why or 'has no report'}")
    for note in notes[:MOST_NOTES]:
        print(note)
    if len(notes) > MOST_NOTES:
        print(f"*** {len(notes)} runs are as new or newer: `python train_test.py --runs` lists all")
