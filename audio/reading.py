"""Audio files to waveforms, whole or not at all."""

import contextlib
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

from support.errors import UserError

UNREADABLE = (soundfile.SoundFileError, RuntimeError, TypeError)  # TypeError: headerless .raw


UNKNOWN_FRAMES = 2**40  # more than that, as libsndfile says of a FLAC from a pipe, means unknown


UNKNOWN_SIZE = 2**31 - 1  # bytes; what writes to a pipe states this or more


SUFFIXES = {
    *(f".{name.lower()}" for name in soundfile.available_formats()),
    *(".aif", ".aifc", ".oga", ".opus"),
}


OTHER_SUFFIXES = {  # of audio that libsndfile does not read
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".dff", ".dsf", ".dts", ".m4a", ".m4b", ".mka"),
    *(".mp4", ".mpc", ".ra", ".tta", ".webm", ".wma", ".wv"),
}


PART = 1 << 20  # samples a channel read at once where a file is not read whole


def load_audio(path, hparams, length=None):
    """A file's waveform (samples,), float32: channels averaged, resampled (soxr, high quality).

    Of a `length` given, no more than that many samples are resampled and returned. Raises
    `UserError` where it is missing, no audio that libsndfile reads, cut short, or holds NaN.
    """
    y, rate = read_audio(path)
    y = average_channels(y)
    if rate != hparams.sample_rate:
        if length is not None:  # and a second more: the end of what is resampled shapes its edge
            y = y[: int((length / hparams.sample_rate + 1) * rate)]
        y = soxr.resample(y, rate, hparams.sample_rate)
    return y[:length]


def stream_audio(path, hparams):
    """Yield the waveform that `load_audio` gives in parts (samples,), in flat memory.

    No more is read than is taken. Raises `UserError` as `load_audio` does, where it comes to that.
    """
    with open_audio(path) as file:
        check_whole(path, file, file.frames)  # as far as its header tells, before hours of it
        resampler, read = None, 0
        if file.samplerate != hparams.sample_rate:
            resampler = soxr.ResampleStream(file.samplerate, hparams.sample_rate, 1)
        while len(samples := read_samples(file, PART)):
            check_numbers(path, samples)
            read += len(samples)
            y = average_channels(samples)
            yield resampler.resample_chunk(y) if resampler else y
        check_whole(path, file, read)
        if resampler:
            yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def files_below(folder):
    """Paths of the files below a folder that are not hidden, sorted.

    Links to folders are followed, to each folder once: what lies in the folder itself comes first.
    """
    found, seen, waiting = [], set(), [folder]
    while waiting:
        for root, folders, files in os.walk(waiting.pop(0)):  # which names links and leaves them
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


def audio_seconds(path):
    """The duration of a file as its header tells it; infinite where that does not.

    Raises `UserError` where it is missing or no audio that libsndfile reads.
    """
    with open_audio(path) as file:
        return file.frames / file.samplerate if file.frames <= UNKNOWN_FRAMES else math.inf


def average_channels(y):
    """The mean of a waveform's channels: (samples, channels) to (samples,), float32."""
    channels = y.shape[1]
    return y[:, 0] if channels == 1 else y @ np.full(channels, 1 / channels, dtype=np.float32)


def read_audio(path):
    """A file's samples as they are, float32 (samples, channels), and its sample rate.

    Raises `UserError` as `load_audio` does.
    """
    with open_audio(path) as file:
        y = read_samples(file)
        check_whole(path, file, len(y))
        check_numbers(path, y)
        return y, file.samplerate


@contextlib.contextmanager
def open_audio(path):
    """An audio file, open to be read inside `with`.

    Raises `UserError` where it is missing, and where libsndfile cannot open or read it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there, or leave it out")
    try:
        # bytes: soundfile encodes a string as UTF-8, and not every name is; Windows' are text
        with soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path)) as file:
            yield file
    except UNREADABLE as error:
        reason = getattr(error, "error_string", str(error)) or "its data are damaged"
        if "does not exist" in reason:  # as libsndfile says of an MP3 without a single frame
            reason = "it is no audio"
        raise UserError(f"{path} cannot be read ({reason}): {remedy(path)}") from error


def check_whole(path, file, read):
    """Raise `UserError` where an open file is cut short or empty, for `read` samples got."""
    if lost := missing_share(file, read):
        raise UserError(f"{path} is cut short, {lost:.0%} of it is missing: {remedy(path)}")
    if not read:
        raise UserError(f"{path} holds no sample: {remedy(path)}")


def check_numbers(path, samples):
    """Raise `UserError` where samples of a file are no numbers."""
    if not np.isfinite(samples).all():
        raise UserError(f"{path} holds samples that are no numbers (NaN): {remedy(path)}")


def read_samples(file, count=-1):
    """The next `count` samples of an open file, or all: float32 (samples, channels)."""
    if file.subtype == "PCM_16":  # NumPy makes floats of them in a sixth of libsndfile's time
        return read_as(file, "int16", count) * np.float32(2**-15)
    return read_as(file, "float32", count)


def read_as(file, dtype, count):
    """The next `count` samples of an open file (samples, channels), or all, length known or not."""
    if count >= 0 or file.frames <= UNKNOWN_FRAMES:
        return file.read(count, dtype=dtype, always_2d=True)
    blocks = [file.read(PART, dtype=dtype, always_2d=True)]
    while len(blocks[-1]):
        blocks.append(file.read(PART, dtype=dtype, always_2d=True))
    return np.concatenate(blocks)


def missing_share(file, read):
    """The share of an open file that is missing, for `read` samples got; 0 where it is whole.

    libsndfile reads what there is of a file cut short, and notes the size that its header states.
    """
    stated = re.search(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", file.extra_info)
    if stated:
        said, found = map(int, stated.groups())
        if found + 1 < said < UNKNOWN_SIZE:
            return 1 - found / said
    if file.frames > UNKNOWN_FRAMES:
        return 0
    return 1 - read / file.frames if read < 0.99 * file.frames else 0


def is_ended(path):
    """Whether an Ogg file has the mark of its end on its last page; other files always have."""
    path = Path(path)
    if path.suffix.lower() not in (".ogg", ".oga", ".opus"):
        return True
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))  # a page is 64 KiB at most
        data = file.read()
    page = data.rfind(b"OggS")
    return page < 0 or bool(data[page + 5 : page + 6].ljust(1, b"\0")[0] & 4)


def remedy(path):
    """What to do about a file that cannot be read."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return "copy it again from its source, or leave it out"
    converted = path.with_suffix(".wav")
    return f'convert it with `ffmpeg -i "{path}" "{converted}"` and name that'


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
