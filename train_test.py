"""Train a model on extracted features and test it.

    python train_test.py --dataset_path dataset/demo
    python train_test.py --dataset_path dataset/demo --model Baseline --seed 1
    python train_test.py --dataset_path dataset/demo --task tagging

The weights of the epoch with the lowest validation loss, or those that the one-cycle schedule ends
with, are tested once, at the end. The run folder holds the settings, weights, scores and pictures.
`--resume` continues an interrupted run.
"""

# mypy: disable-error-code="attr-defined, arg-type"
# torch's type for data sets lacks the attributes of `GTZANDataset`

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import dataclasses
import math
import platform
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from data_manager import get_dataloader, keep_on
from hparams import HParams
from support.errors import UserError, run_script
from support.flags import given_flags, make_parser, replace_given
from tracks.catalog import Catalog, read_catalog
from tracks.lists import SPLITS
from training import checkpoint
from training.build import count_parameters, make_model
from training.calibration import Chunks, assess, fit_decision
from training.check_data import check_data
from training.checkpoint import History
from training.device import device_name, find_device, machine_name
from training.optimization import is_best, make_optimizer, make_scheduler
from training.progress import Scalars, label_epoch, progress, summary_writer
from training.report import delete_report, write_report
from training.resume import restore_epoch, resume_settings, save_epoch, write_settings
from training.robustness import check_audio, measure_robustness
from training.runs import advise_epochs, format_runs, open_run
from training.start import Start, check_unseen, read_start
from training.tasks import TASKS
from training.transfer import inherit, inherited

Loaders = Sequence[DataLoader]  # in the order of SPLITS; without test while training


class FinishedRun(NamedTuple):
    """A run that was trained and tested: its folder, and its report."""

    folder: Path
    report: dict[str, Any]


def set_seed(seed: int) -> None:
    """Seed every random generator, and make cuDNN deterministic."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


class Runner:
    """A model on a device with its loss and optimizer: trains and evaluates over loaders.

    Parameters
    ----------
    hparams : HParams
        Settings, with `genres` (or `tags`) filled in, as `read_catalog(hparams).hparams` has them.
    train_loader : DataLoader, optional
        Loader of the train split. Class weights and the one-cycle schedule need it.
    start : Start, optional
        What it begins with instead of random weights, from `read_start(hparams)`.

    Raises
    ------
    UserError
        If genres (or tags) are unset, if the model does not exist or does not fit its input, or if
        the device is missing.

    Examples
    --------
    >>> runner = Runner(HParams(genres=["jazz", "pop"], device=0))
    >>> runner.logits(torch.zeros(3, 128, 128)).shape  # (batch, frames, bins) -> (batch, genres)
    torch.Size([3, 2])
    """

    def __init__(
        self,
        hparams: HParams,
        train_loader: DataLoader | None = None,
        start: Start | None = None,
    ) -> None:
        labels = train_loader.dataset.y if train_loader and hparams.class_weights else None
        steps = len(train_loader) if train_loader else 0
        self.hparams = hparams
        self.task = TASKS[hparams.task]
        self.device = find_device(hparams.device)
        self.model = make_model(hparams).to(self.device)
        # what is trained and is given batches: with --freeze the last layer, given embeddings
        self.trained = start.begin(self.model, hparams) if start else self.model
        # parts of its checkpoints that say what the weights come from
        self.sources = {"origin": start.origin, "seen": start.seen} if start else {}
        # the loss of training; evaluation takes `task.loss`, without smoothing and class weights
        self.criterion = self.task.criterion(labels, hparams).to(self.device)
        self.optimizer = make_optimizer(self.model, hparams)
        self.scheduler = make_scheduler(self.optimizer, steps, hparams)
        self.best_loss, self.best_epoch = math.inf, 0  # validation loss; 0: none yet
        self.seconds = 0.0  # training time, including the time before a run was resumed

    def accuracy(self, source: Tensor, target: Tensor) -> Tensor:
        """Share of correct answers in a batch of logits (batch, classes), as a 0-d tensor.

        Labels are (batch,), or (batch, classes) for tags and after mixup.
        """
        return self.task.accuracy(source, target)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of a batch, float32, computed with the precision of the settings."""
        bf16 = self.hparams.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.trained(x.to(self.device)).float()

    def run(
        self, dataloader: DataLoader, mode: str = "train", label: str = ""
    ) -> tuple[float, float]:
        """Pass over a loader once and return mean loss and accuracy; train if `mode` is 'train'.

        The other mode is 'eval'. A terminal shows a progress bar with `label`.
        """
        if mode not in ("train", "eval"):
            raise ValueError(f"mode {mode!r} must be 'train' or 'eval'")
        training = mode == "train"
        self.trained.train(training)
        criterion = self.criterion if training else self.task.loss
        totals = torch.zeros(2, device=self.device)  # reading it after each batch would wait
        with torch.inference_mode(not training):
            for x, y in progress(dataloader, label):
                prediction, y = self.logits(x), y.to(self.device)
                loss = criterion(prediction, y)
                if training:
                    self.step(loss)
                both = torch.stack([loss.detach(), self.accuracy(prediction.detach(), y)])
                totals += len(y) * both  # means over chunks: batches can differ in size
        loss, accuracy = (totals / len(dataloader.dataset)).tolist()
        return loss, accuracy

    def step(self, loss: Tensor) -> None:
        """Take one step of the optimizer down the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if isinstance(self.scheduler, OneCycleLR):
            self.scheduler.step()

    @torch.inference_mode()
    def predict_chunks(self, dataloader: DataLoader) -> Chunks:
        """The logits of the model for the chunks of a loader, in its order, and their labels."""
        self.model.eval()
        logits = torch.cat([self.logits(x) for x, _ in dataloader]).cpu()
        return Chunks(logits, dataloader.dataset.y.cpu().numpy(), dataloader.dataset.tracks)

    def predict(self, dataloader: DataLoader) -> NDArray:
        """Probabilities for every chunk of a loader, in its order: float32 (chunks, classes)."""
        return self.predict_chunks(dataloader).probabilities(self.task)[0]

    def early_stop(self, loss: float, epoch: int) -> bool:
        """Record the validation loss of an epoch; return whether patience is exhausted."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        if is_best(loss, epoch, self.best_loss, self.hparams):
            self.best_loss, self.best_epoch = loss, epoch
        return self.out_of_patience(epoch)

    def out_of_patience(self, epoch: int) -> bool:
        """Whether `patience` epochs up to `epoch` had no lower validation loss (0: never)."""
        since = max(self.best_epoch, self.hparams.freeze_epochs)  # thawing comes before an end
        return 0 < self.hparams.patience <= epoch - since

    @property
    def frozen(self) -> bool:
        """Whether only the last layer is trained, on embeddings."""
        return self.trained is not self.model


