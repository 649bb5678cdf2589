"""The data set as one object, read once per command: `read_catalog(hparams)`."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio.chunks import counted_chunks
from hparams import HParams
from support.errors import UserError
from tracks.lists import SPLITS, Lists, genre_of, load_lists
from tracks.manifest import Entry, Manifest, feature_file, is_current, read_manifest
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

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the features. Raises `UserError` if absent or different."""
        folder, command = self.hparams.feature_folder(), self.extraction_command()
        manifest = read_manifest(folder)
        if manifest is None:
            raise UserError(f"no features at {folder}: run `{command}`")
        now, then = self.hparams.feature_settings(), manifest.settings
        if now != then:
            differing = [name for name in now | then if now.get(name) != then.get(name)]
            shown = ", ".join(f"{n} {then.get(n)} (now {now.get(n)})" for n in differing)
            other = f"the features at {folder} have other settings: {shown}"
            raise UserError(f"{other}; pass those, or run `{command}`")
        return manifest

    @cached_property
    def splits(self) -> dict[str, list[Track]]:
        """The tracks of each split, in the order of its list, without skipped ones.

        Raises `UserError` if features are missing or out of date.
        """
        splits = {}
        for split, names in self.lists.items():
            used = [n for n in names if not self.manifest.broken.get(n, {}).get("skipped")]
            if not used:
                raise UserError(
                    f"every track of the {split} split was skipped: repair some, or list others"
                )
            splits[split] = [self.make_track(name) for name in used]
        return splits

    @property
    def skipped(self) -> dict[str, int]:
        """The number of tracks in each split that are left out as broken."""
        return {split: len(self.lists[split]) - len(used) for split, used in self.splits.items()}

    def make_track(self, name: str) -> Track:
        """Return a listed track. Raises `UserError` without up-to-date features."""
        if (entry := self.manifest.tracks.get(name)) is None:
            raise UserError(f"no features of {name}: run `{self.extraction_command()}`")
        if not is_current(entry, f"{self.hparams.dataset_path}/{name}"):
            command = self.extraction_command()
            raise UserError(f"{name} has changed since it was extracted: run `{command}`")
        label = LABELS[self.hparams.task].label(name, self)
        return Track(name, label, counted_chunks(entry["frames"], self.hparams), entry)

    def extraction_command(self) -> str:
        """Return the command that extracts the features in use."""
        # features do not depend on tags, and all genres are the default
        genres = [] if sorted(self.hparams.genres) == self.named else self.hparams.genres
        shortest = dataclasses.replace(self.hparams, tags=[], genres=genres)
        return shortest.command("feature_extraction.py", "data", "task", "feature")

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
    return Catalog(hparams, lists, named, table.tracks)


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
            if first_split != split and track.entry["sum_of_squares"] > 0:
                raise UserError(
                    f"{first} and {where} are the same recording: a recording belongs to one "
                    "split; remove one line (`python dataset/check_leaks.py` finds more)"
                )


def read_chunks(track: Track, hparams: HParams) -> NDArray[np.float32]:
    """Return the chunks of a track that count: (chunks, chunk_length, bins).

    Raises `UserError` if the sum of the values in the file differs from that in the manifest.
    """
    chunks = open_chunks(track, hparams)
    entry = track.entry
    # (chunks, chunk_length, bins) -> (rows, bins), of which the first `frames` are not padding
    total = chunks.reshape(-1, hparams.num_bins)[: entry["frames"]].sum(dtype=np.float64)
    rounding = 1e-9 * math.sqrt(entry["count"] * entry["sum_of_squares"])
    if not abs(total - entry["sum"]) <= rounding:  # a hash would take five times as long
        raise damaged(track, "it does not hold the features that were extracted", hparams)
    return chunks[: track.chunks]


def open_chunks(
    track: Track, hparams: HParams, mmap_mode: Literal["r"] | None = None
) -> NDArray[np.float32]:
    """Load a track's feature file (chunks, chunk_length, bins). Raises `UserError` if damaged."""
    try:
        chunks = np.load(feature_file(hparams, track.name), mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(track, str(error), hparams) from error
    size = (hparams.chunk_length, hparams.num_bins)
    if chunks.shape[1:] != size or chunks.dtype != np.float32 or len(chunks) < track.chunks:
        expected = f"float32 ({track.chunks} or more, {size[0]}, {size[1]})"
        raise damaged(track, f"{chunks.dtype} {chunks.shape} is not {expected}", hparams)
    return chunks


def damaged(track: Track, reason: str, hparams: HParams) -> UserError:
    """Return the error for a feature file that cannot be used."""
    path = feature_file(hparams, track.name)
    return UserError(f"{path} is damaged ({reason}): delete it and extract it again")


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
    """Return plain values by which a run recognizes the tracks of a split."""
    names = json.dumps(sorted(track.name for track in tracks))
    mean, std = fit_normalizer(tracks)
    return {"names": hashlib.sha256(names.encode()).hexdigest(), "mean": mean, "std": std}


def is_split(tracks: Sequence[Track], summary: dict[str, Any]) -> bool:
    """Whether tracks have the names and, nearly, the mean features of a summary, in any order."""
    # not by `digest`: processors round features differently
    now, near = summarize(tracks), 1e-6 * summary["std"]
    alike = all(abs(now[name] - summary[name]) <= near for name in ("mean", "std"))
    return alike and bool(now["names"] == summary["names"])
