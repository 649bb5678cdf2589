"""Save a training run after each epoch, and resume it.

`last.pt` holds everything that the next epoch depends on, so a resumed run ends with the same
numbers as an uninterrupted one.
"""

# mypy: disable-error-code="attr-defined, arg-type"
# torch's type for data sets lacks the attributes of `GTZANDataset`

import contextlib
import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from hparams import HParams
from support.errors import UserError
from support.flags import make_parser, replace_given
from support.forms import check_form, is_number
from tracks.lists import SPLITS
from training import checkpoint
from training.checkpoint import HISTORY, PARTS, History
from training.optimization import is_best
from training.runs import find_run_to_resume

CHANGEABLE = {  # flags that a resumed run accepts, since they do not change its numbers
    *("resume", "num_epochs", "max_minutes", "device", "num_workers", "cache_gb", "tensorboard"),
}
LAST = PARTS | {  # the form of `last.pt`, without the weights and settings
    **{"optimizer": {"state": dict, "param_groups": [dict]}, "scheduler": dict, "generators": dict},
    **{"seconds": lambda value: is_number(value) and value >= 0, "data": [str], "best": tuple},
    "history": [dict.fromkeys(HISTORY, float) | {"epoch": int}],
}
# what `best.pt` keeps
BEST_PARTS = ("model", "hparams", "mean", "std", "epoch", "splits", "origin", "seen")


def save_epoch(runner: Any, loaders: Sequence[DataLoader], folder: Path, history: History) -> None:
    """Write `last.pt`, `history.csv` and, if the last epoch is the best one, `best.pt`.

    `runner` is a `Runner`; `loaders` are for train and valid.
    """
    mean, std = loaders[0].dataset.normalization
    last = {
        "model": runner.model.state_dict(),
        "hparams": runner.hparams.to_dict() | {"resume": ""},
        "mean": mean,
        "std": std,
        "epoch": history[-1]["epoch"],
        "splits": {split: loader.dataset.summary for split, loader in zip(SPLITS, loaders)},
        "optimizer": runner.optimizer.state_dict(),
        "scheduler": runner.scheduler.state_dict() if runner.scheduler else {},
        "best": (runner.best_loss, runner.best_epoch),
        "seconds": runner.seconds,
        "history": history,
        "generators": generator_states(loaders[0].sampler.generator),
        "data": [loader.dataset.digest for loader in loaders],
        **runner.sources,
    }
    checkpoint.save_checkpoint(folder / "last.pt", **last)
    save_if_best(folder, last)
    checkpoint.write_history(folder, history)


def save_if_best(folder: Path, last: dict[str, Any]) -> None:
    """Write `best.pt` from the parts of `last.pt` if its epoch is the best one."""
    if last["best"][1] == last["epoch"]:
        parts = {name: last[name] for name in BEST_PARTS if name in last}
        checkpoint.save_checkpoint(folder / "best.pt", **parts)


def epoch_of(path: Path) -> int | None:
    """The epoch of a checkpoint, None if it is missing or damaged."""
    with contextlib.suppress(UserError):
        epoch: int | None = checkpoint.load_checkpoint(path).get("epoch")
        return epoch
    return None


def restore_epoch(runner: Any, loaders: Sequence[DataLoader], folder: Path) -> History:
    """Restore the state that `save_epoch` wrote to `last.pt`; return the history so far.

    Raises `UserError` if the data have changed, or if `last.pt` was written by other code.
    """
    path = folder / "last.pt"
    last = checkpoint.load_checkpoint(path, sealed=True)
    checkpoint.fill_weights(runner.model, last, path)
    try:
        check_state(last, runner)
        if last["data"] != [loader.dataset.digest for loader in loaders]:
            raise UserError(
                f"the tracks, tags or features are not those that the run {folder} began with: "
                "restore them, or start a new run without --resume"
            )
        runner.optimizer.load_state_dict(last["optimizer"])
        if runner.scheduler:
            runner.scheduler.load_state_dict(last["scheduler"])
        runner.best_loss, runner.best_epoch = last["best"]
        runner.seconds = float(last["seconds"])
        restore_generators(last["generators"], loaders[0].sampler.generator)
        checkpoint.write_history(folder, last["history"])
        if epoch_of(folder / "best.pt") != last["epoch"]:  # which also keeps how to decide
            save_if_best(folder, last)  # the run was killed before it wrote `best.pt`
    except (UserError, OSError):
        raise
    except Exception as error:  # a state of other code can have any form
        raise UserError(
            f"{path} is not a checkpoint to continue from ({type(error).__name__}: {error}): "
            "start a new run without --resume"
        ) from error
    print(f"Continuing {folder} after epoch {last['epoch']}")
    return last["history"]