def train(runner: Runner, loaders: Loaders, folder: Path) -> History:
    """Train until the last epoch or an early stop; return the rows of `history.csv`.

    `loaders` are for train and valid. Training continues from `last.pt` if the folder has one.
    Raises `UserError` if the run has more epochs already, or if no validation loss was finite.
    """
    hparams = runner.hparams
    history = restore_epoch(runner, loaders, folder) if (folder / "last.pt").exists() else []
    if hparams.num_epochs < len(history):
        raise UserError(
            f"--num_epochs {hparams.num_epochs}: the run {folder} has {len(history)} epochs already"
        )
    write_settings(folder, hparams)
    delete_report(folder)
    scalars = Scalars(folder, history, hparams)
    while not finished(runner, history):
        began = time.monotonic()
        history.append(train_epoch(runner, loaders, len(history) + 1))
        runner.seconds += time.monotonic() - began
        save_epoch(runner, loaders, folder, history)
        scalars.add(history[-1])
    if not runner.best_epoch:
        raise UserError("nothing was learned: no validation loss was finite; see above")
    return history


def train_epoch(runner: Runner, loaders: Loaders, epoch: int) -> dict[str, Any]:
    """Train for one epoch and evaluate it; print and return its row of `history.csv`."""
    train_loader, valid_loader = loaders
    train_loader.dataset.begin_epoch(epoch)
    label = label_epoch(epoch, runner.seconds, runner.hparams)
    train_loss, train_acc = runner.run(train_loader, "train", label)
    valid_loss, valid_acc = runner.run(valid_loader, "eval", f"{label}, valid")
    print(
        f"[Epoch {epoch}/{runner.hparams.num_epochs}] [Train Loss: {train_loss:.4f}] [Train Acc: "
        f"{train_acc:.4f}] [Valid Loss: {valid_loss:.4f}] [Valid Acc: {valid_acc:.4f}]",
        flush=True,
    )
    runner.early_stop(valid_loss, epoch)
    return dict(zip(checkpoint.HISTORY, (epoch, train_loss, train_acc, valid_loss, valid_acc)))


def finished(runner: Runner, history: History) -> bool:
    """Whether training is over; prints the reason if it ends before the last epoch."""
    hparams = runner.hparams
    if not history:
        return False
    if (
        runner.frozen and len(history) == hparams.freeze_epochs
    ):  # freeze_epochs 0 trains the last layer alone to the end
        return True
    epoch, train_loss = history[-1]["epoch"], history[-1]["train_loss"]
    if not math.isfinite(train_loss):
        print(f"*** stopped: the training loss is {train_loss}; lower --learning_rate")
        return True
    if runner.out_of_patience(epoch):
        print(f"Early stop: no lower validation loss since epoch {runner.best_epoch}")
        return True
    if 0 < hparams.max_minutes <= runner.seconds / 60 and epoch < hparams.num_epochs:
        print(f"Stopped after {runner.seconds / 60:.1f} minutes: --max_minutes is reached")
        if hparams.lr_schedule == "onecycle":
            print(f"*** onecycle would have ended at epoch {hparams.num_epochs}: pass fewer epochs")
        return True
    return epoch >= hparams.num_epochs


