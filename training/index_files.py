"""The files of an index: `index.jsonl`, and the file of embeddings that it names.

The first line records hashes of the weights and of model.py, since embeddings by different models
cannot be compared. Each later line has a track and a checksum of its embedding. Both are appended
when the track is embedded, so a killed command loses at most one track.
"""

import contextlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from support.errors import UserError
from support.files import (
    delete_partials,
    is_unchanged,
    json_line,
    lock,
    parse_lines,
    write_atomic,
)
from support.flags import command_line
from support.forms import check_form

LINES = "index.jsonl"
OTHERS = ("index.json", "embeddings-*.npy", "embeddings-*.f32")  # the first two before version 1.1
BLOCK_ROWS = 1 << 16  # embeddings compared or copied at once: an index need not fit in memory
FIRST_LINE = {
    **{"collection": str, "checkpoint": str, "code": str},
    "values": lambda value: type(value) is int and 0 < value < 1 << 24,
    "file": lambda value: re.fullmatch(r"embeddings-\d{1,9}\.f32", value, re.ASCII),
}
ENTRY = {
    **{"name": str, "size": int, "mtime_ns": int, "ctime_ns": int, "ends": str, "hash": str},
    "crc32": int,  # of the embedding
}
KINDS = [*ENTRY.values()]

Entry = dict[str, Any]  # a track in an index, with the keys of ENTRY; empty if it is damaged


class EmbeddingModel(NamedTuple):
    """Identifies a model: hashes of the weights and of model.py, and the embedding's length."""

    checkpoint: str
    code: str
    values: int


class Index(NamedTuple):
    """The tracks of a folder, and their embeddings (tracks, values) of length 1."""

    collection: str
    model: EmbeddingModel
    tracks: list[Entry]
    embeddings: NDArray
    file: str = "embeddings-0.f32"
    damage: str = ""  # what is damaged
    torn: bool = False  # whether the files end with a part of a track


def index_command(run: Path, collection: str) -> str:
    """Return the command that makes an index."""
    return command_line("python", "retrieve.py", "--run", run, "--index", collection)


def read_index(folder: Path) -> Index | None:
    """The index in a folder, with embeddings mapped from disk; None if it has none.

    Raises `UserError` if it is damaged.
    """
    index = load_index(folder)
    if index and index.damage:  # another command can replace its files while we read them
        index = load_index(folder)
    if index and index.damage:
        command = index_command(folder.parent.parent, index.collection or "FOLDER")
        raise UserError(f"{folder / LINES} is damaged ({index.damage}): run `{command}`")
    return index if index and index.tracks else None


