"""The data set as one object: splits, tracks, labels, features."""

import dataclasses
import hashlib
import json
import math
from typing import NamedTuple

import numpy as np

from audio.chunks import counted_chunks
from support.errors import UserError
from tracks.lists import SPLITS, feature_file, genre_of, load_lists, named_genres
from tracks.manifest import is_current, read_manifest
from tracks.tags import choose_classes, read_tags


class Track(NamedTuple):
    """One track of a split: what its list, its tags and the manifest say of it.

    The label is the index of its genre, or where the task is tagging a 0 or 1 for each tag.
    """

    name: str
    label: int | tuple
    path: object
    chunks: int
    entry: dict


def get_label(file_name, hparams):
    """Index in `hparams.genres` of a listed track's folder. Raises `UserError` for another one."""
    genre = genre_of(file_name)
    if genre not in hparams.genres:
        known = ", ".join(hparams.genres)
        raise UserError(f"{file_name}: its folder {genre} is none of the genres ({known})")
    return hparams.genres.index(genre)


def find_labels(names, hparams):
    """The labels of listed tracks: of each its genre's index, or a 0 or 1 for each tag."""
    if hparams.task != "tagging":
        return [get_label(name, hparams) for name in names]
    tracks = read_tags(hparams).tracks
    return [tuple(int(tag in tracks.get(name, ())) for tag in hparams.tags) for name in names]


def list_tracks(set_name, hparams):
    """The `Track`s of a split in the order of its list.

    Raises `UserError`, naming the command to run, where features are missing or older than the
    audio, or were extracted with other settings.
    """
    if set_name not in SPLITS:
        raise UserError(f"{set_name!r} is no split: it must be one of {', '.join(SPLITS)}")
    if not hparams.classes:
        hparams = choose_classes(hparams)
    manifest = check_manifest(hparams)
    skipped = set(manifest["skipped"])
    names = load_lists(hparams)[set_name]
    names = [name for name in names if feature_file(set_name, name) not in skipped]
    if not names:
        raise UserError(
            f"every track of the {set_name} split was skipped: repair some or list others"
        )
    return [
        make_track(set_name, name, label, manifest["tracks"], hparams)
        for name, label in zip(names, find_labels(names, hparams))
    ]


def check_manifest(hparams):
    """The manifest of the features in use, if they have the settings in use."""
    folder = hparams.feature_folder()
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(f"no features at {folder}: run `{extraction_command(hparams)}`")
    now, then = hparams.feature_settings(), manifest["settings"]
    if now != then:
        differing = [name for name in now | then if now.get(name) != then.get(name)]
        shown = ", ".join(f"{n} {then.get(n)} (now {now.get(n)})" for n in differing)
        raise UserError(
            f"the features at {folder} have other settings: {shown}; pass those, or run "
            f"`{extraction_command(hparams)}`"
        )
    return manifest


def extraction_command(hparams):
    """The command that extracts the features in use."""
    hparams = dataclasses.replace(hparams, tags=[])  # no feature depends on them
    if sorted(hparams.genres) == named_genres(hparams):
        hparams = dataclasses.replace(hparams, genres=[])
    return hparams.command("feature_extraction.py", "data", "task", "feature")


def make_track(set_name, name, label, entries, hparams):
    """The `Track` of a listed file. Raises `UserError` where it has no up-to-date features."""
    key = feature_file(set_name, name)
    entry = entries.get(key)
    if entry is None or entry["source"] != name:
        raise UserError(f"no features of {name} ({set_name}): run `{extraction_command(hparams)}`")
    if not is_current(entry, hparams):
        command = extraction_command(hparams)
        raise UserError(f"{name} has changed since its features were extracted: run `{command}`")
    stored = math.ceil(entry["frames"] / hparams.chunk_length)
    chunks = counted_chunks(entry["frames"], stored, hparams)
    path = hparams.feature_folder() / key
    return Track(name, label, path, chunks, entry)


def read_chunks(track, hparams):
    """A track's chunks that count, float32 (chunks, chunk_length, bins).

    Raises `UserError` where the file does not hold what the manifest tells of: the sum of its
    values tells, if not their order.
    """
    chunks = open_chunks(track, hparams)
    entry = track.entry
    total = chunks.reshape(-1, hparams.num_bins)[: entry["frames"]].sum(dtype=np.float64)
    rounding = 1e-9 * math.sqrt(entry["count"] * entry["sum_of_squares"])
    if not abs(total - entry["sum"]) <= rounding:  # a hash would take five times as long
        raise damaged(track, "it does not hold the features that were extracted")
    return chunks[: track.chunks]


