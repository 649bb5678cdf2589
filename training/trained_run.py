"""What `predict.py` and `retrieve.py` share: a trained run, and audio files in chunks for it.

The checkpoint alone is enough: settings, genres or tags, and normalization are in it. A file of up
to two minutes goes through the functions of extraction, so that what is predicted is what was
tested. A longer one is read, resampled and extracted part by part, in memory that does not grow
with it. No feature depends on more of a track than a few seconds around each row: its chunks are
the same.
"""

import argparse
import dataclasses
import sys

import numpy as np
import torch

from audio.chunks import track_chunks
from hparams import HParams, device_value
from model import UnknownModel, WrongInput, build_model, to_probabilities
from support.errors import UserError
from support.flags import unknown_flag
from training.checkpoint import fill_weights, find_weights, load_checkpoint
from training.device import find_device


class Run:
    """A trained model on a device, with all that its predictions take: its checkpoint, no more.

    Raises `UserError` where that is missing, damaged, or of other code than is here.
    """

    def __init__(self, weights, device=None):
        self.weights = weights
        parts = load_checkpoint(weights)
        self.hparams = read_hparams(parts, weights)
        self.mean, self.std, self.epoch = (parts[name] for name in ("mean", "std", "epoch"))
        self.device = choose_device(device)
        self.model = load_model(parts, self.hparams, weights).to(self.device).eval()

    def __str__(self):
        return f"{self.weights.parent} ({self.hparams.model}, weights of epoch {self.epoch})"

    def settings(self, whole=False):
        """Its settings; those that keep all of a track, if `whole`."""
        return dataclasses.replace(self.hparams, feature_length=0) if whole else self.hparams

    @torch.inference_mode()
    def compute(self, function, chunks):
        """`function` of chunks (n, frames, bins), normalized, with the precision of the run.

        Returns a tensor (n, ...), float32.
        """
        x = (chunks - np.float32(self.mean)) / np.float32(self.std)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.hparams.precision == "bf16"
        ):
            return function(torch.from_numpy(x).to(self.device)).float()

    def probabilities(self, chunks):
        """Probabilities of each chunk, float32: (n, frames, bins) to (n, classes)."""
        logits = self.compute(self.model, chunks)
        return to_probabilities(logits, self.hparams.task).cpu().numpy()

    def embed(self, chunks):
        """What the last layer sees of each chunk: (n, frames, bins) to (n, values), float32.

        Raises `UserError` where the model has no `embed`.
        """
        if not hasattr(self.model, "embed"):
            raise UserError(
                f"{self.hparams.model} of model.py has no embed: add `def embed(self, x)`, "
                "(batch, frames, bins) to what its last layer sees, (batch, values)"
            )
        return self.compute(self.model.embed, chunks).flatten(1).cpu().numpy()


def read_hparams(parts, path):
    """The settings among a checkpoint's parts. Raises `UserError` for those of other code."""
    try:
        hparams = HParams.from_dict(parts["hparams"])
        hparams.validate()
        float(parts["mean"]), float(parts["std"]), int(parts["epoch"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is no best.pt of this version ({type(error).__name__}: {error}): train again"
        ) from error
    except UserError as error:
        raise UserError(f"{path} is of another version ({error}): train again") from error
    return hparams


def load_model(parts, hparams, path):
    """The model that a checkpoint's parts are of, with its weights; `UserError` where not here."""
    try:
        model = build_model(hparams)
    except (UnknownModel, WrongInput) as error:
        raise UserError(f"{path} is of the model {hparams.model}: {error}") from error
    fill_weights(model, parts, path)
    return model


def choose_device(device):
    """The torch device that `--device` names; if it is None, the first GPU, or else the CPU."""
    if device is None:
        device = int(torch.cuda.is_available())
    dataclasses.replace(HParams(), device=device).validate()
    return find_device(device)


def make_parser(text):
    """A parser of the flags that using a run takes, whatever for."""
    parser = argparse.ArgumentParser(description=text, allow_abbrev=False)
    parser.add_argument("--run", help="folder of the run, or its best.pt [the newest in runs]")
    parser.add_argument(
        "--device", type=device_value, help="0: CPU, 1: first GPU ... [that GPU, else the CPU]"
    )
    return parser


def parse_flags(parser, argv):
    """What the flags of `argv` say. Ends with one message on a setting of the run, or no flag."""
    args, unknown = parser.parse_known_intermixed_args(mark_names(argv))
    if not unknown:
        return args
    flag = unknown[0].partition("=")[0]
    name = flag.removeprefix("--no-").removeprefix("--")
    if name in {f.name for f in dataclasses.fields(HParams)}:
        folder = find_weights(args.run).parent
        parser.error(f"{flag}: settings come from the run, {folder}; leave it out")
    parser.error(unknown_flag(flag, parser))


def mark_names(argv):
    """The words of `argv` without `--`: behind it a name such as -a.wav becomes ./-a.wav.

    argparse takes it for a flag all the same where no other file stands before `--`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--" not in words:
        return words
    place = words.index("--")
    names = words[place + 1 :]
    return words[:place] + [f"./{name}" if name.startswith("-") else name for name in names]


def unit(vector):
    """A vector scaled to length 1, float32; one of zeros stays as it is."""
    return (vector / max(np.linalg.norm(vector), 1e-12)).astype(np.float32)


def embed_chunks(batches, run):
    """The embedding (values,) of a track from batches of its chunks (n, frames, bins)."""
    total = sum(run.embed(chunks).sum(0, dtype=np.float64) for chunks in batches)
    if not np.isfinite(total).all():
        raise UserError("the model gives an embedding that is no number: train again")
    return unit(total)


def embed_track(path, run):
    """The embedding (values,) of a file. Raises `UserError` where it cannot be read."""
    return embed_chunks((chunks for chunks, _ in track_chunks(path, run.hparams)), run)
