"""The manifest `features.jsonl`: which features a folder has, and of which audio.

The first line has the place of the data set, the feature settings and library versions. Each later
line has one track and is appended when the track is finished; a track's last line counts. A killed
extraction thus loses at most one track, and the next one continues where it stopped. A line has
`track` and either

- the state of the audio file (`support.files.source_state`), `warning` (what is unusual about it),
  `silent` (whether it holds no sound), `frames` (real rows, without padding), `hash` of these rows,
  `sum`, `sum_of_squares` and `count` of their values, for normalization, and `crc32` of the values
  in the feature file; or
- `broken`, the reason why the track has no features, and `skipped`: whether training leaves it out.

Each line ends with a checksum of itself. Training refuses damaged lines; extraction drops them and
extracts their tracks again.
"""

import contextlib
import dataclasses
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

from hparams import HParams
from support.errors import UserError
from support.files import (
    delete_partials,
    is_unchanged,
    json_line,
    lock,
    parse_lines,
    write_atomic,
)
from tracks.feature_files import Entry, extraction_command, is_whole
from tracks.feature_files import feature_file as feature_file
from tracks.lists import source_file

MANIFEST = "features.jsonl"
OLD_MANIFEST = "features.json"  # of versions before 1.1
ENTRY = {
    **{"warning": str, "silent": bool, "size": int, "mtime_ns": int, "ctime_ns": int, "ends": str},
    **{"frames": int, "hash": str, "sum": float, "sum_of_squares": float, "count": int},
    **{"crc32": int},
}
BROKEN = {"broken": str, "skipped": bool}
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
BATCH = 4096  # lines parsed at once: they share the strings of their keys
MOST_ROWS = 2**33  # of a track: a day at 96 kHz as a waveform
LIBRARIES = (np, scipy, soundfile, soxr)


class Manifest(NamedTuple):
    """What the manifest of a feature folder holds."""

    settings: dict[str, Any]
    tracks: dict[str, Entry]  # those with features
    broken: dict[str, Entry]
    size: int  # bytes up to the end of the last whole line
    place: str = ""  # of the data set; empty if an older version wrote the manifest
    damaged: tuple[int, ...] = ()  # the numbers of damaged lines; 1 means that nothing is known


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a feature folder, or None if the folder has no manifest."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    # a killed extraction leaves an unfinished last line
    first, *lines = data[: data.rfind(b"\n") + 1].split(b"\n")
    try:
        values = parse_lines([first])[0]
        settings, place = dict(values["settings"]), str(values["place"])
    except MALFORMED:
        return Manifest({}, {}, {}, 0, damaged=() if is_old(first) else (1,))
    manifest, damaged = Manifest(settings, {}, {}, data.rfind(b"\n") + 1, place), []
    for start in range(0, len(lines) - 1, BATCH):
        batch = lines[start : min(start + BATCH, len(lines) - 1)]
        for number, entry in enumerate(parse_lines(batch), start + 2):
            try:
                add_entry(entry, manifest)
            except MALFORMED:
                damaged.append(number)
    return manifest._replace(damaged=tuple(damaged))


def is_old(first: bytes) -> bool:
    """Whether the first line of a manifest is of an older version, whose lines had no checksum."""
    try:
        return json.loads(first).keys() == {"settings", "fingerprint", "versions"}
    except MALFORMED:
        return False


def add_entry(entry: Entry, manifest: Manifest) -> None:
    """Add a track's entry to a manifest, or replace it. Raises `ValueError` if it is malformed."""
    name, kinds = entry.pop("track"), BROKEN if "broken" in entry else ENTRY
    if [type(entry[key]) for key in kinds] != [*kinds.values()] or type(name) is not str:
        raise ValueError("not an entry")
    if kinds is ENTRY:
        counts = 0 < entry["frames"] <= MOST_ROWS and entry["count"] > 0
        if not (counts and abs(entry["sum"]) < 1e100 and 0 <= entry["sum_of_squares"] < 1e100):
            raise ValueError("not the numbers of a track")
    manifest.tracks.pop(name, None)
    manifest.broken.pop(name, None)
    (manifest.broken if kinds is BROKEN else manifest.tracks)[name] = entry


def is_current(entry: Entry, source: str) -> bool:
    """Whether the audio of features is unchanged, as far as it can be read."""
    try:
        return is_unchanged(source, entry)
    except OSError:  # features can be used without their audio
        return True


@contextlib.contextmanager
def open_manifest(hparams: HParams) -> Iterator["ManifestWriter"]:
    """Lock a feature folder inside `with`, to add tracks to its manifest.

    Raises `UserError` if another extraction holds the lock, or another data set the folder.
    """
    folder = hparams.feature_folder()
    busy = (
        f"another extraction is writing to {folder}: wait until it ends, "
        "or pass another --feature_path"
    )
    with lock(folder / "features.lock", busy):
        manifest = read_manifest(folder)
        if manifest is None:
            if (folder / OLD_MANIFEST).exists():
                print(
                    f"{folder} has features of an older version: all tracks are extracted again; "
                    "you can delete its folders train, valid and test"
                )
            yield ManifestWriter(hparams, None)
        else:
            yield ManifestWriter(hparams, repair(manifest, hparams))


