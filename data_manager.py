"""Features to batches: labels, normalization, `GTZANDataset` and its loaders.

The manifest says how much of each track is real: a chunk counts, in training and in scores, when at
least half of it is, or when it is the first of a shorter track. Order is that of the lists.
"""

import dataclasses
import hashlib
import json
import math
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from feature_extraction import SPLITS, choose_genres, genre_of, load_lists, named_genres
from hparams import UserError
from manifest import feature_file, hash_frames, is_current, read_manifest


class Track(NamedTuple):
    """One track of a split: what its list and the manifest say of it."""

    name: str
    label: int
    path: object
    chunks: int
    entry: dict


class GTZANDataset(Dataset):
    """Chunks in memory: x (chunks, frames, bins), y (chunks,).

    An index may be one number or a list of them, for a whole batch at once. `tracks` (chunks,)
    tells which of `names` each chunk was cut from, `normalization` the mean and standard deviation
    that x was normalized by, and `digest` differs where the tracks or their features do.
    """

    def __init__(self, x, y, tracks=None, names=(), normalization=(0.0, 1.0), digest=""):
        self.x = x
        self.y = y
        self.tracks = tracks
        self.names = list(names)
        self.normalization = normalization
        self.digest = digest

    def __getitem__(self, index):
        return self.x[index], self.y[index]

    def __len__(self):
        return self.x.shape[0]


class Batches:
    """Batches of chunk indices, in order or shuffled anew each epoch by a generator of its own.

    A lone last chunk joins the batch before it: one chunk alone has no variance, and a batch
    normalization over it would fail.
    """

    def __init__(self, count, batch_size, seed=None):
        self.count = count
        self.batch_size = batch_size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self):
        whole, rest = divmod(self.count, self.batch_size)
        lone = rest == 1 and whole > 0
        return whole + (rest > 0 and not lone)

    def __iter__(self):
        order = torch.arange(self.count)
        if self.generator is not None:
            order = torch.randperm(self.count, generator=self.generator)
        for batch in range(len(self)):
            start = batch * self.batch_size
            last = batch == len(self) - 1
            yield order[start : None if last else start + self.batch_size]


def get_label(file_name, hparams):
    """Index in `hparams.genres` of a listed track's folder. Raises `UserError` for another one."""
    genre = genre_of(file_name)
    if genre not in hparams.genres:
        known = ", ".join(hparams.genres)
        raise UserError(f"{file_name}: its folder {genre} is none of the genres ({known})")
    return hparams.genres.index(genre)


def counted_chunks(frames, stored, hparams):
    """How many of a track's `stored` chunks count, for `frames` real frames."""
    chunk = hparams.chunk_length
    return min(stored, max(1, (2 * frames + chunk) // (2 * chunk)))


def list_tracks(set_name, hparams):
    """The `Track`s of a split in the order of its list.

    Raises `UserError`, naming the command to run, where features are missing or older than the
    audio, or were extracted with other settings.
    """
    if set_name not in SPLITS:
        raise UserError(f"{set_name!r} is no split: it must be one of {', '.join(SPLITS)}")
    if not hparams.genres:
        hparams = choose_genres(hparams)
    manifest = check_manifest(hparams)
    skipped = set(manifest["skipped"])
    names = load_lists(hparams)[set_name]
    names = [name for name in names if feature_file(set_name, name) not in skipped]
    if not names:
        raise UserError(
            f"every track of the {set_name} split was skipped: repair some or list others"
        )
    return [make_track(set_name, name, manifest["tracks"], hparams) for name in names]


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
    if sorted(hparams.genres) == named_genres(hparams):
        hparams = dataclasses.replace(hparams, genres=[])
    return hparams.command("feature_extraction.py", "data", "feature")


def make_track(set_name, name, entries, hparams):
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
    return Track(name, get_label(name, hparams), path, chunks, entry)


def read_chunks(track, hparams):
    """A track's chunks that count, float32 (chunks, chunk_length, num_mels).

    Raises `UserError` where the file is not the one that the manifest tells of.
    """
    try:
        chunks = np.load(track.path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(track, str(error)) from error
    frames, size = track.entry["frames"], (hparams.chunk_length, hparams.num_mels)
    if chunks.shape[1:] != size or chunks.dtype != np.float32:
        expected = f"float32 (chunks, {size[0]}, {size[1]})"
        raise damaged(track, f"{chunks.dtype} {chunks.shape} is not {expected}")
    if hash_frames(chunks.reshape(-1, hparams.num_mels)[:frames]) != track.entry["hash"]:
        raise damaged(track, "it does not hold the features that were extracted")
    return chunks[: track.chunks]


def damaged(track, reason):
    """The error for a feature file that cannot be used."""
    return UserError(f"{track.path} is damaged ({reason}): delete it and extract it again")


def load_dataset(set_name, hparams):
    """The chunks of a split, not normalized, as taught: x (chunks, frames, bins), y (chunks,)."""
    if not hparams.genres:
        hparams = choose_genres(hparams)
    return stack(list_tracks(set_name, hparams), hparams)


def stack(tracks, hparams):
    """The chunks of tracks and their labels: float32 (chunks, frames, bins), int64 (chunks,)."""
    x = np.concatenate([read_chunks(track, hparams) for track in tracks])
    y = np.repeat([track.label for track in tracks], [track.chunks for track in tracks])
    return x, y


def fit_normalizer(tracks):
    """Mean and standard deviation over the real frames of `Track`s.

    Combined from the sums in the manifest: no feature is read. Constant features give deviation 1.
    """
    entries = [track.entry for track in tracks]
    count = sum(entry["count"] for entry in entries)
    mean = math.fsum(entry["sum"] for entry in entries) / count
    variance = math.fsum(entry["sum_of_squares"] for entry in entries) / count - mean**2
    return mean, math.sqrt(variance) if variance > 1e-12 else 1.0


def get_dataloader(hparams):
    """Loaders of the train, valid and test split, normalized by the train split alone.

    A batch is x float32 (batch, frames, bins), y int64 (batch,). Train batches are shuffled by
    `hparams.seed`; the order of the others is that of the lists.
    """
    if not hparams.genres:
        hparams = choose_genres(hparams)
    splits = {set_name: list_tracks(set_name, hparams) for set_name in SPLITS}
    check_duplicates(splits)
    normalization = fit_normalizer(splits["train"])
    seeds = {"train": hparams.seed}
    return tuple(
        make_loader(tracks, normalization, seeds.get(set_name), hparams)
        for set_name, tracks in splits.items()
    )


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


def make_loader(tracks, normalization, seed, hparams):
    """The loader of a split's `Track`s, shuffled where a seed is given."""
    mean, std = normalization
    x, y = stack(tracks, hparams)
    x -= mean
    x /= std
    owner = np.repeat(np.arange(len(tracks)), [track.chunks for track in tracks])
    names = [track.name for track in tracks]
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    hashes = json.dumps([[track.name, track.label, track.entry["hash"]] for track in tracks])
    digest = hashlib.sha256(hashes.encode()).hexdigest()
    dataset = GTZANDataset(x, y, owner, names, normalization, digest)
    return DataLoader(dataset, None, sampler=Batches(len(dataset), hparams.batch_size, seed))
