"""Load a trained run and apply it to audio: probabilities and embeddings.

`best.pt` alone is enough: it holds weights, settings and normalization. Features come from the same
functions as in extraction, so a file is predicted exactly as a test track.
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio.chunks import track_chunks
from hparams import HParams, device_value
from model import UnknownModel, WrongInput, build_model
from support.errors import UserError, visible
from support.files import explain_damage
from support.flags import parse_flags
from tracks.likeness import distance
from training.checkpoint import fill_weights, load_checkpoint, read_hparams
from training.classical import KINDS, find_logits, summarize
from training.device import find_device
from training.runs import Run, choose_run, list_runs, named_weights
from training.tasks import TASKS


class TrainedRun:
    """A trained model on a device, with the settings and the normalization of its run.

    A run of `classic.py` has a classifier of whole tracks, perhaps of a network's embeddings.

    Parameters
    ----------
    weights : str or Path
        The run's `best.pt`; `training.runs.find_weights` finds the newest.
    device : int or str, optional
        0: CPU, 1: first GPU ...; by default the first GPU if there is one, otherwise the CPU.
    min_confidence : float, optional
        The probability of its best genre below which a track is unsure; by default the run's own.

    Raises
    ------
    UserError
        If the file is missing or damaged, or if it does not fit this version's code.

    Examples
    --------
    >>> run = TrainedRun("runs/one/best.pt", device=0)
    >>> chunks = np.zeros((2, run.hparams.chunk_length, run.hparams.num_bins), dtype=np.float32)
    >>> run.probabilities(chunks).shape == (2, len(run.hparams.classes))
    True
    """

    def __init__(
        self,
        weights: str | Path,
        device: int | str | None = None,
        min_confidence: float | None = None,
    ) -> None:
        self.weights = Path(weights)
        parts = load_checkpoint(self.weights)
        self.hparams = read_hparams(parts, self.weights)
        self.task = TASKS[self.hparams.task]
        self.mean, self.std, self.epoch = (parts[name] for name in ("mean", "std", "epoch"))
        decision = parts.get("decision", {})  # older versions have none
        self.temperature = decision.get("temperature", 1.0)
        self.threshold = decision.get("threshold", 0.5)  # from which on a tag counts
        self.min_confidence = decision.get("min_confidence", 0.0)
        if min_confidence is not None:
            if not self.task.one_answer:
                raise UserError(
                    f"--min_confidence {min_confidence:g}: {self.weights.parent} says yes or no to "
                    "each tag, and is never unsure; leave it out"
                )
            self.min_confidence = min_confidence
        with explain_damage(self.weights, "train again"):
            self.train = dict((parts.get("splits") or {}).get("train", {}))  # older versions: empty
            self.is_unlike(np.zeros(2))
        if device is None:
            device = int(torch.cuda.is_available())
        HParams(device=device).validate()  # the rule for --device is there
        self.device = find_device(device)
        # None: a classifier of frames has no network
        self.model: Any = self.load_network(parts)
        if self.is_classical:
            rows = self.hparams.chunk_length if self.model else 1
            with explain_damage(self.weights, "run classic.py again"):
                self.arrays = {name: values.numpy() for name, values in parts["model"].items()}
                self.predict([(np.zeros((1, rows, self.hparams.num_bins), np.float32), 1)])

    @property
    def is_classical(self) -> bool:
        """Whether it is a run of `classic.py`, which classifies whole tracks, not chunks."""
        return self.hparams.model in KINDS

    def load_network(self, parts: dict[str, Any]) -> torch.nn.Module | None:
        """The network of a checkpoint, or the one whose embeddings a classifier takes, if any."""
        if self.is_classical and "backbone" not in parts:
            return None
        parts = parts | parts.get("backbone", {})
        hparams = read_hparams(parts, self.weights)
        return load_model(parts, hparams, self.weights).to(self.device).eval()

    def __str__(self) -> str:
        data, task, model = self.hparams.dataset_path, self.hparams.task, self.hparams.model
        folder = self.weights.parent
        epoch = f"weights of epoch {self.epoch}" if self.epoch else ""
        words = [data, task, model, epoch, Run(folder).score]
        return visible(f"{folder} ({', '.join(filter(None, words))})")

    def is_unlike(self, level: NDArray) -> bool:
        """Whether a track with this level (2,) is unlike those that the run was trained on."""
        spread = self.train.get("spread")
        return bool(spread and distance(level, spread) > spread["limit"])

    def settings(self, whole: bool = False) -> HParams:
        """The run's settings; with `whole`, tracks are not cropped to `feature_length`."""
        return dataclasses.replace(self.hparams, feature_length=0) if whole else self.hparams

    @torch.inference_mode()
    def compute(
        self, function: Callable[[torch.Tensor], torch.Tensor], chunks: NDArray
    ) -> torch.Tensor:
        """Normalize chunks (n, frames, bins) and pass them to `function`, in the run's precision.

        Returns a float32 tensor (n, ...).
        """
        x = (chunks - np.float32(self.mean)) / np.float32(self.std)
        bf16 = self.hparams.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return function(torch.from_numpy(x).to(self.device)).float()

    def probabilities(self, chunks: NDArray) -> NDArray:
        """Predict probabilities (n, classes), float32: for genres, each row sums to 1.

        `chunks` (n, chunk_length, bins) are as `track_chunks` yields them, not normalized. Raises
        `UserError` for a run of `classic.py`.
        """
        self.check_chunks()
        return self.decide(self.compute(self.model, chunks))

    def decide(self, logits: torch.Tensor) -> NDArray:
        """Turn logits into probabilities of the same shape, (n, classes)."""
        return self.task.probabilities(logits).cpu().numpy()

    def temper(self, shares: NDArray) -> NDArray:
        """Apply the run's temperature, fitted on valid, to probabilities (..., classes)."""
        return self.task.temper(shares.astype(np.float64), self.temperature)

    def predicted(self, probabilities: NDArray) -> tuple[int, ...]:
        """The indices of the classes that probabilities (classes,) predict."""
        return self.task.predicted(probabilities, self.threshold)

    def is_unsure(self, probabilities: NDArray) -> bool:
        """Whether a track's best class is less probable than the run needs to be sure."""
        return bool(probabilities.max() < self.min_confidence)

    def check_chunks(self) -> None:
        """Raise `UserError` if the run can only classify whole tracks."""
        if self.is_classical:
            raise UserError(
                f"{self.weights.parent}: its {self.hparams.model} classifies whole tracks, not "
                "parts of them; leave out --timeline, or name a run of train_test.py"
            )

    def predict(self, batches: Iterable[tuple[NDArray, int]]) -> NDArray:
        """Predict the probabilities of each chunk of a track: (chunks, classes).

        `batches` are those of `track_chunks`: chunks, and how many of their rows are real. A run of
        `classic.py` gives each chunk the probabilities of the whole track.
        """
        if not self.is_classical:
            return np.concatenate([self.probabilities(chunks) for chunks, _ in batches])
        counts: list[int] = []

        def rows() -> Iterator[NDArray]:
            for chunks, real in batches:
                counts.append(len(chunks))
                if self.model:
                    yield self.embed(chunks)
                else:  # (n, chunk_length, bins) -> (rows, bins), without padding
                    yield chunks.reshape(-1, self.hparams.num_bins)[:real]

        x = summarize(rows(), self.arrays)[None]  # (1, values)
        classes = len(self.hparams.classes)
        logits = torch.from_numpy(find_logits(self.hparams.model, self.arrays, x, classes))
        return np.repeat(self.decide(logits), sum(counts), axis=0)

    def embed(self, chunks: NDArray) -> NDArray:
        """Embed chunks, not normalized either, by the method that the run's settings name.

        Returns float32 (n, values). `embed` gives the input of the model's last layer.
        Raises `UserError` if the model has no such method, or if there is no network.
        """
        if self.model is None:
            raise UserError(
                f"{self.weights.parent}: its {self.hparams.model} has no network to embed with; "
                "name a run of train_test.py, or make one with `python classic.py --init_from RUN`"
            )
        name, model = self.hparams.embedding, type(self.model).__name__
        embed = getattr(self.model, name, None)
        if embed is None and name != HParams().embedding:
            raise UserError(f"--embedding {name}: {model} of model.py has no such method")
        if embed is None:
            raise UserError(
                f"{model} of model.py has no embed: add `def embed(self, x)`, which turns "
                "(batch, frames, bins) into the input of the last layer, (batch, values)"
            )
        # the input of the last layer can have more axes: (n, ...) -> (n, values)
        return self.compute(embed, chunks).flatten(1).cpu().numpy()


