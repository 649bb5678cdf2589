"""Run folders and checkpoints: what a run leaves, and all that going on with it takes.

A run folder holds `hparams.json`, `history.csv`, `best.pt` (weights with the settings and the
normalization: enough to predict; and a summary of the tracks), `last.pt` (besides, the optimizer
and every random generator, to resume from), and the report. Checkpoints hold plain values and
tensors: loading one runs no code.
"""

import ast
import csv
import inspect
import io
import itertools
import json
import random
import textwrap
import time
from pathlib import Path

import numpy as np
import torch

from support.errors import UserError
from support.files import write_atomic, write_text
from support.flags import command_line

HISTORY = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc")


def save_checkpoint(path, **parts):
    """Write `parts`, plain values and tensors, to a file that appears whole or not at all."""
    data = io.BytesIO()  # torch hides the reason where it cannot write to a file
    torch.save(parts, data)
    write_atomic(path, lambda file: file.write(data.getbuffer()))


def load_checkpoint(path):
    """The parts of a checkpoint, tensors on the CPU. No code in the file is run.

    Raises `UserError` where it is missing, damaged, or holds anything but plain values and tensors.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run did not get so far") from error
    except OSError:
        raise
    except Exception as error:
        # torch's reader fails in many ways on bytes that are none of its own
        raise UserError(
            f"{path} is damaged, or holds more than plain values and tensors: it is not loaded; "
            "take it from its source again, or train again"
        ) from error
    if not isinstance(parts, dict) or not isinstance(parts.get("model"), dict):
        raise UserError(f"{path} is no checkpoint of this project: it holds no weights")
    return parts


def load_weights(model, path):
    """Put the weights of a checkpoint into a model; returns all the parts of it.

    Raises `UserError` where the weights do not fit, and as `load_checkpoint` does.
    """
    parts = load_checkpoint(path)
    fill_weights(model, parts, path)
    return parts


def fill_weights(model, parts, path):
    """Put the weights of a checkpoint's parts into a model. Raises `UserError` if they misfit."""
    try:
        model.load_state_dict(parts["model"])
    except (RuntimeError, TypeError) as error:
        found = " ".join(str(error).split())  # torch has a line for each of many weights
        raise UserError(
            f"{path} holds the weights of another {type(model).__name__}: put that class back "
            f"into model.py, or train again ({found[:200]})"
        ) from error


def model_source(network):
    """The source of a model's class, and of what it names of its file, directly or not.

    That is the file's functions and classes. That weights fit tells less: pooling has none.
    """
    found, waiting = {}, {network.__name__: network}
    while waiting:
        name, part = waiting.popitem()
        found[name] = inspect.getsource(part)
        tree = ast.parse(textwrap.dedent(found[name]))
        for word in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {*found}:
            value = getattr(inspect.getmodule(network), word, None)
            is_code = inspect.isclass(value) or inspect.isfunction(value)
            if is_code and value.__module__ == network.__module__:
                waiting[word] = value
    return "\n".join(found[name] for name in sorted(found))


def resume_command(folder):
    """The command that goes on with an interrupted run."""
    return command_line("python", "train_test.py", "--resume", folder)


def make_run_folder(hparams):
    """A new folder for the run. Never one that holds anything already."""
    if hparams.run_path:
        folder = Path(hparams.run_path)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(
                f"--run_path {folder} is not empty: pass another, delete it, or go on with the run "
                f"there by `{resume_command(folder)}`"
            )
    else:
        time_now = time.strftime("%Y%m%d-%H%M%S")
        folder = new_folder(Path("runs", f"{hparams.data_name()}-{hparams.model}-{time_now}"))
    return folder


def forget_report(folder):
    """Delete the report of a run that goes on: it is of other weights."""
    pictures = ("confusion_matrix", "tag_scores", "learning_curves", "run", "filters")
    for name in ("report.json", "report.txt", *(f"{name}.png" for name in pictures)):
        (folder / name).unlink(missing_ok=True)


def new_folder(first):
    """A folder made by this call alone: of this name, or with -2, -3 ... where that is taken."""
    for number in itertools.count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue


def write_settings(folder, hparams):
    """Write `hparams.json`: settings that make the same run again."""
    text = json.dumps(hparams.to_dict() | {"resume": ""}, indent=1, ensure_ascii=False)
    write_text(folder / "hparams.json", text)


def read_settings(folder):
    """The settings of a run, by name. Raises `UserError` where they are missing or damaged."""
    path = folder / "hparams.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return dict(**settings)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): {folder} is no run") from error


def find_run(run):
    """The folder of a run: the one named, or the one last begun or trained in `runs` for "newest".

    One that has a report but nothing to go on from is none: it is of `classic.py`. Raises
    `UserError` where there is none.
    """
    if run != "newest":
        return Path(run)
    files = [
        path
        for name in ("hparams.json", "last.pt")
        for path in Path("runs").glob(f"*/{name}")
        if path.with_name("last.pt").exists() or not path.with_name("report.json").exists()
    ]
    if not files:
        raise UserError("there is no run in runs: start one without --resume, or name its folder")
    return max(files, key=lambda path: path.stat().st_mtime_ns).parent


def write_history(folder, history):
    """Write `history.csv`: rows with the keys of `HISTORY`, one an epoch."""
    lines = [",".join(HISTORY), *(",".join(str(row[key]) for key in HISTORY) for row in history)]
    write_text(folder / "history.csv", "".join(f"{line}\n" for line in lines))


def read_history(folder):
    """The rows of `history.csv`, as `write_history` takes them; none where there is no such file.

    Raises `UserError` where it is damaged.
    """
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


def generator_states(shuffler):
    """The states of every random generator: Python's, NumPy's, torch's, and that of a shuffler."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "shuffler": shuffler.get_state(),
    }


def restore_generators(states, shuffler):
    """Put the states that `generator_states` gave back."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    shuffler.set_state(states["shuffler"])


def find_weights(run):
    """Path of a run's `best.pt`: of the folder or file named, of the newest in `runs` if None.

    Raises `UserError` where there is none.
    """
    if run is None:
        found = list(Path("runs").glob("*/best.pt"))
        if not found:
            raise UserError(
                "no run in runs has weights (best.pt): train one by `python train_test.py` "
                "(classic.py leaves none), or name its folder by --run"
            )
        return max(found, key=lambda path: path.stat().st_mtime_ns)
    path = Path(run)
    if path.is_dir():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError(
            f"--run {run}: has no weights (best.pt); name the folder of a run that train_test.py "
            "has trained for an epoch or more (classic.py leaves none)"
        )
    return path


def run_folder(run):
    """The folder of the run named, by its folder or `best.pt`; of the newest with weights if ""."""
    from training.checkpoint import find_weights  # torch takes seconds to load

    path = Path(run) if run else find_weights(None)
    return path.parent if path.name == "best.pt" else path


def read_report(folder):
    """What `report.json` of a run holds; None where there is none. `UserError` if damaged."""
    path = folder / "report.json"
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not {"tracks", "num_tracks"} < report.keys():
            raise ValueError("not what was written")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): train again") from error
    return report