def open_chunks(track, hparams, mmap_mode=None):
    """A track's feature file (chunks, chunk_length, bins), float32, read or mapped.

    Raises `UserError` where it is damaged, as far as its size and shape tell.
    """
    try:
        chunks = np.load(track.path, mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(track, str(error)) from error
    size = (hparams.chunk_length, hparams.num_bins)
    if chunks.shape[1:] != size or chunks.dtype != np.float32 or len(chunks) < track.chunks:
        expected = f"float32 ({track.chunks} or more, {size[0]}, {size[1]})"
        raise damaged(track, f"{chunks.dtype} {chunks.shape} is not {expected}")
    return chunks


def damaged(track, reason):
    """The error for a feature file that cannot be used."""
    return UserError(f"{track.path} is damaged ({reason}): delete it and extract it again")


def labels(tracks):
    """The label of each chunk of tracks: int64 (chunks,), or of tags float32 (chunks, tags)."""
    each = np.array([track.label for track in tracks])
    if each.ndim == 2:
        each = each.astype(np.float32)
    return np.repeat(each, [track.chunks for track in tracks], axis=0)


def owners(tracks):
    """The index of the track of each chunk: int64 (chunks,)."""
    return np.repeat(np.arange(len(tracks)), [track.chunks for track in tracks])


def fit_normalizer(tracks):
    """Mean and standard deviation over the real frames of `Track`s.

    Combined from the sums in the manifest: no feature is read. Constant features give deviation 1.
    """
    entries = [track.entry for track in tracks]
    count = sum(entry["count"] for entry in entries)
    mean = math.fsum(entry["sum"] for entry in entries) / count
    variance = math.fsum(entry["sum_of_squares"] for entry in entries) / count - mean**2
    return mean, math.sqrt(variance) if variance > 1e-12 else 1.0


def list_splits(hparams):
    """The `Track`s of each split by its name, none of them in two.

    Raises `UserError` as `list_tracks` and `check_duplicates` do.
    """
    splits = {set_name: list_tracks(set_name, hparams) for set_name in SPLITS}
    check_duplicates(splits)
    if hparams.task == "genre" and len({track.label for track in splits["train"]}) < 2:
        raise UserError("the train split has one genre: a classifier needs two; list another")
    return splits


def count_skipped(used, hparams):
    """How many listed tracks of each split are left out as broken, of its number `used`."""
    lists = load_lists(hparams)
    return {split: len(lists[split]) - count for split, count in zip(lists, used)}


def check_duplicates(splits):
    """Raise `UserError` where `Track`s of two splits have the same features, silence apart."""
    seen = {}
    for set_name, tracks in splits.items():
        for track in tracks:
            where = f"{track.name} ({set_name}_list.txt)"
            first, first_split = seen.setdefault(track.entry["hash"], (where, set_name))
            if first_split != set_name and track.entry["sum_of_squares"] > 0:
                raise UserError(
                    f"{first} and {where} are the same recording: a track stands in one split; "
                    "take one line out (`python dataset/check_leaks.py` looks for more)"
                )


def digest(tracks):
    """Hex digits that differ where names, labels or features of `Track`s do."""
    told = json.dumps([[track.name, track.label, track.entry["hash"]] for track in tracks])
    return hashlib.sha256(told.encode()).hexdigest()


def summarize(tracks):
    """What a run tells of a split's `Track`s, for `is_split`: plain values."""
    names = json.dumps(sorted(track.name for track in tracks))
    mean, std = fit_normalizer(tracks)
    return {"names": hashlib.sha256(names.encode()).hexdigest(), "mean": mean, "std": std}


def is_split(tracks, summary):
    """Whether `Track`s are those of a summary, in any order: by name, and features as a whole.

    A hash of these, as in `digest`, is another one on another processor: it rounds otherwise.
    """
    now, near = summarize(tracks), 1e-6 * summary["std"]
    alike = all(abs(now[name] - summary[name]) <= near for name in ("mean", "std"))
    return alike and now["names"] == summary["names"]
