"""The manifest `features.jsonl`: which features a folder has, and whether they are current.

The first line has the feature settings and library versions. Each later line has one track and is
appended when the track is finished; a track's last line counts. A killed extraction thus loses at
most one track, and the next one continues where it stopped. A line has `track` and either

- `size`, `mtime_ns` of the audio file, `warning` (what is unusual about it), `frames` (real rows,
  without padding), `hash` of these rows, and `sum`, `sum_of_squares` and `count` of their values,
  for normalization; or
- `broken`, the reason why the track has no features, and `skipped`: whether training leaves it out.
"""

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import soundfile
import soxr

from audio.chunks import kept_length
from hparams import HParams
from support.errors import UserError
from support.files import delete_partials, lock, source_state, write_atomic

MANIFEST = "features.jsonl"
OLD_MANIFEST = "features.json"  # of versions before 1.1
ENTRY = {
    **{"warning": str, "size": int, "mtime_ns": int, "frames": int, "hash": str},
    **{"sum": float, "sum_of_squares": float, "count": int},
}
BROKEN = {"broken": str, "skipped": bool}
NPY_HEADER = 128  # bytes that `np.save` writes before the values of an array of three dimensions
LIBRARIES = (np, scipy, soundfile, soxr)
Entry = dict[str, Any]


class Manifest(NamedTuple):
    """The settings of features, and the entries of tracks with features and of broken tracks."""

    settings: dict[str, Any]
    tracks: dict[str, Entry]
    broken: dict[str, Entry]
    size: int  # bytes up to the end of the last whole line


def feature_file(hparams: HParams, name: str) -> Path:
    """Return the path of a track's features."""
    return hparams.feature_folder() / f"{name}.npy"


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a feature folder, or None if the folder has no manifest.

    Raises `UserError` if a whole line is damaged.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        first, *lines = data.split(b"\n")[:-1]  # a killed extraction leaves an unfinished last line
        size = data.rfind(b"\n") + 1
        manifest = Manifest(dict(**json.loads(first)["settings"]), {}, {}, size)
        for line in lines:
            add_entry(json.loads(line), manifest)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}): delete it and extract the features again"
        ) from error
    return manifest


def add_entry(entry: Entry, manifest: Manifest) -> None:
    """Add a track's entry to a manifest, or replace it. Raises `ValueError` if it is malformed."""
    name = entry.pop("track")
    broken = "broken" in entry
    kinds = {"track": str} | (BROKEN if broken else ENTRY)
    values = entry | {"track": name}
    if not all(isinstance(values.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"not an entry: {name!r}")
    manifest.tracks.pop(name, None)
    manifest.broken.pop(name, None)
    (manifest.broken if broken else manifest.tracks)[name] = entry


def is_current(entry: Entry, source: str) -> bool:
    """Whether an audio file is unchanged since its features were extracted."""
    try:
        return source_state(source).items() <= entry.items()
    except (FileNotFoundError, NotADirectoryError):  # features can be used without their audio
        return True


def is_whole(path: Path, entry: Entry, hparams: HParams) -> bool:
    """Whether a feature file has the size that its entry implies."""
    values = kept_length(entry["frames"], hparams) * hparams.num_bins
    try:
        return path.stat().st_size == NPY_HEADER + 4 * values
    except OSError:
        return False


@contextlib.contextmanager
def open_manifest(hparams: HParams) -> Iterator["ManifestWriter"]:
    """Lock a feature folder inside `with`, to add tracks to its manifest.

    Raises `UserError` if another extraction holds the lock.
    """
    folder = hparams.feature_folder()
    busy = (
        f"another extraction is writing to {folder}: wait until it ends, "
        "or pass another --feature_path"
    )
    with lock(folder / "features.lock", busy):
        manifest = read_manifest(folder)
        if manifest and manifest.settings != hparams.feature_settings():
            print(f"{folder} has features with other settings: they are replaced")
            manifest = None
        elif not manifest and (folder / OLD_MANIFEST).exists():
            print(
                f"{folder} has features of an older version: all tracks are extracted again; "
                "you can delete its folders train, valid and test"
            )
        yield ManifestWriter(hparams, manifest)


class ManifestWriter(NamedTuple):
    """Adds tracks to the manifest of a feature folder that is locked."""

    hparams: HParams
    manifest: Manifest | None  # what it holds so far; None starts a new one

    @property
    def path(self) -> Path:
        """The path of the manifest."""
        return self.hparams.feature_folder() / MANIFEST

    def begin(self) -> None:
        """Clean up after a killed extraction, and start a manifest if there is none to continue."""
        delete_partials(self.path.parent)
        if self.manifest:
            os.truncate(self.path, self.manifest.size)  # removes an unfinished last line
            return
        versions = {library.__name__: library.__version__ for library in LIBRARIES}
        first = {
            "settings": self.hparams.feature_settings(),
            "fingerprint": self.hparams.fingerprint(),
            "versions": {"python": platform.python_version(), **versions},
        }
        write_atomic(self.path, lambda file: file.write(json_line(first)))
        (self.path.parent / OLD_MANIFEST).unlink(missing_ok=True)

    def present(self, names: list[str]) -> set[str]:
        """Return the tracks that have whole features and whose audio is unchanged."""
        entries = self.manifest.tracks if self.manifest else {}
        root = self.hparams.dataset_path
        return {
            name
            for name in names
            if (entry := entries.get(name))
            and is_whole(feature_file(self.hparams, name), entry, self.hparams)
            and is_current(entry, f"{root}/{name}")
        }

    def add(self, name: str, entry: Entry) -> None:
        """Append the entry of a finished or broken track."""
        with open(self.path, "ab") as file:
            file.write(json_line({"track": name, **entry}))


def json_line(value: Any) -> bytes:
    """Return a value as one line of JSON."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"
