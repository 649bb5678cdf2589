"""The index of a folder: its tracks and their embeddings on disk, and the nearest of them.

It lies in the folder of the run that embedded the tracks, and tells which weights and which code
did: what others embed is not compared with it.
"""

import contextlib
import hashlib
import json
import os
import posixpath
from pathlib import Path
from typing import NamedTuple

import numpy as np

from support.errors import UserError
from support.files import hash_file, source_state, write_atomic, write_text
from support.flags import command_line
from training.checkpoint import model_source

BLOCK = 1 << 16  # embeddings compared at once


ENTRY = {"name": str, "size": int, "mtime_ns": int, "hash": str}


class Index(NamedTuple):
    """Tracks of a folder: an entry each (`ENTRY`), and embeddings (tracks, values) of length 1.

    `checkpoint` and `code` are hashes of what made these: a run's weights and its model's source.
    """

    collection: str
    checkpoint: str
    tracks: list
    embeddings: np.ndarray
    code: str = ""  # an older index tells of none


class Maker(NamedTuple):
    """What makes embeddings: hashes of a checkpoint and its model's source; and how many values."""

    checkpoint: str
    code: str
    values: int


def index_folder(weights, collection):
    """Where a run keeps its index of a folder: one for each, whatever its name."""
    path = Path(collection).resolve()
    code = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return weights.parent / "index" / f"{path.name}-{code}"


def read_index(folder):
    """The `Index` in a folder, its embeddings mapped from disk; None where there is none.

    Raises `UserError` where it is damaged.
    """
    try:
        return load_index(folder)
    except UserError:  # another command may just have put new embeddings into their place
        return load_index(folder)


def load_index(folder):
    """`read_index`, but for an index that is written meanwhile."""
    path = folder / "index.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        file = folder / posixpath.basename(values.pop("embeddings"))
        index = Index(**values, embeddings=np.load(file, mmap_mode="r", allow_pickle=False))
        told = [
            isinstance(track[key], kind) for track in index.tracks for key, kind in ENTRY.items()
        ]
        whole = len(index.embeddings) == len(index.tracks) and index.embeddings.ndim == 2
        if not all(told) or not whole:
            raise ValueError("not what was written")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {folder} and index again") from error
    return index


def write_index(folder, collection, maker, known):
    """Write the index of `known` tracks (name to entry and embedding) into its folder.

    `embeddings-<hash>.npy` first, then `index.json`, which names it: what is there is whole at any
    moment. Older embeddings go.
    """
    tracks, vectors = zip(*(known[name] for name in sorted(known)))
    embeddings = np.stack(vectors)
    path = folder / f"embeddings-{hashlib.sha256(embeddings).hexdigest()[:16]}.npy"
    write_atomic(path, lambda file: np.save(file, embeddings))
    index = Index(collection, maker.checkpoint, tracks, path.name, maker.code)
    write_text(folder / "index.json", json.dumps(index._asdict(), indent=0, ensure_ascii=False))
    delete_embeddings(folder, but=path)


def delete_index(folder):
    """Delete an index of which no track is left, and say so."""
    path = folder / "index.json"
    if path.exists():
        print(f"the index {folder} is deleted: none of its tracks is left")
        path.unlink()
    delete_embeddings(folder)


def delete_embeddings(folder, but=None):
    """Delete the embeddings in an index's folder, but for those of one file."""
    for path in folder.glob("embeddings-*.npy"):
        if path != but:
            with contextlib.suppress(OSError):  # of a search that has it open: next time
                path.unlink()


def find_maker(run):
    """The `Maker` that a run is now. Raises `UserError` where its model has no `embed`."""
    checkpoint, source = hash_file(run.weights), model_source(type(run.model)).encode()
    chunk = np.zeros((1, run.hparams.chunk_length, run.hparams.num_bins), dtype=np.float32)
    return Maker(checkpoint, hashlib.sha256(source).hexdigest()[:32], run.embed(chunk).shape[1])


def other_maker(index, maker):
    """What made an index, in words, where a `Maker` did not; else empty."""
    if index.checkpoint != maker.checkpoint:
        return "another checkpoint"
    same = (index.code, index.embeddings.shape[1]) == (maker.code, maker.values)
    return "" if same else "other code of the model"


def known_tracks(folder, maker, names):
    """Entries and embeddings by name of what an index holds of files that have not changed.

    Nothing where another `Maker` made it. `names` are those of the files there are, with paths.
    """
    try:
        index = read_index(folder)
    except UserError as error:
        print(f"*** {error}: all is embedded again")
        return {}
    if index is None:
        return {}
    if other := other_maker(index, maker):
        print(f"the index was made with {other}: all is embedded again")
        return {}
    return {
        track["name"]: (track, vector)
        for track, vector in zip(index.tracks, np.array(index.embeddings))
        if track["name"] in names and source_state(names[track["name"]]).items() <= track.items()
    }


def choose_index(run, collection):
    """The `Index` of a folder, or the one last written where that is None.

    Raises `UserError`, naming the command to run, where there is none, or made with other weights
    or code.
    """
    if collection:
        folder = index_folder(run.weights, collection)
    else:
        files = run.weights.parent.glob("index/*/index.json")
        newest = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
        folder = newest and newest.parent
    index = folder and read_index(folder)
    if index is None:
        of = f"of {collection}" if collection else "yet"
        command = index_command(run, collection or "FOLDER")
        raise UserError(f"{run.weights.parent} has no index {of}: run `{command}`")
    if other := other_maker(index, find_maker(run)):
        command = index_command(run, index.collection)
        raise UserError(f"the index {folder} was made with {other}: run `{command}` again")
    return index


def index_command(run, collection):
    """The command that indexes a folder."""
    return command_line("python", "retrieve.py", "--run", run.weights.parent, "--index", collection)


def nearest(query, embeddings, count, left_out=()):
    """The `count` embeddings most like a query (values,): their rows and cosines, best first.

    Exact: all of (tracks, values) are compared, block by block, but for rows left out.
    """
    rows, cosines = np.zeros(0, dtype=int), np.zeros(0, dtype=np.float32)
    for start in range(0, len(embeddings), BLOCK):
        found = embeddings[start : start + BLOCK] @ query
        inside = [row - start for row in left_out if start <= row < start + BLOCK]
        found[inside] = -np.inf
        best = np.argpartition(-found, min(count, len(found)) - 1)[:count]
        rows, cosines = np.append(rows, start + best), np.append(cosines, found[best])
        order = np.lexsort((rows, -cosines))[:count]
        rows, cosines = rows[order], cosines[order]
    real = np.isfinite(cosines)
    return rows[real], cosines[real]


def same_tracks(path, index):
    """Rows of an index that are a file itself: of its path, or of its very content."""
    place, content, name = Path(path).resolve(), hash_file(path), None
    if place.is_relative_to(index.collection):
        name = place.relative_to(index.collection).as_posix()
    tracks = enumerate(index.tracks)
    return [row for row, track in tracks if track["name"] == name or track["hash"] == content]