def load_model(parts: dict[str, Any], hparams: HParams, path: Path) -> torch.nn.Module:
    """The model of a checkpoint with its weights. Raises `UserError` if model.py lacks it."""
    try:
        # on "meta", where tensors take no memory; some constructors need their tensors' values
        with contextlib.suppress(NotImplementedError, RuntimeError), torch.device("meta"):
            fill_weights(build_model(hparams), parts, path)
        model = build_model(hparams)
    except (UnknownModel, WrongInput) as error:
        raise UserError(f"{path} needs the model {hparams.model}: {error}") from error
    fill_weights(model, parts, path)
    return model


def run_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the flags that all scripts for trained runs share."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    text = "folder of the run, its best.pt, or a pretrained model [the newest finished run in runs]"
    parser.add_argument("--run", help=text)
    parser.add_argument(
        "--device",
        type=device_value,
        help="0: CPU, 1: first GPU ... [the first GPU, otherwise the CPU]",
    )
    return parser


def parse_run_flags(
    parser: argparse.ArgumentParser, argv: list[str] | None = None
) -> argparse.Namespace:
    """Parse `argv`; exit with one message on an unknown flag or a setting of the run."""

    def refuse(flag: str, args: argparse.Namespace) -> str:
        name = flag.removeprefix("--no-").removeprefix("--")  # --no-skip_broken is skip_broken
        if name not in {field.name for field in dataclasses.fields(HParams)}:
            return ""
        weights = named_weights(args.run) if args.run else choose_run(list_runs()).weights
        return f"{flag}: settings come from the run, {weights.parent}; leave it out"

    return parse_flags(parser, argv, refuse)