def check_state(last: dict[str, Any], runner: Any) -> None:
    """Raise an error unless the parts of a `last.pt` fit each other and a runner."""
    check_form(last, LAST)
    best, history = (math.inf, 0), last["history"]
    for row in history:
        loss, epoch = row["valid_loss"], row["epoch"]
        if is_best(loss, epoch, best[0], runner.hparams):
            best = loss, epoch
    in_order = all(row["epoch"] == number for number, row in enumerate(history, 1))
    if not in_order or (last["epoch"], last["best"]) != (len(history), best):
        raise ValueError("its epochs do not fit its history")
    check_alike(last["scheduler"], runner.scheduler.state_dict() if runner.scheduler else {})
    check_alike(last["optimizer"]["param_groups"], runner.optimizer.state_dict()["param_groups"])
    weights = [weight for group in runner.optimizer.param_groups for weight in group["params"]]
    for index, state in last["optimizer"]["state"].items():
        for value in state.values():
            if torch.is_tensor(value) and value.shape not in (torch.Size(), weights[index].shape):
                raise ValueError("its optimizer is that of another model")


def check_alike(value: Any, fresh: Any) -> None:
    """Raise `ValueError` unless a state has the names, lengths and types of a fresh one."""
    kinds: Any = (int, float) if type(fresh) in (int, float) else type(fresh)
    if not isinstance(value, kinds):
        raise ValueError(f"{value!r:.60} is not {type(fresh).__name__}")
    if isinstance(fresh, dict | list | tuple):
        if len(value) != len(fresh):
            raise ValueError(f"{value!r:.60} has another length")
        for key in fresh if isinstance(fresh, dict) else range(len(fresh)):
            check_alike(value[key], fresh[key])


def generator_states(shuffler: torch.Generator) -> dict[str, Any]:
    """States of all random generators: Python's, NumPy's, torch's and the one that shuffles."""
    numpy_state: Any = np.random.get_state()
    kind, keys, *rest = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),  # checkpoints hold no arrays
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "shuffler": shuffler.get_state(),
    }


def restore_generators(states: dict[str, Any], shuffler: torch.Generator) -> None:
    """Restore the states that `generator_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():  # a run can move to another machine
        torch.cuda.set_rng_state_all(states["cuda"])
    shuffler.set_state(states["shuffler"])


def resume_settings(hparams: HParams, given: dict[str, Any]) -> tuple[HParams, Path]:
    """Settings and folder of the run to resume, with the flags that are `given` applied.

    Raises `UserError` if a flag would change what the run computes.
    """
    folder = find_run_to_resume(hparams.resume)
    saved = saved_settings(folder)
    resumed = replace_given(saved, given, make_parser(saved))
    # the one-cycle schedule is planned for a fixed number of epochs
    fixed = {"num_epochs"} if saved.lr_schedule == "onecycle" else set()
    for name, value in resumed.to_dict().items():
        if name not in CHANGEABLE - fixed and value != getattr(saved, name):
            raise UserError(
                f"--{name} {value}: the run {folder} has {getattr(saved, name)}, and a resumed run "
                "keeps its settings; leave the flag out, or start a new run without --resume"
            )
    return resumed, folder


def saved_settings(folder: Path) -> HParams:
    """The settings of a run: those in `last.pt`, or if there is none yet, in `hparams.json`."""
    path = folder / "last.pt"
    if not path.exists():
        hparams = HParams.from_dict(checkpoint.read_settings(folder))
        hparams.validate()
        return hparams
    hparams = checkpoint.read_hparams(checkpoint.load_checkpoint(path, sealed=True), path)
    try:
        same = checkpoint.read_settings(folder) == hparams.to_dict()
    except UserError:
        same = False
    if not same:
        print(f"*** {folder / 'hparams.json'} does not hold the settings of last.pt: those count")
    return hparams


def write_settings(folder: Path, hparams: HParams) -> None:
    """Write settings to `hparams.json`, and to `last.pt`, from which a resumed run takes them."""
    hparams, path = dataclasses.replace(hparams, resume=""), folder / "last.pt"
    if path.exists():
        last = checkpoint.load_checkpoint(path, sealed=True)
        if last["hparams"] != hparams.to_dict():
            checkpoint.save_checkpoint(path, **last | {"hparams": hparams.to_dict()})
    checkpoint.write_settings(folder, hparams)