def repair(manifest: Manifest, hparams: HParams) -> Manifest | None:
    """Return what can be used of a manifest, or None; print what cannot.

    Raises `UserError` if the features are of another data set that is still there.
    """
    check_owner(manifest, hparams)
    folder, again = hparams.feature_folder(), "all tracks are extracted again"
    if 1 in manifest.damaged:
        print(f"{folder / MANIFEST} is damaged (line 1): {again}")
        return None
    if not manifest.place:
        print(f"{folder} has features of an older version: {again}")
        return None
    if manifest.settings != hparams.feature_settings():
        print(f"{folder} has features with other settings: they are replaced")
        return None
    if manifest.damaged:
        shown = format_lines(manifest)
        print(f"{folder / MANIFEST} is damaged ({shown}): their tracks are extracted again")
    if manifest.place != hparams.data_place():
        print(f"{folder} has features of {manifest.place}, which is gone: equal files keep them")
        return keep_unchanged(manifest, hparams)
    return manifest


def find_fault(manifest: Manifest, hparams: HParams) -> str:
    """Return why training cannot use the features of a manifest, up to "run", or nothing."""
    folder, now, then = hparams.feature_folder(), hparams.feature_settings(), manifest.settings
    if manifest.damaged:
        return f"{folder / MANIFEST} is damaged ({format_lines(manifest)}):"
    if not manifest.place:
        return f"the features at {folder} are of an older version:"
    if manifest.place != hparams.data_place():
        return f"the features at {folder} are of {manifest.place}, which is gone:"
    differing = [name for name in now | then if now.get(name) != then.get(name)]
    shown = ", ".join(f"{n} {then.get(n)} (now {now.get(n)})" for n in differing)
    return f"the features at {folder} have other settings: {shown}; pass those, or" if shown else ""


def check_owner(manifest: Manifest, hparams: HParams) -> None:
    """Raise `UserError` if the features are of another data set that is still there."""
    place = manifest.place
    # os.path: a damaged place can be a name that no system takes
    if place and place != hparams.data_place() and os.path.exists(place):  # noqa: PTH110
        own = extraction_command(dataclasses.replace(hparams, feature_path=""))
        raise UserError(
            f"the features at {hparams.feature_folder()} are of the data set {place}: leave out "
            f"--feature_path, or pass another, and run `{own}`"
        )


def format_lines(manifest: Manifest) -> str:
    """Return which lines of a manifest are damaged, in words."""
    shown = ", ".join(map(str, manifest.damaged[:5]))
    return f"line {shown}" + (" ..." if len(manifest.damaged) > 5 else "")


def keep_unchanged(manifest: Manifest, hparams: HParams) -> Manifest:
    """Return the manifest of a data set that moved, with the tracks whose files are the same."""

    def is_same(name: str, entry: Entry) -> bool:
        try:
            return is_unchanged(source_file(hparams, name), entry)
        except OSError:
            return False

    kept = {name: entry for name, entry in manifest.tracks.items() if is_same(name, entry)}
    return manifest._replace(tracks=kept, broken={})


class ManifestWriter(NamedTuple):
    """Adds tracks to the manifest of a feature folder that is locked."""

    hparams: HParams
    manifest: Manifest | None  # what it holds so far; None starts a new one

    @property
    def path(self) -> Path:
        """The path of the manifest."""
        return self.hparams.feature_folder() / MANIFEST

    def begin(self) -> None:
        """Clean up after a killed extraction, and start or repair a manifest where necessary."""
        delete_partials(self.path.parent)
        old, place = self.manifest, self.hparams.data_place()
        if old and old.place == place and not old.damaged:
            os.truncate(self.path, old.size)  # removes an unfinished last line
            return
        versions = {library.__name__: library.__version__ for library in LIBRARIES}
        first = {
            "place": place,
            "settings": self.hparams.feature_settings(),
            "fingerprint": self.hparams.fingerprint(),
            "versions": {"python": platform.python_version(), **versions},
        }
        entries = {**old.tracks, **old.broken} if old else {}
        lines = [first, *({"track": name, **entry} for name, entry in entries.items())]
        write_atomic(self.path, lambda file: file.writelines(map(json_line, lines)))
        (self.path.parent / OLD_MANIFEST).unlink(missing_ok=True)

    def survey(self, names: list[str]) -> tuple[set[str], dict[str, OSError]]:
        """Find tracks with whole features: those whose audio is unchanged, or cannot be read.

        The second are given with the errors. The audio of all other tracks must be extracted.
        """
        present, unreadable = set(), dict[str, OSError]()
        entries = self.manifest.tracks if self.manifest else {}
        for name in names:
            entry = entries.get(name)
            if entry is None or not is_whole(entry, self.hparams, name):
                continue
            try:
                if is_unchanged(source_file(self.hparams, name), entry):
                    present.add(name)
            except OSError as error:
                unreadable[name] = error
        return present, unreadable

    def add(self, name: str, entry: Entry) -> None:
        """Append the entry of a finished or broken track."""
        with open(self.path, "ab") as file:
            file.write(json_line({"track": name, **entry}))