def to_unit_length(vector: NDArray) -> NDArray:
    """Scale a vector to length 1, float32; a vector of zeros is unchanged."""
    return (vector / max(np.linalg.norm(vector), 1e-12)).astype(np.float32)


def embed_chunks(batches: Iterable[NDArray], run: TrainedRun) -> NDArray:
    """Embed a track, (values,), given batches of its chunks (n, chunk_length, bins)."""
    total = sum(run.embed(chunks).sum(0, dtype=np.float64) for chunks in batches)
    if not np.isfinite(total).all():
        raise UserError("the model's embedding is not finite: train again")
    return to_unit_length(total)  # the sum points the same way as the mean over the chunks


def embed_track(path: str | Path, run: TrainedRun) -> NDArray:
    """Embed an audio file.

    Parameters
    ----------
    path : str or Path
        Any format that libsndfile reads.
    run : TrainedRun
        Its settings decide how much of the track is embedded.

    Returns
    -------
    NDArray, float32, (values,)
        Length 1: the dot product of two embeddings is their cosine.

    Raises
    ------
    UserError
        If the file cannot be read, or if the model has no method `embed`.

    Examples
    --------
    >>> run = TrainedRun("runs/one/best.pt", device=0)
    >>> embedding = embed_track("song.wav", run)
    >>> round(float(embedding @ embedding), 3)
    1.0
    """
    return embed_chunks((chunks for chunks, _ in track_chunks(Path(path), run.hparams)), run)