def load_index(folder: Path) -> Index | None:
    """Read an index and check all of it; damage is described, not raised."""
    if not (folder / LINES).exists():
        return None
    try:
        with open(folder / LINES, "rb") as file:
            [first] = parse_lines([file.readline().removesuffix(b"\n")])
            check_form(first, FIRST_LINE)
            # this before the lines, since an embedding is written before its line
            written = (folder / first["file"]).stat().st_size
            *lines, rest = file.read().split(b"\n")
        embeddings = map_rows(folder / first["file"], len(lines), first["values"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Index("", EmbeddingModel("", "", 0), [], np.zeros((0, 0)), damage=f"line 1: {error}")
    row, data = 4 * first["values"], embeddings.reshape(-1).view(np.uint8)
    tracks = [
        entry if is_entry(entry, data[i * row : (i + 1) * row]) else {}
        for i, entry in enumerate(parse_lines(lines))
    ]
    damage = "" if all(tracks) else f"line {tracks.index({}) + 2}"
    if written >= (len(lines) + 2) * row:  # a command that is killed leaves at most one more
        damage = "its last lines are missing"
    torn = bool(rest) or written != len(lines) * row
    model = EmbeddingModel(first["checkpoint"], first["code"], first["values"])
    return Index(first["collection"], model, tracks, embeddings, first["file"], damage, torn)


def map_rows(path: Path, rows: int, values: int) -> NDArray[np.float32]:
    """Map up to this many rows of a file of embeddings: (rows, values)."""
    rows = min(rows, path.stat().st_size // (4 * values))
    if not rows:  # an empty file cannot be mapped
        return np.zeros((0, values), np.float32)
    return np.asarray(np.memmap(path, np.float32, "r", shape=(rows, values)))


def is_entry(entry: Any, embedding: NDArray[np.uint8]) -> bool:
    """Whether a line has the entry of a track, and the checksum of its embedding (bytes,)."""
    if type(entry) is not dict or [type(entry.get(key)) for key in ENTRY] != KINDS:
        return False
    return bool(entry["crc32"] == zlib.crc32(embedding.data))


def write_index(folder: Path, index: Index, rows: Sequence[int]) -> Index:
    """Write some tracks of an index, by name, into new files; return the index of them."""
    rows = sorted(rows, key=lambda row: index.tracks[row]["name"])
    number = int(index.file.removeprefix("embeddings-").removesuffix(".f32")) + 1
    tracks, file = [index.tracks[row] for row in rows], f"embeddings-{number}.f32"
    written = index._replace(tracks=tracks, file=file, damage="", torn=False)
    first = {"collection": index.collection, **index.model._asdict(), "file": file}
    parts = (rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS))
    blocks = (index.embeddings[part].data for part in parts)  # not all of them in memory
    # the embeddings under a new name, then the lines that name them: readers always find both
    write_atomic(folder / file, lambda target: target.writelines(blocks))
    lines = [json_line(first), *map(json_line, written.tracks)]
    write_atomic(folder / LINES, lambda target: target.writelines(lines))
    delete_embeddings(folder, keep=file)
    return written


def delete_embeddings(folder: Path, keep: str = "") -> None:
    """Delete the files of embeddings except one, and the index of an older version."""
    for path in (path for pattern in OTHERS for path in folder.glob(pattern)):
        if path.name != keep:
            with contextlib.suppress(OSError):  # on Windows, while a search has it open
                path.unlink()


class IndexWriter:
    """Appends tracks to the files of an index."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.names = [entry["name"] for entry in index.tracks]
        self.files = [open(folder / name, "ab") for name in (index.file, LINES)]  # noqa: SIM115

    def add(self, entry: Entry, embedding: NDArray[np.float32]) -> None:
        """Append a track: its name, state and hash, and its embedding (values,)."""
        line = json_line(entry | {"crc32": zlib.crc32(embedding.data)})
        try:
            for file, data in zip(self.files, (embedding.tobytes(), line)):
                file.write(data)
                file.flush()
        except OSError as error:
            raise UserError(
                f"the index {self.folder} cannot be written ({error.strerror}): free some space "
                "and run the same command again; it keeps what is embedded"
            ) from error
        self.names.append(entry["name"])

    def close(self) -> None:
        """Close the files, whose content is then on the disk."""
        for file in self.files:
            os.fsync(file.fileno())
            file.close()


@contextlib.contextmanager
def open_index(
    folder: Path, collection: Path, model: EmbeddingModel, paths: dict[str, Path]
) -> Iterator[IndexWriter]:
    """Lock an index inside `with`, to add tracks; `paths` has those in the collection, by name.

    Tracks that are gone, changed or damaged are removed first, and an index without tracks at the
    end. Raises `UserError` if another command holds the lock.
    """
    busy = f"another command is writing to {folder}: wait until it has ended"
    try:
        with lock(folder / "index.lock", busy, delete=True):
            delete_partials(folder)
            existed = (folder / LINES).exists()
            writer = IndexWriter(folder, begin_index(folder, collection, model, paths))
            try:
                yield writer
            finally:
                writer.close()
                if not writer.names:
                    delete_index(folder, existed)
            end_index(folder, writer.names)
    finally:
        for path in (folder, folder.parent):
            with contextlib.suppress(OSError):  # unless they are empty
                path.rmdir()


def begin_index(
    folder: Path, collection: Path, model: EmbeddingModel, paths: dict[str, Path]
) -> Index:
    """Return the index in a folder, or a new one, without the tracks that are not current."""
    empty = Index(str(collection), model, [], np.zeros((0, model.values), np.float32), torn=True)
    found = load_index(folder) or empty
    if found.damage:
        print(f"*** {folder / LINES} is damaged ({found.damage}): what is lost is embedded again")
    rows = [row for row, entry in enumerate(found.tracks) if is_current(entry, paths)]
    if found.tracks and (difference := find_difference(found, model)):
        print(f"the index was made with {difference}: all tracks are embedded again")
        rows, found = [], found._replace(embeddings=empty.embeddings, torn=True)
    if len(rows) == len(found.tracks) and not (found.torn or found.damage):
        return found
    return write_index(folder, found._replace(collection=str(collection), model=model), rows)


def is_current(entry: Entry, paths: dict[str, Path]) -> bool:
    """Whether the track of an entry is there, and has not changed since it was embedded."""
    try:
        return bool(entry) and is_unchanged(paths[entry["name"]], entry)
    except (KeyError, OSError):
        return False


def end_index(folder: Path, names: list[str]) -> None:
    """Sort an index by name, as equal cosines are ranked by row; a search finds it the newest."""
    if names != sorted(names) and (index := load_index(folder)):
        write_index(folder, index, range(len(names)))
    if names:
        (folder / LINES).touch()


def delete_index(folder: Path, existed: bool) -> None:
    """Delete an index without tracks, and print that if it `existed` before this command."""
    if existed:
        print(f"the index {folder} is deleted: none of its tracks is left")
    (folder / LINES).unlink()
    delete_embeddings(folder)


def find_difference(index: Index, model: EmbeddingModel) -> str:
    """Which other model made an index, in words; empty if this one did."""
    if index.model.checkpoint != model.checkpoint:
        return "another checkpoint"
    return "" if index.model == model else "another version of model.py"
