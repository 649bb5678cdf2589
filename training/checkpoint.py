"""Run folders: make and find them, and read and write their checkpoints and files.

- `hparams.json`: the settings
- `history.csv`: loss and accuracy of each epoch
- `best.pt`: the best weights with settings and normalization, enough to predict, and a summary of
  the tracks
- `last.pt`: the same for the last epoch, with optimizer and random generators, to resume from
- `report.json`, `report.txt` and pictures

Checkpoints hold plain values and tensors: loading one runs no code.
"""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hparams import HParams
from support.errors import UserError
from support.files import hash_file, newest, write_atomic, write_text
from support.flags import command_line

History = list[dict[str, Any]]  # the rows of `history.csv`, with the keys of HISTORY
HISTORY = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc")


def save_checkpoint(path: Path, **parts: Any) -> None:
    """Write plain values and tensors to a file. A failure leaves the old file unchanged."""
    data = io.BytesIO()  # if torch wrote the file itself, it would hide why that failed
    torch.save(parts, data)
    write_atomic(path, lambda file: file.write(data.getbuffer()))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without running any code in it.

    Parameters
    ----------
    path : Path
        A run's `best.pt` or `last.pt`.

    Returns
    -------
    dict
        Its parts: `model` (weights on the CPU), `hparams`, `mean`, `std`, `epoch`, `splits`.

    Raises
    ------
    UserError
        If the file is missing or damaged, or if it holds more than plain values and tensors.

    Examples
    --------
    >>> load_checkpoint(Path("runs/one/best.pt"))["epoch"]
    3
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run has not finished an epoch") from error
    except OSError:
        raise
    except Exception as error:  # torch raises many types for files that are not checkpoints
        raise UserError(
            f"{path} is damaged, or holds more than plain values and tensors: it is not loaded; "
            "copy it from its source again, or train again"
        ) from error
    if not isinstance(parts, dict) or not isinstance(parts.get("model"), dict):
        raise UserError(f"{path} is not a checkpoint of this project: it holds no weights")
    return parts


def load_weights(model: nn.Module, path: Path) -> dict[str, Any]:
    """Load the weights of a checkpoint into a model; return all parts of the checkpoint.

    Raises `UserError` if the checkpoint cannot be loaded or its weights do not fit.
    """
    parts = load_checkpoint(path)
    fill_weights(model, parts, path)
    return parts


def fill_weights(model: nn.Module, parts: dict[str, Any], path: Path) -> None:
    """Copy the weights in `parts` into a model. Raises `UserError` if they do not fit."""
    try:
        model.load_state_dict(parts["model"])
    except (RuntimeError, TypeError) as error:
        found = " ".join(str(error).split())  # torch writes one line per weight
        raise UserError(
            f"{path} holds the weights of another {type(model).__name__}: restore that class in "
            f"model.py, or train again ({found[:200]})"
        ) from error


def model_code() -> str:
    """Hash `model.py`: models with equal weights can differ, for example in pooling."""
    return hash_file(Path(__file__).parents[1] / "model.py")


def make_run_folder(hparams: HParams) -> Path:
    """Make the folder of a new run. Raises `UserError` if `--run_path` is not empty."""
    if not hparams.run_path:
        time_now = time.strftime("%Y%m%d-%H%M%S")
        return new_folder(Path("runs", f"{hparams.data_name()}-{hparams.model}-{time_now}"))
    folder = Path(hparams.run_path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(
            f"--run_path {folder} is not empty: pass another, delete it, or continue the run there "
            f"with `{resume_command(folder)}`"
        )
    return folder


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


def resume_command(folder: Path) -> str:
    """The command that continues an interrupted run."""
    return command_line("python", "train_test.py", "--resume", folder)


def find_run_to_resume(run: str) -> Path:
    """The folder that `--resume` names; for "newest" the run in `runs` that was written to last.

    Runs of `classic.py` are not considered. Raises `UserError` if there is no run.
    """
    if run != "newest":
        return Path(run)
    files = (
        path
        for name in ("hparams.json", "last.pt")
        for path in Path("runs").glob(f"*/{name}")
        # a run of classic.py has a report, but no last.pt to continue from
        if path.with_name("last.pt").exists() or not path.with_name("report.json").exists()
    )
    path = newest(files)
    if path is None:
        raise UserError("there is no run in runs: start one without --resume, or name its folder")
    return path.parent


def find_weights(run: str | Path | None) -> Path:
    """The `best.pt` of a run, named by folder or file; by default the newest in `runs`.

    Raises `UserError` if there is none.
    """
    if not run:
        path = newest(Path("runs").glob("*/best.pt"))
        if path is None:
            raise UserError(
                "no run in runs has weights (best.pt): train one with `python train_test.py` "
                "(classic.py leaves none), or name its folder with --run"
            )
        return path
    path = Path(run)
    if path.is_dir():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError(
            f"--run {run}: has no weights (best.pt); name the folder of a run that train_test.py "
            "trained for at least one epoch (classic.py leaves no weights)"
        )
    return path


def find_run_folder(run: str) -> Path:
    """Return a run's folder, given it or its `best.pt`; "" means the newest with weights."""
    path = Path(run) if run else find_weights(None)
    return path.parent if path.name == "best.pt" else path


def write_settings(folder: Path, hparams: HParams) -> None:
    """Write `hparams.json`, from which the run can be repeated."""
    text = json.dumps(hparams.to_dict() | {"resume": ""}, indent=1, ensure_ascii=False)
    write_text(folder / "hparams.json", text)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read `hparams.json` of a run. Raises `UserError` if it is missing or damaged."""
    path = folder / "hparams.json"
    try:
        return dict(**json.loads(path.read_text(encoding="utf-8")))  # TypeError if not an object
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): {folder} is not a run") from error


def write_history(folder: Path, history: History) -> None:
    """Write `history.csv`: one row per epoch."""
    lines = [",".join(HISTORY), *(",".join(str(row[key]) for key in HISTORY) for row in history)]
    write_text(folder / "history.csv", "".join(f"{line}\n" for line in lines))


def read_history(folder: Path) -> History:
    """Read the rows of `history.csv`; empty if it is missing. Raises `UserError` if damaged."""
    path = folder / "history.csv"
    if not path.is_file():
        return []
    try:
        names, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        history = [dict(zip(names, map(float, row), strict=True)) for row in rows]
        return [
            {key: row[key] for key in HISTORY} | {"epoch": int(row["epoch"])} for row in history
        ]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): train again") from error


def read_report(folder: Path) -> dict[str, Any] | None:
    """Read `report.json` of a run; None if it is missing. Raises `UserError` if it is damaged."""
    path = folder / "report.json"
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not {"tracks", "num_tracks"} < report.keys():
            raise ValueError("tracks or num_tracks are missing")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): train again") from error
    return report
