"""The data set as one object, read once per command: `read_catalog(hparams)`."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio.chunks import counted_chunks, kept_length
from hparams import HParams
from support.errors import UserError
from tracks.feature_files import Entry, extraction_command, load_feature
from tracks.likeness import find_spread, level
from tracks.lists import SPLITS, Lists, genre_of, load_lists, source_file
from tracks.manifest import Manifest, check_owner, find_fault, is_current, read_manifest
from tracks.tags import TagTable, choose_tags, read_tags

Label = int | tuple[int, ...]  # index of the genre; for tagging a 0 or 1 for each tag


class Track(NamedTuple):
    """A track of a split; `chunks` is the number of its chunks that count."""

    name: str
    label: Label
    chunks: int
    entry: Entry


@dataclasses.dataclass(frozen=True)
class Catalog:
    """A data set in use."""

    hparams: HParams  # with the genres, and for tagging the tags, filled in
    lists: Lists  # the tracks of these genres
    named: list[str]  # all genres in the lists
    tags: dict[str, set[str]]  # the tags of each track, if read
    every: Lists  # the tracks of all genres

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the features. Raises `UserError` if absent, different or damaged."""
        folder = self.hparams.feature_folder()
        manifest = read_manifest(folder)
        if manifest is None:
            raise UserError(f"no features at {folder}: run `{self.extraction_command()}`")
        check_owner(manifest, self.hparams)
        if fault := find_fault(manifest, self.hparams):
            raise UserError(f"{fault} run `{self.extraction_command()}`")
        return manifest

    @cached_property
    def splits(self) -> dict[str, list[Track]]:
        """The tracks of each split, in the order of its list, without skipped ones.

        Raises `UserError` if features are missing or out of date.
        """
        splits = {}
        for split, names in self.lists.items():
            if not (used := self.used(names)):
                raise UserError(
                    f"every track of the {split} split was skipped: repair some, or list others"
                )
            splits[split] = [self.make_track(name) for name in used]
        return splits

    def used(self, names: Sequence[str]) -> list[str]:
        """Return the tracks that are not skipped as broken."""
        return [n for n in names if not self.manifest.broken.get(n, {}).get("skipped")]

    @property
    def skipped(self) -> dict[str, int]:
        """The number of tracks in each split that are left out as broken."""
        return {split: len(self.lists[split]) - len(used) for split, used in self.splits.items()}

    def make_track(self, name: str) -> Track:
        """Return a listed track. Raises `UserError` without up-to-date features."""
        if (entry := self.manifest.tracks.get(name)) is None:
            reason = self.manifest.broken.get(name, {}).get("broken", "")
            shown = f"{name} ({reason})" if reason else name
            raise UserError(f"no features of {shown}: run `{self.extraction_command()}`")
        if not is_current(entry, source_file(self.hparams, name)):
            command = self.extraction_command()
            raise UserError(f"{name} has changed since it was extracted: run `{command}`")
        label = LABELS[self.hparams.task].label(name, self)
        rows = min(entry["frames"], kept_length(entry["frames"], self.hparams))
        return Track(name, label, counted_chunks(rows, self.hparams), entry)

    def extraction_command(self) -> str:
        """Return the command that extracts the features in use."""
        genres = [] if sorted(self.hparams.genres) == self.named else self.hparams.genres
        return extraction_command(dataclasses.replace(self.hparams, genres=genres))

    def check_for_training(self) -> None:
        """Raise `UserError` if splits share a recording, or the train split has only one genre."""
        check_duplicates(self.splits)
        labels = {track.label for track in self.splits["train"]}
        if LABELS[self.hparams.task].are_folders and len(labels) < 2:
            raise UserError("the train split has one genre: a classifier needs two; list another")


def read_catalog(hparams: HParams, *, labels: bool = True) -> Catalog:
    """Read the lists of a data set, and its tags if the task and the caller need them.

    Raises `UserError` if a list or `tags.csv` is missing or malformed, a track occurs twice, a
    split is empty, or a genre has no track in the train split (for tagging: in any split).
    """
    every = load_lists(hparams)
    named = sorted({genre_of(name) for names in every.values() for name in names})
    genres = hparams.genres or named
    by_folder = LABELS[hparams.task].are_folders
    check_genres(genres, every, ("train",) if by_folder else SPLITS, hparams.dataset_path)
    lists, used = {}, set(genres)  # a list would be slow with many tracks and genres
    for split, names in every.items():
        lists[split] = [name for name in names if genre_of(name) in used]
        if not lists[split]:
            raise UserError(f"{split}_list.txt has no track of {', '.join(genres)}: add some")
    if left_out := sum(map(len, every.values())) - sum(map(len, lists.values())):
        print(f"--genres {' '.join(genres)} leaves out {left_out} tracks")
    hparams = dataclasses.replace(hparams, genres=genres)
    table = TagTable(set(), {})
    if labels and not by_folder:
        table = read_tags(hparams, {name for names in every.values() for name in names})
        hparams = dataclasses.replace(hparams, tags=choose_tags(hparams, table, lists))
    return Catalog(hparams, lists, named, table.tracks, every)


