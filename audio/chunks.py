"""Cut a track into chunks: which rows are kept, padded and counted, and when each sounds.

A row is one frame of a feature, or one sample if the feature is the waveform. A track is cropped or
padded with silence to whole chunks. A chunk counts, in training and in scores, if at least half of
it is real, or if it is the track's only one.

Arrays: waveform (samples,); feature (rows, bins), time first; chunks (n, chunk_length, bins).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio import reading
from audio.features import count_frames, extract_feature, silent_row
from audio.formats import COPY
from hparams import HParams
from support.errors import UserError

LONGEST_WHOLE = 120  # seconds; longer files are streamed, so that memory does not grow with them
BATCH_VALUES = 1 << 18  # values given to a model at once; the largest model needs a few 100 MB
Rows = TypeVar("Rows", float, NDArray[Any])


def row_unit(hparams: HParams) -> str:
    """Return what rows of the feature are called: "samples" or "frames"."""
    return "samples" if hparams.feature == "waveform" else "frames"


def row_hop(hparams: HParams) -> int:
    """Return the samples from one row of the feature to the next."""
    return 1 if hparams.feature == "waveform" else hparams.hop_size


def seconds_of(rows: Rows, hparams: HParams) -> Rows:
    """Return the duration of a number of rows, or of each number in an array, in seconds."""
    return rows * row_hop(hparams) / hparams.sample_rate


def row_seconds(hparams: HParams) -> float:
    """Return the seconds from one row of the feature to the next."""
    return seconds_of(1, hparams)


def estimate_rows(seconds: float, hparams: HParams) -> int:
    """Return the rows of the feature for a duration; 0 if that is unknown (infinite)."""
    if seconds == math.inf:
        return 0
    samples = int(seconds * hparams.sample_rate)
    return samples if hparams.feature == "waveform" else count_frames(samples, hparams)


def kept_length(rows: int, hparams: HParams) -> int:
    """Return the rows stored for a track of `rows`, a multiple of chunk_length."""
    chunk = hparams.chunk_length
    if hparams.feature_length:
        return hparams.feature_length // chunk * chunk  # rounded down
    return -(-rows // chunk) * chunk  # rounded up


def counted_chunks(rows: int, hparams: HParams) -> int:
    """Return how many chunks of a track with `rows` real rows count: at least one."""
    chunk = hparams.chunk_length
    return max(1, (2 * rows + chunk) // (2 * chunk))  # half a chunk rounds up


def kept_samples(hparams: HParams) -> int | None:
    """Return how many samples of a waveform the kept rows depend on; None means all."""
    if not hparams.feature_length or hparams.feature == "cqt":  # the filters of a CQT are long
        return None
    if hparams.feature == "waveform":
        return hparams.feature_length
    return (hparams.feature_length - 1) * hparams.hop_size + hparams.fft_size


def resize_array(
    array: NDArray[Any], length: int, padding: float | NDArray[Any] = 0
) -> NDArray[Any]:
    """Crop or pad an array to a number of rows; its type stays.

    Parameters
    ----------
    array, length : (rows, ...), int
        Values, and the number of rows to return.
    padding : float or (...)
        Row that is added at the end.

    Returns
    -------
    (length, ...)

    Examples
    --------
    >>> resize_array(np.array([1, 2, 3]), 5)
    array([1, 2, 3, 0, 0])
    """
    resized = np.full((length, *array.shape[1:]), padding, dtype=array.dtype)
    resized[: len(array)] = array[:length]
    return resized


def split_chunks(
    feature: NDArray[np.float32], hparams: HParams, rows: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """Crop or pad a feature (rows, bins) to `rows`, by default its `kept_length`, and cut it.

    Returns its chunks (n, chunk_length, bins) and how many of their rows are real.
    """
    if rows is None:
        rows = kept_length(len(feature), hparams)
    padded = resize_array(feature, rows, silent_row(hparams))
    # (rows, bins) -> (chunks, chunk_length, bins)
    chunks = padded.reshape(-1, hparams.chunk_length, feature.shape[1])
    return chunks, min(len(feature), rows)


def check_finite(path: str | Path, feature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the feature of a file. Raises `UserError` if values overflowed."""
    if not np.isfinite(feature).all():
        raise UserError(f"{path} holds values too large for a spectrum: {COPY}")
    return feature


