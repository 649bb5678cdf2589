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
from pathlib import Path

import numpy as np
import torch

from audio import (
    OTHER_SUFFIXES,
    SUFFIXES,
    audio_seconds,
    files_below,
    load_audio,
    remedy,
    stream_audio,
)
from checkpoint import fill_weights, load_checkpoint
from device import find_device
from feature_extraction import extract_feature, kept_samples, resize_array, silent_row
from hparams import HParams, UserError, device_value, unknown_flag
from manifest import counted_chunks, kept_length
from model import UnknownModel, WrongInput, build_model, to_probabilities

LONGEST_WHOLE = 120  # seconds of audio that are read at once
BATCH_VALUES = 1 << 18  # of chunks given to a model at once: some hundred MB in the largest one


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


def find_audio(names):
    """The audio files that names mean, of folders all below them, each once: a list of paths.

    Of a name that means none there is a `UserError` in the list instead. Audio in folders that
    libsndfile does not read is named on stderr.
    """
    found = {}
    for path in map(Path, names):
        if path.is_dir():
            files = files_below(path)
            audio = [file for file in files if file.suffix.lower() in SUFFIXES]
            found |= dict.fromkeys(audio or [UserError(f"{path} {NO_AUDIO}")])
            print_left_out([file for file in files if file.suffix.lower() in OTHER_SUFFIXES])
        else:
            found[path] = None
    return list(found)


CONVERT = "(ffmpeg -i song.m4a song.wav converts)"
NO_AUDIO = f"has no audio that libsndfile reads {CONVERT}"


def print_left_out(paths):
    """Say that audio files are not read, and name the first, where there are any."""
    if paths:
        shown = ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")
        count = len(paths)
        print(
            f"left out: {count} audio files that libsndfile does not read: {shown} {CONVERT}",
            file=sys.stderr,
        )


def do_each(function, paths, failed):
    """Yield `function(path)` for each path of `find_audio`.

    What fails is named, its message added to the list `failed`, and the others go on.
    """
    for path in paths:
        try:
            if isinstance(path, UserError):
                raise path
            result = function(path)
        except (UserError, OSError) as error:
            print(f"broken: {error}", file=sys.stderr)
            failed.append(str(error))
        else:
            yield result


def track_chunks(path, hparams):
    """Yield a file's chunks that count, in batches (n, chunk_length, bins), and their real rows.

    They are those of extraction: of as many rows as `feature_length` keeps, 0 meaning all. Raises
    `UserError` where the file cannot be read.
    """
    return cut_chunks(feature_parts(path, hparams), hparams)


def feature_parts(path, hparams):
    """Yield the feature of a file in parts (rows, bins), no more rows in all than are kept."""
    if audio_seconds(path) <= LONGEST_WHOLE:
        y = load_audio(path, hparams, kept_samples(hparams))
        parts = [extract(y, hparams)]
    else:
        parts = stream_feature(stream_audio(path, hparams), hparams)
    left = kept_length(0, hparams) if hparams.feature_length else sys.maxsize
    for part in parts:
        if not np.isfinite(part).all():
            raise UserError(f"{path} holds values too large for a spectrum: {remedy(path)}")
        yield part[:left]
        left -= len(part)
        if left <= 0:
            return


def extract(y, hparams):
    """The feature of a waveform; values too large for one become infinite without a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        return extract_feature(y, hparams)


def stream_feature(waveform, hparams):
    """Yield the feature of a waveform that comes in parts (samples,), in parts (rows, bins).

    Each is extracted together with the rows around it that it may depend on.
    """
    hop = 1 if hparams.feature == "waveform" else hparams.hop_size
    around = rows_around(hparams)
    y, before = np.zeros(0, dtype=np.float32), 0  # begins `before` rows ahead of the next row
    for part in waveform:
        y = np.concatenate([y, part])
        rows = len(y) // hop - before - around
        if rows <= around:
            continue
        yield extract(y, hparams)[before : before + rows]
        kept = min(before + rows, around)
        y, before = y[(before + rows - kept) * hop :], kept
    yield extract(y, hparams)[before:]


def rows_around(hparams):
    """How many rows before and after a row its feature may depend on."""
    if hparams.feature == "waveform":
        return 0
    samples = hparams.fft_size
    if hparams.feature == "cqt":  # its lowest filter, and resampling down to that
        periods = 1 / (2 ** (1 / hparams.bins_per_octave) - 1)
        samples = int((2 * periods / 32.7 + 2) * hparams.sample_rate)
    return samples // hparams.hop_size + 2


def cut_chunks(parts, hparams):
    """Yield the chunks of a feature that comes in parts (rows, bins), as `track_chunks` does."""
    length, bins = hparams.chunk_length, hparams.num_bins
    most = max(1, BATCH_VALUES // (length * bins)) * length  # rows of a batch
    rest, done = np.zeros((0, bins), dtype=np.float32), 0
    for part in parts:
        rest = np.concatenate([rest, part])
        whole = len(rest) // length * length
        for start in range(0, whole, most):
            x = rest[start : min(start + most, whole)]
            yield x.reshape(-1, length, bins), len(x)
        rest, done = rest[whole:], done + whole // length
    frames = done * length + len(rest)
    if counted_chunks(frames, done + 1, hparams) > done:
        yield resize_array(rest, length, silent_row(hparams))[None], len(rest)


def seconds_of(rows, hparams):
    """The duration of so many rows of a feature."""
    return rows * (1 if hparams.feature == "waveform" else hparams.hop_size) / hparams.sample_rate


def describe_length(hparams):
    """Which part of a track counts, as one line."""
    if not hparams.feature_length:
        return "All of each track"
    seconds = seconds_of(kept_length(0, hparams), hparams)
    return f"The first {seconds:.1f} s of each track, as the run was tested"
