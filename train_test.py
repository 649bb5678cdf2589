"""Trains a model on extracted features and tests it.

    python train_test.py --dataset_path dataset/demo
    python train_test.py --dataset_path dataset/demo --model Baseline --seed 1
    python train_test.py --dataset_path dataset/demo --task tagging

The weights of the epoch with the lowest validation loss are tested, once, at the end. Everything
about the run is in its folder, and `--resume` goes on with one that was interrupted.
"""

import math
import platform
import random
import sys
import time

import numpy as np
import torch

from data_manager import get_dataloader, keep_on
from hparams import HParams
from model import to_probabilities
from support.errors import UserError, run_script
from tracks.catalog import count_skipped
from tracks.lists import SPLITS
from tracks.tags import choose_classes
from training.build import count_parameters, make_model
from training.checkpoint import (
    HISTORY,
    forget_report,
    load_weights,
    make_run_folder,
    resume_command,
    write_settings,
)
from training.device import device_name, find_device
from training.metrics import (
    average_by_track,
    find_one_sided,
    list_predictions,
    list_tag_predictions,
    score,
    score_tags,
)
from training.optimization import LOSSES, make_criterion, make_optimizer, make_scheduler
from training.progress import Scalars, label_epoch, progress, summary_writer
from training.resume import restore, resumed, save

FEW_STEPS = 5