def track_chunks(
    path: str | Path,
    hparams: HParams,
    listen: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda y: y,
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield a file's chunks that count, in batches (n, chunk_length, bins), and their real rows.

    These are the chunks that extraction stores. `listen` gets the waveform in parts (samples,), and
    returns them. Raises `UserError` if the file cannot be used.
    """
    waveform = reading.first_rows(reading.stream_audio(path, hparams), kept_samples(hparams))
    yield from waveform_chunks(map(listen, waveform), path, hparams)


def waveform_chunks(
    waveform: Iterable[NDArray[np.float32]], path: str | Path, hparams: HParams
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield the chunks of a file's waveform that comes in parts (samples,), as `track_chunks`."""
    parts = track_feature(waveform, hparams)
    finite = (check_finite(path, part) for part in parts)
    length = kept_length(0, hparams) if hparams.feature_length else None
    yield from cut_chunks(reading.first_rows(finite, length), hparams)


def track_feature(
    waveform: Iterable[NDArray[np.float32]], hparams: HParams
) -> Iterator[NDArray[np.float32]]:
    """Yield the feature of a waveform that comes in parts: in one part (rows, bins) if it is short.

    That it is short shows only when it ends.
    """
    waveform, length = iter(waveform), 0
    start: list[NDArray[np.float32]] = []
    while length <= LONGEST_WHOLE * hparams.sample_rate:
        part = next(waveform, None)
        if part is None:
            yield extract_feature(np.concatenate(start), hparams)
            return
        start.append(part)
        length += len(part)
    yield from stream_feature(itertools.chain(start, waveform), hparams)


def stream_feature(
    waveform: Iterable[NDArray[np.float32]], hparams: HParams
) -> Iterator[NDArray[np.float32]]:
    """Yield the feature of a waveform that comes in parts (samples,), in parts (rows, bins)."""
    # y keeps all that a row depends on, so the values are those of the waveform in one piece
    hop, around = row_hop(hparams), rows_around(hparams)
    y, before = np.zeros(0, dtype=np.float32), 0  # y starts `before` rows ahead of the next row
    for part in waveform:
        y = np.concatenate([y, part])
        rows = len(y) // hop - before - around
        if rows <= around:
            continue
        yield extract_feature(y, hparams)[before : before + rows]
        kept = min(before + rows, around)
        y, before = y[(before + rows - kept) * hop :], kept
    yield extract_feature(y, hparams)[before:]


def rows_around(hparams: HParams) -> int:
    """Return how many rows before and after a row its feature can depend on."""
    if hparams.feature == "waveform":
        return 0
    samples = hparams.fft_size
    if hparams.feature == "cqt":  # the longest filter (at 32.7 Hz), and resampling down to it
        periods = 1 / (2 ** (1 / hparams.bins_per_octave) - 1)
        samples = int((2 * periods / 32.7 + 2) * hparams.sample_rate)
    return samples // hparams.hop_size + 2


def cut_chunks(
    parts: Iterable[NDArray[np.float32]], hparams: HParams
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield the chunks of a feature that comes in parts (rows, bins), as `track_chunks` does."""
    length, bins = hparams.chunk_length, hparams.num_bins
    most = max(1, BATCH_VALUES // (length * bins)) * length  # rows of a batch
    rest, done = np.zeros((0, bins), dtype=np.float32), 0
    for part in parts:
        rest = np.concatenate([rest, part])
        whole = len(rest) // length * length
        for start in range(0, whole, most):
            x = rest[start : min(start + most, whole)]
            yield x.reshape(-1, length, bins), len(x)  # (rows, bins) -> (n, length, bins)
        rest, done = rest[whole:], done + whole // length
    if counted_chunks(done * length + len(rest), hparams) > done:
        yield split_chunks(rest, hparams, length)


def network_feature(
    path: str | Path, seconds: float, hparams: HParams
) -> tuple[NDArray[np.float32], int, int]:
    """Return what a model receives for a file: feature (rows, bins), real rows, counted chunks.

    If `feature_length` is 0, only the first `seconds` of the file are read (0: all).
    """
    if hparams.feature_length:
        y = reading.load_audio(path, hparams, kept_samples(hparams))
    else:
        y = reading.read_start(path, seconds, hparams)
    feature = check_finite(path, extract_feature(y, hparams))
    chunks, real = split_chunks(feature, hparams)
    # (chunks, chunk_length, bins) -> (rows, bins)
    return chunks.reshape(-1, hparams.num_bins), real, counted_chunks(real, hparams)


def describe_length(hparams: HParams) -> str:
    """Return a line that says which part of a track is used."""
    if not hparams.feature_length:
        return "All of each track"
    seconds = seconds_of(kept_length(0, hparams), hparams)
    return f"The first {seconds:.1f} s of each track, as the run was tested"
