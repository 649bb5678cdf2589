"""The files of a run folder: read and write its checkpoints, settings, history and report.

- `hparams.json`: the settings
- `history.csv`: loss and accuracy of each epoch
- `best.pt`: the best weights with settings and normalization, enough to predict, and a summary of
  the tracks
- `last.pt`: the same for the last epoch, with optimizer and random generators, to resume from
- `report.json`, `report.txt` and pictures

Checkpoints hold plain values and tensors: loading one runs no code. Each is a zip whose comment is
the hash of everything before it, so a file that changed in any bit is refused.
"""

import contextlib
import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hparams import HParams
from support.errors import UserError
from support.files import (
    explain_damage,
    hash_file,
    read_json,
    write_atomic,
    write_json,
    write_text,
)
from support.flags import command_line
from support.forms import check_form, is_count, is_number, is_share

History = list[dict[str, Any]]  # the rows of `history.csv`, with the keys of HISTORY
HISTORY = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc")
# what weights come from, if not from the run's own data alone
ORIGIN = {"run": str, "trained_on": str, "note": str}
PARTS = {  # the form of a checkpoint, without the weights and settings
    "mean": is_number,
    "std": lambda value: is_number(value) and value > 0,
    "epoch": is_count,
    "splits?": {str: {"names": str, "mean": is_number, "std": is_number}},
    # the network that a classifier of classic.py builds on
    "backbone?": {"model": dict, "hparams": dict},
    "origin?": ORIGIN,
    # the tracks that those weights have seen: for each data set hashes of their names
    "seen?": [{"dataset_path": str, "genres": [str], "train": str, "valid": str}],
    # how its logits become decisions; chosen on the valid split
    "decision?": {
        "temperature?": lambda value: is_number(value) and value > 0,
        "threshold?": is_share,  # from which on a tag counts; 0.5 otherwise
        "min_confidence?": is_share,
    },
}
TRACK = {"track": str, "probabilities": {str: is_share}}
REPORT: dict[str, Any] = {"num_tracks": is_count, "best_epoch?": is_count, "parameters?": is_count}
REPORT |= {
    "origin?": ORIGIN,
    "minutes?": is_number,
    "device?": str,
    "machine?": str,
    "chunk_accuracy?": is_share,
}
REPORT |= {"valid?": {"track_accuracy?": is_share, "chunk_accuracy?": is_share}}
REPORTS = {  # the forms of a report, by the key that tells them apart
    "per_genre": REPORT
    | {"per_genre": dict, "confusion_matrix": [[is_count]], "track_accuracy": is_share}
    | {"tracks": [TRACK | {"genre": str, "predicted": str}]},
    "per_tag": REPORT
    | {"per_tag": {str: {"roc_auc": is_share, "pr_auc": is_share, "tracks": is_count}}}
    | {"roc_auc": is_share, "pr_auc": is_share, "tracks": [TRACK | {"tags": [str]}]},
}


def save_checkpoint(path: Path, **parts: Any) -> None:
    """Write plain values and tensors to a file. A failure leaves the old file unchanged."""
    data = io.BytesIO()  # if torch wrote the file itself, it would hide why that failed
    torch.save(parts, data)
    zipped = data.getbuffer()[:-2]  # the last two bytes are the length of the comment: 0
    seal = hashlib.sha256(zipped).hexdigest().encode()
    size = len(seal).to_bytes(2, "little")
    write_atomic(path, lambda file: file.writelines([zipped, size, seal]))


def keep_decision(path: Path, parts: dict[str, Any], decision: dict[str, float]) -> None:
    """Write `best.pt` again, with its parts, if it does not hold this decision yet."""
    if parts.get("decision") != decision:
        save_checkpoint(path, **parts | {"decision": decision})


def load_checkpoint(path: Path, sealed: bool = False) -> dict[str, Any]:
    """Load a checkpoint without running any code in it.

    Parameters
    ----------
    path : Path
        A run's `best.pt` or `last.pt`.
    sealed : bool
        Whether to refuse a file without a hash, as older versions wrote them.

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
        with explain_damage(path, train_again(path.parent)):
            data = io.BytesIO(read_archive(path, sealed))
            try:
                parts = torch.load(data, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                raise UserError(
                    f"{path} holds more than plain values and tensors: it is not loaded; "
                    "copy it from its source again, or train again"
                ) from error
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run has not finished an epoch") from error
    if not isinstance(parts, dict) or not isinstance(parts.get("model"), dict):
        raise UserError(f"{path} is not a checkpoint of this project: it holds no weights")
    return parts


def read_archive(path: Path, sealed: bool) -> bytes:
    """Read a checkpoint's bytes. Raises an error if they are not those that were written."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members, seal = archive.infolist(), archive.comment
        if seal and seal != hashlib.sha256(data[: -2 - len(seal)]).hexdigest().encode():
            raise ValueError("its content has changed since it was written")
        if sealed and not seal:
            raise ValueError("it has no hash: an older version or another program wrote it")
        # a member named twice, or one that grows when unpacked, is not torch's
        if len({member.filename for member in members}) < len(members):
            raise ValueError("a part occurs twice")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("its parts are larger than the file")
        if not seal and (name := archive.testzip()):
            raise ValueError(f"the checksum of {name} is wrong")
    return data


