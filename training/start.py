"""What a run with `--init_from` starts from: weights, normalization, and their origin."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from hparams import HParams
from support.errors import UserError
from tracks.catalog import Catalog, hash_names
from tracks.lists import genre_of
from training.build import is_network, last_layer, last_module
from training.checkpoint import fill_weights, load_checkpoint, read_hparams
from training.runs import named_weights
from training.trained_run import TrainedRun

CHOOSING = ("train", "valid")  # the splits that choose weights


class Start(NamedTuple):
    """A checkpoint to start from: `best.pt` of another run, or `last.pt` of the run itself."""

    path: Path
    parts: dict[str, Any]
    hparams: HParams
    origin: dict[str, str]  # where the weights come from, as in checkpoints and reports
    resumes: bool = False  # whether a run continues from its own checkpoint

    @property
    def normalization(self) -> tuple[float, float]:
        """Mean and deviation that become 0 and 1."""
        return self.parts["mean"], self.parts["std"]

    @property
    def seen(self) -> list[dict[str, Any]]:
        """The tracks that chose its weights, and those before them, as checkpoints keep it."""
        earlier, splits = self.parts.get("seen", []), self.parts.get("splits")
        # pretrained.py trains on no data set here
        if self.resumes or (splits is None and "origin" in self.parts):
            return earlier
        hashes = {split: splits[split]["names"] if splits else "" for split in CHOOSING}
        where = {"dataset_path": self.hparams.dataset_path, "genres": self.hparams.genres}
        return [*earlier, where | hashes]

    def freezes(self, hparams: HParams) -> bool:
        """Whether the next epoch of a run trains the last layer alone."""
        epochs = self.parts["epoch"] if self.resumes else 0
        return hparams.freeze or epochs < hparams.freeze_epochs

    def frozen(self, hparams: HParams) -> TrainedRun | None:
        """The network whose embeddings the next epoch is trained on, if there is one."""
        if not self.freezes(hparams):
            return None
        # None is the first GPU or the CPU, as 1 is, but without a warning; the runner gives that
        run = TrainedRun(self.path, None if hparams.device == 1 else hparams.device)
        run.hparams = dataclasses.replace(run.hparams, precision=hparams.precision)
        return run

    def begin(self, network: nn.Module, hparams: HParams) -> nn.Module:
        """Give a new network its weights; return the part of it to train."""
        if not self.resumes:
            take_weights(network, self, hparams)
        return last_module(network, hparams) if self.freezes(hparams) else network


def read_start(hparams: HParams, folder: Path | None = None) -> Start | None:
    """The checkpoint that a run starts from, None without `init_from`.

    A run with a `last.pt` in its folder continues from that, and needs no other run. Raises
    `UserError` if the run is missing or damaged, if its model is not a class in model.py, or if
    `embedding` is set, which is for classic.py.
    """
    if not hparams.init_from:
        return None
    if hparams.embedding != HParams().embedding:  # the input of the last layer
        raise UserError(f"--embedding {hparams.embedding}: is for classic.py; leave it out")
    if not folder or not (path := folder / "last.pt").exists():
        return read_source(hparams.init_from)
    parts = load_checkpoint(path, sealed=True)
    return Start(path, parts, read_hparams(parts, path), parts.get("origin", {}), resumes=True)


def read_source(run: str) -> Start:
    """The run to start from, by folder, file or name. Raises the errors of `read_start`."""
    path = named_weights(run)
    parts = load_checkpoint(path)
    hparams = read_hparams(parts, path)
    if not is_network(hparams.model):
        raise UserError(
            f"--init_from {run}: its model, {hparams.model}, is not a class in model.py, so it has "
            "no weights to start from; name a run of train_test.py, or a pretrained one"
        )
    origin = {"trained_on": hparams.dataset_path, "note": ""} | parts.get("origin", {})
    return Start(path, parts, hparams, origin | {"run": path.resolve().parent.name})


def take_weights(network: nn.Module, start: Start, hparams: HParams) -> None:
    """Copy all weights but the last layer's into a new network; print what was taken.

    Raises `UserError` if they do not fit.
    """
    new, own = last_layer(hparams), network.state_dict()
    taken = {name: value for name, value in start.parts["model"].items() if name not in new}
    fill_weights(network, {"model": {name: own[name] for name in new} | taken}, start.path)
    print(
        f"Weights from {start.path.parent} (trained on {start.origin['trained_on']}): "
        f"{len(taken)} tensors taken, new: {', '.join(name for name in own if name in new)}"
    )


def check_unseen(source: Start, catalog: Catalog) -> None:
    """Raise `UserError` if another run, or one before it, can have seen today's test tracks."""
    place = catalog.hparams.data_place()
    for each, split in itertools.product(source.seen, CHOOSING):
        if HParams(dataset_path=each["dataset_path"]).data_place() != place:
            continue
        names = [n for n in catalog.used(catalog.every[split]) if genre_of(n) in each["genres"]]
        if hash_names(names) != each[split]:
            raise UserError(
                f"--init_from {source.path.parent}: its {split} tracks are not those that "
                f"{each['dataset_path']} lists now, so some can be test tracks now; restore the "
                "lists that it was trained with, or train it again with today's"
            )
