"""Audio files as waveforms, whole or in parts; which files are audio.

A file that is missing, not audio, cut short, empty, damaged or that holds NaN raises `UserError`
with a remedy.

Arrays: samples of a file (samples, channels); waveform (samples,) float32 mono in [-1, 1].
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from audio.decoding import Decoder
from audio.decoding import audio_seconds as audio_seconds
from audio.decoding import open_audio as open_audio
from audio.ffmpeg import FfmpegDecoder, find_ffmpeg
from audio.formats import COPY, READ_SUFFIXES, conversion_of_all
from audio.formats import OTHER_SUFFIXES as OTHER_SUFFIXES
from hparams import HParams
from support.errors import UserError, explain, visible

PART = 1 << 20  # samples per channel read at once
LARGEST_DRAWN = 1e10  # of a sample; full scale is 1, and pictures of more would overflow
LARGEST = 1 << 25  # values of a file that is read in one piece
SILENCE = 1e-4  # -80 dBFS, the peak below which a waveform is silent: 3 steps of 16 bits
SUFFIXES = READ_SUFFIXES | (OTHER_SUFFIXES if find_ffmpeg() else set())  # of audio


def load_audio(
    path: str | Path, hparams: HParams, length: int | None = None
) -> NDArray[np.float32]:
    """Load a file as a mono waveform at `hparams.sample_rate`.

    Channels are averaged, then resampled (soxr, high quality).

    Parameters
    ----------
    path : str or Path
        File in any format that libsndfile reads.
    hparams : HParams
        Uses sample_rate in Hz.
    length : int, optional
        The most samples to return; no more are resampled.

    Returns
    -------
    (samples,)

    Raises
    ------
    UserError
        The file cannot be used; the message gives the reason and a remedy.

    Examples
    --------
    >>> import soundfile
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/stereo.wav", np.zeros((44100, 2)), 44100)
    ...     load_audio(f"{folder}/stereo.wav", HParams(sample_rate=22050)).shape
    (22050,)
    """
    return load_track(path, hparams, length).y


class Loaded(NamedTuple):
    """A file as a waveform, and what a user should know of it."""

    y: NDArray[np.float32]  # (samples,), at `hparams.sample_rate`
    rate: int  # of the file, in Hz
    notes: list[str]  # such as "has no end mark: it may be cut short"


def load_track(
    path: str | Path,
    hparams: HParams,
    length: int | None = None,
    change: Callable[[NDArray[np.float32], int], NDArray[np.float32]] = lambda y, rate: y,
) -> Loaded:
    """Return what `load_audio` does, with the file's sample rate and notes on it.

    `change` gets the waveform (samples,) and its rate before resampling, and returns another one.
    """
    with open_audio(path) as file:
        y, rate = average_channels(read_samples(file)), file.samplerate
        notes = list(file.notes)
    if length is not None:  # one second more: the last samples depend on what follows
        y = y[: int((length / hparams.sample_rate + 1) * rate)]
    y = change(y, rate)
    if rate != hparams.sample_rate:
        y = soxr.resample(y, rate, hparams.sample_rate)
    return Loaded(y[:length], rate, notes)


def stream_audio(path: str | Path, hparams: HParams) -> Iterator[NDArray[np.float32]]:
    """Yield the waveform of `load_audio` in parts, in memory that does not grow with the file.

    Parameters
    ----------
    path, hparams
        As for `load_audio`.

    Yields
    ------
    (samples,)
        The next part, which can be empty; nothing is read ahead.

    Examples
    --------
    >>> import soundfile
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/long.wav", np.zeros(1_500_000), 22050)
    ...     [len(part) for part in stream_audio(f"{folder}/long.wav", HParams(sample_rate=22050))]
    [1048576, 451424]
    """
    with open_audio(path) as file:
        resampler = None
        if file.samplerate != hparams.sample_rate:
            resampler = soxr.ResampleStream(file.samplerate, hparams.sample_rate, 1)
        for samples in file.blocks(PART):
            y = average_channels(samples)
            yield resampler.resample_chunk(y) if resampler else y
        if resampler:  # it holds the last samples back
            yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def first_rows(
    parts: Iterable[NDArray[np.float32]], count: int | None
) -> Iterator[NDArray[np.float32]]:
    """Yield the first `count` rows (None: all) of an array that comes in parts; read no further."""
    left = sys.maxsize if count is None else count
    for part in parts:
        yield part[:left]
        left -= len(part)
        if left <= 0:
            return


def read_start(path: str | Path, seconds: float, hparams: HParams) -> NDArray[np.float32]:
    """Load the first `seconds` of a file (0: all) as a waveform (samples,), and read no further.

    Raises `UserError` also if the waveform is too short or too loud for a picture.
    """
    length = int(seconds * hparams.sample_rate) if seconds else None
    y = np.concatenate(list(first_rows(stream_audio(path, hparams), length)))
    if len(y) < 4 * hparams.win_size:
        raise UserError(
            f"{path} has {len(y)} samples, too few for a page, which needs four windows "
            f"({4 * hparams.win_size}): pass more seconds, or a smaller --win_size and --fft_size"
        )
    if max(y.max(), -y.min()) > LARGEST_DRAWN:
        raise UserError(f"{path} holds values too large for a picture: {COPY}")
    return y


def average_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels: (samples, channels) to (samples,)."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]  # a view
    # channel by channel: a product with a matrix rounds by where in a block a sample is
    y = samples[:, 0] + samples[:, 1]
    for channel in range(2, channels):
        y += samples[:, channel]
    y *= np.float32(1 / channels)
    return y


def is_silent(y: NDArray[np.float32]) -> bool:
    """Whether a waveform (samples,), mixed to mono, is silent: its peak is below -80 dBFS."""
    return len(y) == 0 or bool(max(y.max(), -y.min()) < SILENCE)


def warnings_of(path: str | Path) -> list[str]:
    """Return what a user should know of a file that can be read, such as that it has no end mark.

    Raises `UserError` if it cannot be read.
    """
    with open_audio(path) as file:
        return [f"{path} {note}" for note in file.notes]


def print_warnings(path: str | Path) -> None:
    """Print what `warnings_of` says of a file to standard error."""
    for warning in warnings_of(path):
        print(f"warning: {visible(warning)}", file=sys.stderr)


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Return a file's samples as stored, float32 (samples, channels), and its sample rate."""
    with open_audio(path) as file:
        return read_samples(file), file.samplerate