def set_seed(seed):
    """Seed every generator, and have cuDNN compute the same way each time."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


class Runner:
    """A model, its loss and optimizer on a device; trains and evaluates over loaders.

    `loss` is that of evaluation; `criterion`, of training, is the same as the settings change it.
    """

    def __init__(self, hparams, train_loader=()):
        self.device = find_device(hparams.device)
        self.model = make_model(hparams).to(self.device)
        self.bf16 = hparams.precision == "bf16"
        self.task = hparams.task
        self.loss = LOSSES[self.task]
        self.criterion = make_criterion(train_loader, hparams).to(self.device)
        self.optimizer = make_optimizer(self.model, hparams)
        self.schedule = hparams.lr_schedule
        self.scheduler = make_scheduler(self.optimizer, len(train_loader), hparams)
        self.patience = hparams.patience
        self.best_loss = math.inf
        self.best_epoch = 0
        self.seconds = 0.0  # of training, those before it was resumed too

    def accuracy(self, source, target):
        """Share of logits (batch, classes) whose largest is the label (batch,): a 0-d tensor.

        Of tags the share of logits (batch, tags) on the label's side of 0, of probability 0.5.
        """
        if self.task == "tagging":
            return ((source > 0) == (target > 0.5)).float().mean()
        label = target if target.ndim == 1 else target.argmax(1)  # mixed ones: the larger share
        return (source.argmax(1) == label).float().mean()

    def logits(self, x):
        """The model's logits of a batch: float32, computed with the precision chosen."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model(x.to(self.device)).float()

    def run(self, dataloader, mode="train", label=""):
        """One pass, training where `mode` is 'train', else 'eval': mean loss and accuracy.

        In a terminal it shows a progress bar with a label.
        """
        if mode not in ("train", "eval"):
            raise ValueError(f"mode {mode!r} must be 'train' or 'eval'")
        training = mode == "train"
        self.model.train(training)
        criterion = self.criterion if training else self.loss
        totals = torch.zeros(2, device=self.device)
        with torch.inference_mode(not training):
            for x, y in progress(dataloader, label):
                prediction, y = self.logits(x), y.to(self.device)
                loss = criterion(prediction, y)
                if training:
                    self.step(loss)
                both = torch.stack([loss.detach(), self.accuracy(prediction.detach(), y)])
                totals += len(y) * both
        loss, accuracy = (totals / len(dataloader.dataset)).tolist()
        return loss, accuracy

    def step(self, loss):
        """One step of the optimizer down the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.schedule == "onecycle":
            self.scheduler.step()

    @torch.inference_mode()
    def predict(self, dataloader):
        """Probabilities of every chunk of a loader, in its order: float32 (chunks, classes)."""
        self.model.eval()
        logits = [self.logits(x) for x, _ in dataloader]
        return to_probabilities(torch.cat(logits), self.task).cpu().numpy()

    def early_stop(self, loss, epoch):
        """Take note of a validation loss; whether `patience` epochs have gone without a lower one.

        `best_epoch` is `epoch` afterwards where the loss is the lowest so far.
        """
        if self.schedule == "plateau":
            self.scheduler.step(loss)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
        return self.is_stale(epoch)

    def is_stale(self, epoch):
        """Whether `patience` epochs have gone by without a lower validation loss, after `epoch`."""
        return 0 < self.patience <= epoch - self.best_epoch


def print_sizes(runner, loaders, skipped, hparams):
    """Say what is trained on what; warn of too few steps an epoch to learn much, and no offsets."""
    for (split, lost), loader in zip(skipped.items(), loaders):
        note = f" ({lost} skipped as broken)" if lost else ""
        data = loader.dataset
        print(f"{split.capitalize()}: {len(data.names)} tracks{note}, {len(data)} chunks")
    print(f"Parameters: {count_parameters(runner.model):,}")
    steps = len(loaders[0])
    print(f"Steps per epoch: {steps}")
    if steps < FEW_STEPS:
        print(
            f"*** fewer than {FEW_STEPS} steps an epoch: little is learned in each; "
            "a smaller --batch_size gives more"
        )
    data = loaders[0].dataset
    if hparams.random_offset and len(data) == len(data.names):
        print(
            "*** --random_offset has no effect: each track is one chunk; "
            "a smaller --chunk_length, or a larger --feature_length, gives more"
        )


def train(runner, train_loader, valid_loader, folder, hparams):
    """Train to the last epoch or the early stop; returns the rows of `history.csv`.

    After each epoch `last.pt` holds all that the next epoch depends on (training goes on from it
    where it is there), and `best.pt` the weights with the lowest validation loss so far.
    """
    loaders = train_loader, valid_loader
    history = restore(runner, loaders, folder) if (folder / "last.pt").exists() else []
    if hparams.num_epochs < len(history):
        raise UserError(
            f"--num_epochs {hparams.num_epochs}: the run {folder} has {len(history)} epochs already"
        )
    write_settings(folder, hparams)
    forget_report(folder)
    scalars = Scalars(folder, history, hparams)
    while not finished(runner, history, hparams):
        began, epoch = time.monotonic(), len(history) + 1
        train_loader.dataset.begin_epoch(epoch)
        label = label_epoch(epoch, runner.seconds, hparams)
        train_loss, train_acc = runner.run(train_loader, "train", label)
        valid_loss, valid_acc = runner.run(valid_loader, "eval", f"{label}, valid")
        print(
            f"[Epoch {epoch}/{hparams.num_epochs}] [Train Loss: {train_loss:.4f}] "
            f"[Train Acc: {train_acc:.4f}] [Valid Loss: {valid_loss:.4f}] "
            f"[Valid Acc: {valid_acc:.4f}]",
            flush=True,
        )
        history.append(dict(zip(HISTORY, (epoch, train_loss, train_acc, valid_loss, valid_acc))))
        runner.early_stop(valid_loss, epoch)
        runner.seconds += time.monotonic() - began
        save(runner, loaders, folder, history, hparams)
        scalars.add(history[-1])
    if not runner.best_epoch:
        raise UserError("nothing was learned: no validation loss is a number; see above")
    return history


def finished(runner, history, hparams):
    """Whether training is over; says why, where that is not the number of epochs."""
    if not history:
        return False
    epoch, train_loss = history[-1]["epoch"], history[-1]["train_loss"]
    if not math.isfinite(train_loss):
        print(f"*** stopped: the training loss is {train_loss}; lower --learning_rate")
        return True
    if runner.is_stale(epoch):
        print(f"Early stop: no lower validation loss since epoch {runner.best_epoch}")
        return True
    if 0 < hparams.max_minutes <= runner.seconds / 60 and epoch < hparams.num_epochs:
        print(f"Stopped after {runner.seconds / 60:.1f} minutes, as --max_minutes says")
        if hparams.lr_schedule == "onecycle":
            print(f"*** onecycle would have ended at epoch {hparams.num_epochs}: pass fewer epochs")
        return True
    return epoch >= hparams.num_epochs


def test(runner, valid_loader, test_loader, folder, hparams, untaught=()):
    """Test the weights of `best.pt`; returns the report, with their scores on valid too.

    Tags that are `untaught` are left out of the scores.
    """
    load_weights(runner.model, folder / "best.pt")
    score_chunks, list_tracks, names = SCORES[hparams.task]
    classes = (hparams.classes, untaught) if hparams.task == "tagging" else (hparams.classes,)
    valid = score_chunks(*chunk_predictions(runner, valid_loader), *classes)
    chunks = chunk_predictions(runner, test_loader)
    return score_chunks(*chunks, *classes) | {
        "valid": {name: valid[name] for name in names},
        "best_epoch": runner.best_epoch,
        "parameters": count_parameters(runner.model),
        "minutes": runner.seconds / 60,
        "device": device_name(str(runner.device)),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "tracks": list_tracks(*chunks, test_loader.dataset.names, hparams.classes),
    }


SCORES = {  # by task: the scores of a split, the list of its tracks, and what is told of valid
    "genre": (score, list_predictions, ("chunk_accuracy", "track_accuracy")),
    "tagging": (score_tags, list_tag_predictions, ("chunk_accuracy", "roc_auc", "pr_auc")),
}


def check_tags(loaders, hparams):
    """Say which tags a split has to leave out; returns them, {split: {tag: why}}.

    What train cannot teach is left out of the scores of the others too. Raises `UserError` where
    that is all of them in the test split.
    """
    print(f"Tags: {len(hparams.tags)}")
    left_out, untaught = {}, {}
    for split, loader in zip(SPLITS, loaders):
        labels = average_by_track(loader.dataset.y.cpu().numpy(), loader.dataset.tracks)
        left_out[split] = untaught | find_one_sided(labels, hparams.tags)
        if found := left_out[split]:
            shown = ", ".join(f"{tag} ({why})" for tag, why in found.items())
            print(f"*** {split} leaves out {shown}")
        if split == "train":
            untaught = {tag: why.replace("track", "train track") for tag, why in found.items()}
    if len(left_out["test"]) == len(hparams.tags):
        raise UserError(
            "no tag could be scored: every track of test, or of train, has it, or none; "
            "pass other --tags, or add tracks to the lists"
        )
    return left_out


def chunk_predictions(runner, loader):
    """Probabilities (chunks, classes), labels and owners (chunks,) of a loader's chunks."""
    return runner.predict(loader), loader.dataset.y.cpu().numpy(), loader.dataset.tracks


