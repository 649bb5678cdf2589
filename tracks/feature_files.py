"""Feature files: the chunks of a track as a `.npy` file, covered by a checksum in the manifest.

The shape of an array follows from its manifest entry, so the exact bytes of its header are known:
a header is compared with them and never parsed. `numpy.load` reads these files too.
"""

import dataclasses
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audio.chunks import kept_length
from hparams import HParams
from support.errors import UserError
from support.files import own_path, write_atomic

HEADER = 128  # bytes before the values of an array of three dimensions
Entry = dict[str, Any]  # of a track in the manifest


def feature_file(hparams: HParams, name: str) -> Path:
    """Return the path of a track's features."""
    return hparams.feature_folder() / f"{name}.npy"


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return what `numpy.save` writes before the values of a float32 array in C order."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0v\0" + text.encode().ljust(HEADER - 11) + b"\n"


def stored_shape(entry: Entry, hparams: HParams) -> tuple[int, int, int]:
    """Return the shape of a track's features: (chunks, chunk_length, bins)."""
    rows = kept_length(entry["frames"], hparams)
    return rows // hparams.chunk_length, hparams.chunk_length, hparams.num_bins


def write_feature(hparams: HParams, name: str, chunks: NDArray[np.float32]) -> int:
    """Write the chunks (chunks, chunk_length, bins) of a track; return their checksum."""
    values = np.ascontiguousarray(chunks, "<f4").data

    def write(file: BinaryIO) -> None:
        file.write(npy_header(chunks.shape))
        file.write(values)

    path = feature_file(hparams, name)
    if path.parent.is_symlink():
        own_path(hparams.feature_folder(), f"{name}.npy")  # raises
    # waiting for the disk would take as long as a third of extraction; the checksum notices damage
    write_atomic(path, write, durable=False)
    return zlib.crc32(values)


def check_start(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` if an open feature file has not the size and header of a shape."""
    size, expected = os.fstat(file.fileno()).st_size, HEADER + 4 * math.prod(shape)
    if size != expected:
        raise ValueError(f"it has {size} bytes instead of {expected}")
    if file.read(HEADER) != npy_header(shape):
        raise ValueError(f"its header is not that of float32 {shape}")


def is_whole(entry: Entry, hparams: HParams, name: str) -> bool:
    """Whether the feature file of a track has the size and header that its entry implies."""
    try:
        with open(feature_file(hparams, name), "rb") as file:
            check_start(file, stored_shape(entry, hparams))
    except (OSError, ValueError):
        return False
    return True


def load_feature(entry: Entry, hparams: HParams, name: str) -> NDArray[np.float32]:
    """Load the chunks of a track: (chunks, chunk_length, bins). Raises `UserError` if damaged."""
    path, shape = feature_file(hparams, name), stored_shape(entry, hparams)
    try:
        with open(path, "rb") as file:
            check_start(file, shape)
            chunks = np.fromfile(file, "<f4").reshape(shape)
        if zlib.crc32(chunks.data) != entry["crc32"]:
            raise ValueError("it does not hold the features that were extracted")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run `{extraction_command(hparams)}`") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = f"delete it and run `{extraction_command(hparams)}`"
        raise UserError(f"{path} is damaged ({reason}): {remedy}") from error
    return chunks


def map_feature(entry: Entry, hparams: HParams, name: str) -> NDArray[np.float32]:
    """Map the chunks of a track that `load_feature` has checked before. Raises `UserError`."""
    path, shape = feature_file(hparams, name), stored_shape(entry, hparams)
    try:
        return np.memmap(path, "<f4", "r", offset=HEADER, shape=shape)
    except (OSError, ValueError):  # the file has changed since then
        return load_feature(entry, hparams, name)


def extraction_command(hparams: HParams) -> str:
    """Return the command that extracts features; they do not depend on tags."""
    shortest = dataclasses.replace(hparams, tags=[])
    return shortest.command("feature_extraction.py", "data", "task", "feature")
