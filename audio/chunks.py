"""The chunk rule: how many rows a track keeps, pads and counts; rows to seconds; streaming."""

import sys

import numpy as np

from audio.features import extract_feature, silent_row
from audio.reading import audio_seconds, load_audio, remedy, stream_audio
from support.errors import UserError


def row_seconds(hparams):
    """The time from a row of the feature to the next."""
    return (1 if hparams.feature == "waveform" else hparams.hop_size) / hparams.sample_rate


def kept_length(frames, hparams):
    """Rows stored of a track of `frames`: whole chunks of feature_length, or of the track if 0."""
    chunk = hparams.chunk_length
    if hparams.feature_length:
        return hparams.feature_length // chunk * chunk
    return -(-frames // chunk) * chunk


def counted_chunks(frames, stored, hparams):
    """How many of a track's `stored` chunks count, for `frames` real frames."""
    chunk = hparams.chunk_length
    return min(stored, max(1, (2 * frames + chunk) // (2 * chunk)))


LONGEST_WHOLE = 120  # seconds of audio that are read at once


BATCH_VALUES = 1 << 18  # of chunks given to a model at once: some hundred MB in the largest one


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


def resize_array(array, length, padding=0):
    """An array cropped or padded to `length` rows: (rows, ...) to (length, ...)."""
    resized = np.full((length, *array.shape[1:]), padding, dtype=array.dtype)
    resized[: len(array)] = array[:length]
    return resized


def kept_samples(hparams):
    """How many samples of a waveform the frames kept of it depend on; None for all."""
    if not hparams.feature_length or hparams.feature == "cqt":  # whose lowest bins last a second
        return None
    if hparams.feature == "waveform":
        return hparams.feature_length
    return (hparams.feature_length - 1) * hparams.hop_size + hparams.fft_size


def read_start(path, seconds, hparams):
    """The first seconds of a file (0: all), no more of it read: waveform (samples,).

    Raises `UserError` where it cannot be read, or is too short for a picture.
    """
    left = int(seconds * hparams.sample_rate) if seconds else np.inf
    parts = []
    for part in stream_audio(path, hparams):
        parts.append(part[: int(min(left, len(part)))])
        left -= len(part)
        if left <= 0:
            break
    y = np.concatenate(parts)
    if len(y) < 4 * hparams.win_size:
        raise UserError(
            f"{path} has {len(y)} samples, too few for a page: it takes four windows "
            f"({4 * hparams.win_size}); take more of it, or a smaller --win_size and --fft_size"
        )
    return y


def network_feature(path, seconds, hparams):
    """What a network gets of a track: feature (rows, bins), and how many rows and chunks count.

    As extraction does it, cropped and padded to `feature_length`; of `feature_length` 0 only the
    first seconds are taken (0: all). Returns (feature, real rows, counted chunks).
    """
    if hparams.feature_length:
        y = load_audio(path, hparams, kept_samples(hparams))
    else:
        y = read_start(path, seconds, hparams)
    feature = extract_feature(y, hparams)
    length = kept_length(len(feature), hparams)
    real = min(len(feature), length)
    counted = counted_chunks(real, length // hparams.chunk_length, hparams)
    return resize_array(feature, length, silent_row(hparams)), real, counted