def main(argv=None):
    """Train, test and report."""
    unread = ("copies", "comparison")
    hparams, folder = HParams().parse_argument(argv, unread), None
    if hparams.resume:
        folder, hparams = resumed(hparams, argv)
    hparams = choose_classes(hparams)
    if hparams.tensorboard:
        summary_writer()  # tell of a missing package before anything is written
    set_seed(hparams.seed)
    loaders = train_loader, valid_loader, test_loader = get_dataloader(hparams)
    runner = Runner(hparams, train_loader)
    for loader in loaders:
        keep_on(runner.device, loader)
    skipped = count_skipped([len(loader.dataset.names) for loader in loaders], hparams)
    print_sizes(runner, loaders, skipped, hparams)
    told, untaught = {"skipped": skipped}, ()
    if hparams.task == "tagging":
        told["left_out"] = check_tags(loaders, hparams)
        untaught = told["left_out"]["train"]
    folder = folder or make_run_folder(hparams)
    print("Training on " + device_name(str(runner.device)))
    try:
        history = train(runner, train_loader, valid_loader, folder, hparams)
    except KeyboardInterrupt:
        print(f"to go on: {resume_command(folder)}", file=sys.stderr)
        raise
    report = test(runner, valid_loader, test_loader, folder, hparams, untaught) | told
    print("Training Finished")

    from training.report import (
        write_report,  # matplotlib takes a second to load: not before training
    )

    print(write_report(folder, report, history))
    print(f"Run folder: {folder}")


if __name__ == "__main__":
    run_script(main)