def train_again(folder: Path) -> str:
    """Say what makes the checkpoints of a run again."""
    return (
        f"copy it from its source again, or delete {folder / 'last.pt'} and run "
        f"`{resume_command(folder)}`, which trains from the first epoch"
    )


def resume_command(folder: Path) -> str:
    """The command that continues an interrupted run."""
    return command_line("python", "train_test.py", "--resume", folder)


def read_hparams(parts: dict[str, Any], path: Path) -> HParams:
    """The settings in a checkpoint. Raises `UserError` if another version wrote them."""
    try:
        check_form(parts, PARTS)
        hparams = HParams.from_dict(parts["hparams"])
        hparams.validate()
    except UserError as error:
        raise UserError(f"{path} was written by another version ({error}): train again") from error
    except Exception as error:
        raise UserError(
            f"{path} is not a {path.name} of this version ({type(error).__name__}: {error}): "
            "train again"
        ) from error
    return hparams


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
        # for a model without memory, on the device "meta", this compares names and shapes alone
        on_meta = any(weight.is_meta for weight in model.parameters())
        model.load_state_dict(parts["model"], assign=on_meta)
    except Exception as error:  # a state of other code can have any form
        found = " ".join(str(error).split())  # torch writes one line per weight
        raise UserError(
            f"{path} holds the weights of another {type(model).__name__}: restore that class in "
            f"model.py, or train again ({found[:200]})"
        ) from error


def model_code() -> str:
    """Hash `model.py`: models with equal weights can differ, for example in pooling."""
    return hash_file(Path(__file__).parents[1] / "model.py")


def write_settings(folder: Path, hparams: HParams) -> None:
    """Write `hparams.json`, from which the run can be repeated."""
    write_json(folder / "hparams.json", hparams.to_dict() | {"resume": ""})


def read_settings(folder: Path) -> dict[str, Any]:
    """Read `hparams.json` of a run. Raises `UserError` if it is missing or damaged."""
    path = folder / "hparams.json"
    try:
        with explain_damage(path, "delete the run's folder, and train again"):
            return read_json(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {folder} is not a run") from error


def format_history(history: History) -> list[str]:
    """Return the lines of `history.csv`: names, then one row per epoch."""
    return [",".join(HISTORY), *(",".join(str(row[key]) for key in HISTORY) for row in history)]


def write_history(folder: Path, history: History) -> None:
    """Write `history.csv`."""
    write_text(folder / "history.csv", "".join(f"{line}\n" for line in format_history(history)))


def read_history(folder: Path) -> History:
    """Read the rows of `history.csv`; empty if it is missing.

    Raises `UserError` if it is damaged, or differs from the history in `last.pt`.
    """
    path, last = folder / "history.csv", folder / "last.pt"
    if not path.is_file():
        return []
    with explain_damage(path, f"run `{resume_command(folder)}`, which writes it again"):
        names, *rows = lines = path.read_text(encoding="utf-8").splitlines()
        if last.is_file():
            known = format_history(load_checkpoint(last)["history"])
            # before its end a run that was killed can lack the last row
            unended = [] if (folder / "report.json").exists() else [known[:-1]]
            if lines not in [known, *unended]:
                raise ValueError("last.pt has another history")
        history = [dict(zip(names.split(","), row.split(","), strict=True)) for row in rows]
        return [
            {key: float(row[key]) for key in HISTORY} | {"epoch": int(row["epoch"])}
            for row in history
        ]


def read_report(folder: Path) -> dict[str, Any] | None:
    """Read `report.json` of a run; None if it is missing. Raises `UserError` if it is damaged."""
    path = folder / "report.json"
    remedy = f"run `{resume_command(folder)}`, which writes it again"
    if not (folder / "last.pt").exists():
        remedy = "delete the run's folder, and run classic.py again"
    with contextlib.suppress(FileNotFoundError), explain_damage(path, remedy):
        report = read_json(path)
        check_form(report, next(form for key, form in REPORTS.items() if key in report))
        size = len(report.get("per_genre", ()))
        matrix = report.get("confusion_matrix", [])
        if [len(row) for row in matrix] != [size] * size or sum(map(sum, matrix)) == 0 < size:
            raise ValueError("the confusion matrix does not fit the genres")
        return report
    return None
