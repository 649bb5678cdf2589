"""Decode audio files; reject truncated ones.

A file that is missing, not audio, cut short, empty, damaged or that holds NaN raises `UserError`
with a remedy.

Arrays: samples of a file (samples, channels); waveform (samples,) float32 mono in [-1, 1].
"""

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from hparams import HParams
from support.errors import UserError

UNREADABLE = (soundfile.SoundFileError, RuntimeError, TypeError)  # TypeError: headerless .raw
UNKNOWN_FRAMES = 2**40  # a FLAC that was written to a pipe states more: its length is unknown
UNKNOWN_SIZE = 2**31 - 1  # bytes; a WAV that was written to a pipe states this or more
PART = 1 << 20  # samples per channel read at once

SUFFIXES = {
    *(f".{name.lower()}" for name in soundfile.available_formats()),
    *(".aif", ".aifc", ".oga", ".opus"),
}
OTHER_SUFFIXES = {  # audio that libsndfile does not read
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".dff", ".dsf", ".dts", ".m4a", ".m4b", ".mka"),
    *(".mp4", ".mpc", ".ra", ".tta", ".webm", ".wma", ".wv"),
}
CONVERT = "(ffmpeg -i song.m4a song.wav converts)"
NO_AUDIO = f"has no audio that libsndfile reads {CONVERT}"


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
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/stereo.wav", np.zeros((44100, 2)), 44100)
    ...     load_audio(f"{folder}/stereo.wav", HParams(sample_rate=22050)).shape
    (22050,)
    """
    samples, rate = read_audio(path)
    y = average_channels(samples)
    if rate != hparams.sample_rate:
        if length is not None:  # one second more: the last samples depend on what follows
            y = y[: int((length / hparams.sample_rate + 1) * rate)]
        y = soxr.resample(y, rate, hparams.sample_rate)
    return y[:length]


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
        for samples in read_blocks(path, file, PART):
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

    Raises `UserError` also if the waveform is too short for a picture.
    """
    length = int(seconds * hparams.sample_rate) if seconds else None
    y = np.concatenate(list(first_rows(stream_audio(path, hparams), length)))
    if len(y) < 4 * hparams.win_size:
        raise UserError(
            f"{path} has {len(y)} samples, too few for a page, which needs four windows "
            f"({4 * hparams.win_size}): pass more seconds, or a smaller --win_size and --fft_size"
        )
    return y


def audio_seconds(path: str | Path) -> float:
    """Return the duration in a file's header; infinite if the header does not state it."""
    with open_audio(path) as file:
        return file.frames / file.samplerate if file.frames <= UNKNOWN_FRAMES else math.inf


def average_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels: (samples, channels) to (samples,)."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]  # a view
    return samples @ np.full(channels, 1 / channels, dtype=np.float32)


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Return a file's samples as stored, float32 (samples, channels), and its sample rate."""
    with open_audio(path) as file:
        known = 0 < file.frames <= UNKNOWN_FRAMES
        blocks = list(read_blocks(path, file, file.frames if known else PART))
        # copying a single block would take longer than reading it
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), file.samplerate


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file inside `with`; libsndfile's errors there become `UserError`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there, or leave it out")
    try:
        # bytes: soundfile encodes str as UTF-8, which not every name is; Windows needs str
        with soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path)) as file:
            yield file
    except UNREADABLE as error:
        reason = getattr(error, "error_string", str(error)) or "its data are damaged"
        if "does not exist" in reason:  # libsndfile says this of an MP3 without frames
            reason = "it is not audio"
        raise UserError(f"{path} cannot be read ({reason}): {remedy(path)}") from error


def check_whole(path: str | Path, file: soundfile.SoundFile, read: int) -> None:
    """Raise `UserError` if a file, of which `read` samples could be read, is cut short or empty."""
    if lost := missing_share(file, read):
        raise UserError(f"{path} is cut short, {lost:.0%} of it is missing: {remedy(path)}")
    if not read:
        raise UserError(f"{path} holds no sample: {remedy(path)}")