def check_genres(genres: list[str], lists: Lists, splits: Sequence[str], folder: str) -> None:
    """Raise `UserError` if these splits have no track of a genre."""
    where = f"{splits[0] if len(splits) == 1 else '*'}_list.txt"
    present = sorted({genre_of(name) for split in splits for name in lists[split]})
    if without := [genre for genre in genres if genre not in present]:
        raise UserError(
            f"no track of {', '.join(without)} in {folder}/{where}: "
            f"it has {', '.join(present)}; pass --genres with some of these"
        )


def get_label(file_name: str, hparams: HParams) -> int:
    """Return the index of a track's folder in `hparams.genres`.

    Raises `UserError` if it is not there.

    Examples
    --------
    >>> get_label("pop/pop.00014.wav", HParams(genres=["jazz", "pop"]))
    1
    """
    genre = genre_of(file_name)
    if genre not in hparams.genres:
        known = ", ".join(hparams.genres)
        raise UserError(f"{file_name}: its folder {genre} is not one of the genres ({known})")
    return hparams.genres.index(genre)


def tag_vector(name: str, catalog: Catalog) -> tuple[int, ...]:
    """Return a 0 or 1 for each tag of `hparams.tags`: whether the track has it."""
    tags = catalog.tags.get(name, ())
    return tuple(int(tag in tags) for tag in catalog.hparams.tags)


class Labels(NamedTuple):
    """How a task labels tracks: by their folders, or by `tags.csv`."""

    are_folders: bool
    label: Callable[[str, Catalog], Label]


LABELS = {
    "genre": Labels(True, lambda name, catalog: get_label(name, catalog.hparams)),
    "tagging": Labels(False, tag_vector),
}


def check_duplicates(splits: dict[str, list[Track]]) -> None:
    """Raise `UserError` if tracks of two splits have the same features, unless they are silent."""
    seen: dict[str, tuple[str, str]] = {}
    for split, tracks in splits.items():
        for track in tracks:
            where = f"{track.name} ({split}_list.txt)"
            first, first_split = seen.setdefault(track.entry["hash"], (where, split))
            if first_split != split and not track.entry["silent"]:
                raise UserError(
                    f"{first} and {where} are the same recording: a recording belongs to one "
                    "split; remove one line (`python dataset/check_leaks.py` finds more)"
                )


def read_chunks(track: Track, hparams: HParams) -> NDArray[np.float32]:
    """Return the chunks of a track that count: (chunks, chunk_length, bins).

    Raises `UserError` if its feature file is damaged.
    """
    return load_feature(track.entry, hparams, track.name)[: track.chunks]


def chunk_labels(tracks: Sequence[Track]) -> NDArray[Any]:
    """Return the label of each chunk: int64 (chunks,), or for tagging float32 (chunks, tags)."""
    labels = np.array([track.label for track in tracks])  # (tracks,) or (tracks, tags)
    return (labels if labels.ndim == 1 else labels.astype(np.float32))[chunk_tracks(tracks)]


def chunk_tracks(tracks: Sequence[Track]) -> NDArray[np.int64]:
    """Return the index of each chunk's track: (chunks,)."""
    return np.repeat(np.arange(len(tracks)), [track.chunks for track in tracks])


def fit_normalizer(tracks: Sequence[Track]) -> tuple[float, float]:
    """Return the mean and standard deviation of the real frames of tracks, from the manifest."""
    entries = [track.entry for track in tracks]
    count = sum(entry["count"] for entry in entries)
    mean = math.fsum(entry["sum"] for entry in entries) / count
    variance = math.fsum(entry["sum_of_squares"] for entry in entries) / count - mean**2
    return mean, math.sqrt(variance) if variance > 1e-12 else 1.0  # 1 for constant features


def digest(tracks: Sequence[Track]) -> str:
    """Return a hash of the names, labels and features of tracks."""
    values = json.dumps([[track.name, track.label, track.entry["hash"]] for track in tracks])
    return hashlib.sha256(values.encode()).hexdigest()


def summarize(tracks: Sequence[Track]) -> dict[str, Any]:
    """Return plain values by which a run recognizes the tracks of a split, and tracks like them."""
    mean, std = fit_normalizer(tracks)
    values = {"names": hash_names([track.name for track in tracks]), "mean": mean, "std": std}
    entries = [track.entry for track in tracks]
    levels = np.stack([level(e["sum"], e["sum_of_squares"], e["count"]) for e in entries])
    return values | {"tracks": len(tracks), "spread": find_spread(levels)}


def hash_names(names: Sequence[str]) -> str:
    """Return a hash of the names of tracks, in any order."""
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()


def is_split(tracks: Sequence[Track], summary: dict[str, Any]) -> bool:
    """Whether tracks have the names and, nearly, the mean features of a summary, in any order."""
    # not by `digest`: processors round features differently
    now, near = summarize(tracks), 1e-6 * summary["std"]
    alike = all(abs(now[name] - summary[name]) <= near for name in ("mean", "std"))
    return alike and bool(now["names"] == summary["names"])