def evaluate_best(
    runner: Runner, loaders: Loaders, folder: Path, findings: dict[str, Any]
) -> dict[str, Any]:
    """Test the weights in `best.pt`; return the report, with scores on valid too.

    `best.pt` keeps the decision that is fitted on valid. `loaders` are for valid and test;
    `findings`, from `check_data`, become part of the report.
    """
    path, task, classes = folder / "best.pt", runner.task, runner.hparams.classes
    parts = checkpoint.load_weights(runner.model, path)
    splits = {n: runner.predict_chunks(loader) for n, loader in zip(SPLITS[1:], loaders)}
    decision = fit_decision(splits["valid"], task)
    checkpoint.keep_decision(path, parts, decision)
    valid, test = (split.probabilities(task) for split in splits.values())
    tracks = splits["test"].listed(decision["temperature"], task)
    not_learned = findings.get("left_out", {}).get("train", ())  # tags without a score on any split
    valid_scores = task.score(*valid, classes, not_learned)
    return task.score(*test, classes, not_learned) | {
        "valid": {name: valid_scores[name] for name in task.valid_scores},
        "decision": decision,
        "calibration": {name: assess(split, decision, task) for name, split in splits.items()},
        "best_epoch": runner.best_epoch,
        "parameters": count_parameters(runner.model),
        "minutes": runner.seconds / 60,
        "device": device_name(str(runner.device)),
        "machine": machine_name(runner.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "tracks": task.list_tracks(*tracks, loaders[1].dataset.names, classes),
        **findings,
    }


def prepare(catalog: Catalog, folder: Path | None) -> tuple[Runner, Loaders]:
    """The runner and the loaders of a run that starts, or continues from `last.pt` in its folder.

    Raises `UserError` if the run to start from may have seen test tracks, or cannot be used.
    """
    hparams = catalog.hparams
    if start := read_start(hparams, folder):
        check_unseen(start, catalog)
    loaders = get_dataloader(hparams, catalog, start)
    runner = Runner(hparams, loaders[0], start)
    for loader in loaders:
        keep_on(runner.device, loader)
    return runner, loaders


def train_run(
    hparams: HParams, folder: Path | None = None, robustness: bool = False
) -> FinishedRun:
    """Train on a data set whose features are extracted, test, and write the run folder.

    Parameters
    ----------
    hparams : HParams
        The settings; unset genres (or tags) are filled in from the data set.
    folder : Path, optional
        The folder of an interrupted run to continue; by default `hparams.run_path`, or a new one.
    robustness : bool
        Whether to test degraded audio too: MP3, noise, a room and others.

    Returns
    -------
    FinishedRun
        Its `folder`, and its `report` as in `report.json`.

    Raises
    ------
    UserError
        If settings, data set or features cannot be used, or if nothing was learned.
    """
    return train_and_test(hparams if folder else inherit(hparams), folder, robustness)


def train_and_test(hparams: HParams, folder: Path | None, robustness: bool) -> FinishedRun:
    """Do what `train_run` does, with settings that include those of the run to start from."""
    hparams.validate()
    catalog = read_catalog(hparams)
    hparams = catalog.hparams
    if robustness:
        check_audio(catalog)
    if hparams.tensorboard:
        summary_writer()  # a missing package ends the run before anything is written
    set_seed(hparams.seed)
    runner, loaders = prepare(catalog, folder)
    findings = check_data(runner, loaders, catalog.skipped)
    print("Training on " + device_name(str(runner.device)))
    with open_run(hparams, folder) as folder:
        try:
            history = train(runner, loaders[:2], folder)
            if runner.frozen and len(history) == hparams.freeze_epochs:
                print(f"The whole model is trained from epoch {len(history) + 1} on")
                runner, loaders = prepare(catalog, folder)
                history = train(runner, loaders[:2], folder)
        except KeyboardInterrupt:
            print(f"to continue: {checkpoint.resume_command(folder)}", file=sys.stderr)
            raise
        report = evaluate_best(runner, loaders[1:], folder, findings)
        if robustness:
            report["robustness"] = measure_robustness(folder, runner.device, catalog, report)
        print("Training Finished")
        print(write_report(folder, report, history))
    if advice := advise_epochs(folder, hparams.to_dict(), report, history):
        print(advice)
    print(f"Run folder: {folder}")
    return FinishedRun(folder, report)


def parse(argv: list[str] | None) -> tuple[HParams, dict[str, Any]]:
    """Read the flags; return the settings, and the values of the flags that are given."""
    parser = make_parser(HParams())
    parser.add_argument("--runs", action="store_true", help="print a table of the runs in runs")
    text = "also test degraded audio: MP3, noise, a room and so on; works with --resume too"
    parser.add_argument("--robustness", action="store_true", help=text)
    given = given_flags(parser, argv)
    # a resumed run has its settings, and needs no other run
    start = {} if given.get("resume") else inherited(given)
    return replace_given(dataclasses.replace(HParams(), **start), given, parser), given


def main(argv: list[str] | None = None) -> None:
    """Train, test and report; with `--runs` print the table of runs instead."""
    (hparams, given), folder = parse(argv), None
    if given["runs"]:
        print(format_runs())
        return
    if hparams.resume:
        hparams, folder = resume_settings(hparams, given)
    train_and_test(hparams, folder, given["robustness"])


if __name__ == "__main__":
    run_script(main)