def read_samples(file: Decoder | FfmpegDecoder) -> NDArray[np.float32]:
    """Return the samples of an open file (samples, channels)."""
    # copying a single block would take longer than reading it
    whole = file.expected <= LARGEST // file.channels
    blocks = list(file.blocks(max(1, file.expected) if whole else PART))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def files_below(
    folder: str | Path, on_error: Callable[[OSError], object] | None = None
) -> list[Path]:
    """Return the paths of the files below a folder, sorted, without hidden ones.

    Links to folders are followed. A folder is listed once, under a path without links if possible.
    `on_error` is called for a folder or a file that cannot be read.
    """
    found: list[Path] = []
    seen, waiting = set(), [Path(folder)]
    while waiting:  # links wait until all folders before them have been walked
        for root, folders, files in os.walk(waiting.pop(0), onerror=on_error):  # enters no links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            place = os.path.realpath(root)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            paths = [Path(root, name) for name in folders]
            waiting += [path for path in paths if path.is_symlink()]
            for path in (Path(root, name) for name in files if not name.startswith(".")):
                try:
                    found += [path] if path.is_file() else []
                except OSError as error:
                    if on_error:
                        on_error(error)
    return sorted(found)


def find_audio(names: Iterable[str | Path]) -> list[Path | UserError]:
    """Return named files, and all audio below named folders, each path once.

    Folders without audio, and those that cannot be read, give a `UserError` in the list. Audio in
    folders that cannot be read here is reported on stderr.
    """
    found: dict[Path | UserError, None] = {}  # a set in order
    for path in map(Path, names):
        if not path.is_dir():
            found[path] = None
            continue
        errors: list[OSError] = []
        files = files_below(path, errors.append)
        others = [f for f in files if f.suffix.lower() in OTHER_SUFFIXES - SUFFIXES]
        audio = [f for f in files if f.suffix.lower() in SUFFIXES]
        failed = [UserError(explain(error, error.filename)) for error in errors]
        if not audio and not failed:
            failed = [
                UserError(
                    f"{path} has no audio that libsndfile reads ({conversion_of_all('.m4a')})"
                )
            ]
        found |= dict.fromkeys([*audio, *failed])
        report_left_out(others)
    return list(found)


def report_left_out(paths: list[Path]) -> None:
    """Print how many audio files are left out, the first three, and what converts them."""
    if paths:
        shown = ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")
        count = f"left out: {len(paths)} audio files that libsndfile does not read"
        print(f"{count}: {shown} ({conversion_of_all(paths[0].suffix)})", file=sys.stderr)