def read_blocks(
    path: str | Path, file: soundfile.SoundFile, size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of an open file in blocks (size or fewer, channels). Raises `UserError`."""
    check_whole(path, file, file.frames)  # what the header shows, before a long read
    # NumPy converts 16-bit samples to float in a sixth of libsndfile's time
    dtype = "int16" if file.subtype == "PCM_16" else "float32"
    read = 0
    while len(block := file.read(size, dtype=dtype, always_2d=True)):
        samples = block * np.float32(2**-15) if dtype == "int16" else block
        if not np.isfinite(samples).all():
            raise UserError(f"{path} holds samples that are not numbers (NaN): {remedy(path)}")
        yield samples
        read += len(samples)
    check_whole(path, file, read)


def missing_share(file: soundfile.SoundFile, read: int) -> float:
    """Return the missing share of a file of which `read` samples could be read."""
    # libsndfile reads what is left of a truncated file; its log has the size that the header states
    log = re.search(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", file.extra_info)
    if log:
        stated, found = map(int, log.groups())
        if found + 1 < stated < UNKNOWN_SIZE:
            return 1 - found / stated
    if file.frames > UNKNOWN_FRAMES:
        return 0
    return 1 - read / file.frames if read < 0.99 * file.frames else 0


def is_ended(path: str | Path) -> bool:
    """Whether an Ogg file has an end mark on its last page; true for other formats."""
    path = Path(path)
    if path.suffix.lower() not in (".ogg", ".oga", ".opus"):
        return True
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))  # a page has 64 KiB at most
        data = file.read()
    page = data.rfind(b"OggS")
    # byte 5 of a page header has the flags; 4 marks the end of the stream
    return page < 0 or bool(data[page + 5 : page + 6].ljust(1, b"\0")[0] & 4)


def remedy(path: str | Path) -> str:
    """Return advice for a file that cannot be read."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return "copy it again from its source, or leave it out"
    converted = path.with_suffix(".wav")
    return f'convert it with `ffmpeg -i "{path}" "{converted}"` and name that'


def files_below(folder: str | Path) -> list[Path]:
    """Return the paths of the files below a folder, sorted, without hidden ones.

    Links to folders are followed. A folder is listed once, under a path without links if possible.
    """
    found: list[Path] = []
    seen, waiting = set(), [Path(folder)]
    while waiting:  # links wait until all folders before them have been walked
        for root, folders, files in os.walk(waiting.pop(0)):  # does not enter links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            place = os.path.realpath(root)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            paths = [Path(root, name) for name in folders]
            waiting += [path for path in paths if path.is_symlink()]
            found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def find_audio(names: Iterable[str | Path]) -> list[Path | UserError]:
    """Return named files, and all audio below named folders, each path once.

    A folder without audio gives a `UserError` in the list. Audio in folders that libsndfile does
    not read is reported on stderr.
    """
    found: dict[Path | UserError, None] = {}  # a set in order
    for path in map(Path, names):
        if not path.is_dir():
            found[path] = None
            continue
        files = files_below(path)
        audio: list[Path | UserError] = [f for f in files if f.suffix.lower() in SUFFIXES]
        found |= dict.fromkeys(audio or [UserError(f"{path} {NO_AUDIO}")])
        report_left_out([f for f in files if f.suffix.lower() in OTHER_SUFFIXES])
    return list(found)


def report_left_out(paths: list[Path]) -> None:
    """Print how many audio files are left out, and the first three."""
    if paths:
        shown = ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")
        count = f"left out: {len(paths)} audio files that libsndfile does not read"
        print(f"{count}: {shown} {CONVERT}", file=sys.stderr)


Item = TypeVar("Item")
Result = TypeVar("Result")


def continue_past_errors(
    function: Callable[[Item], Result], items: Iterable[Item | UserError], failed: list[str]
) -> Iterator[Result]:
    """Yield `function(item)` for each item, for example the paths of `find_audio`.

    Errors are printed and their messages added to `failed`.
    """
    for item in items:
        try:
            if isinstance(item, UserError):
                raise item
            result = function(item)
        except (UserError, OSError) as error:
            print(f"broken: {error}", file=sys.stderr)
            failed.append(str(error))
        else:
            yield result
