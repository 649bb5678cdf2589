"""Features to batches: labels, normalization, `GTZANDataset` and its loaders.

A split that fits into `cache_gb` is read once, into one tensor, on the GPU where there is one; of a
larger one each batch is read from its files. Either way a batch is gathered by index.

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

from batch_augment import Augmenter
from hparams import UserError, in_group
from lists import SPLITS, genre_of, load_lists, named_genres
from manifest import counted_chunks, feature_file, is_current, read_manifest
from parallel import run_jobs
from tags import choose_classes, read_tags

EVALUATED = 2  # training batches in one, on a GPU: no gradients are kept


class Track(NamedTuple):
    """One track of a split: what its list, its tags and the manifest say of it.

    The label is the index of its genre, or where the task is tagging a 0 or 1 for each tag.
    """

    name: str
    label: int | tuple
    path: object
    chunks: int
    entry: dict


class GTZANDataset(Dataset):
    """Chunks and their labels: x (chunks, frames, bins), y (chunks,) or, of tags, (chunks, tags).

    An index is a list of numbers, a whole batch (or one number, but for augmented chunks); x is a
    tensor or `StoredChunks`. `tracks` (chunks,) tells which of `names` each chunk was cut from,
    `normalization` the mean and standard deviation that x was normalized by, `digest` differs where
    the tracks or their features do, and `summary` is that of `summarize`.
    """

    augmenter = None  # of the training split, where the settings ask for one

    def __init__(
        self, x, y, tracks=None, names=(), normalization=(0.0, 1.0), digest="", summary=None
    ):
        self.x = x
        self.y = y
        self.tracks = tracks
        self.names = list(names)
        self.normalization = normalization
        self.digest = digest
        self.summary = summary

    def __getitem__(self, index):
        if self.augmenter is None:
            return self.x[index], self.y[index]
        x = cut_rows(self.x, self.augmenter.drawn["first_row"][index])
        return self.augmenter(x, self.y[index], index)

    def __len__(self):
        return self.x.shape[0]

    def begin_epoch(self, epoch):
        """Draw the augmentation of an epoch, the same whenever it is asked for again."""
        if self.augmenter is not None:
            self.augmenter.begin_epoch(epoch, self.y.device)


class StoredChunks:
    """Normalized chunks (chunks, frames, bins) of tracks that are read when asked for.

    Indexed as an array is. No file stays open and nothing is kept; of a file that is not as it was
    extracted, wrong sizes and values that are no numbers are noticed.
    """

    def __init__(self, tracks, normalization, hparams):
        self.files = tracks
        self.mean, self.std = normalization
        self.hparams = hparams
        self.owner = owners(tracks)
        self.first = np.cumsum([0, *(track.chunks for track in tracks)])
        self.shape = (len(self.owner), hparams.chunk_length, hparams.num_bins)

    def __getitem__(self, index):
        index = torch.as_tensor(np.arange(self.shape[0])[index])
        chunks = self.cut_rows(torch.atleast_1d(index) * self.shape[1])
        return chunks.reshape(*index.shape, *self.shape[1:])

    def cut_rows(self, first):
        """Chunks that begin at those rows (batch,) of all, none across two tracks."""
        first, rows = first.numpy(), self.shape[1]
        chunks = np.empty((len(first), *self.shape[1:]), dtype=np.float32)
        owners = self.owner[first // rows]
        for owner in np.unique(owners):
            stored = open_chunks(self.files[owner], self.hparams, mmap_mode="r")
            stored = stored.reshape(-1, self.shape[2])
            for place in np.flatnonzero(owners == owner):
                start = first[place] - self.first[owner] * rows
                chunks[place] = stored[start : start + rows]
            if not np.isfinite(chunks[owners == owner]).all():
                raise damaged(self.files[owner], "it holds values that are no numbers")
        chunks -= self.mean
        chunks /= self.std
        return torch.from_numpy(chunks)


def cut_rows(x, first):
    """Chunks of x (chunks, rows, bins) that begin at those rows (batch,) of all: of any of them."""
    if isinstance(x, StoredChunks):
        return x.cut_rows(first)
    chunks, rows, bins = x.shape
    windows = x.as_strided(((chunks - 1) * rows + 1, rows, bins), (bins, bins, 1))
    return windows[first]


class Batches:
    """Batches of chunk indices, in order or shuffled anew each epoch by a generator of its own.

    The indices are on `device`, the CPU unless that is changed: the same ones on any.
    A lone last chunk joins the batch before it: one chunk alone has no variance, and a batch
    normalization over it would fail.
    """

    def __init__(self, count, batch_size, seed=None):
        self.count = count
        self.batch_size = batch_size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.device = torch.device("cpu")

    def __len__(self):
        whole, rest = divmod(self.count, self.batch_size)
        lone = rest == 1 and whole > 0
        return whole + (rest > 0 and not lone)

    def __iter__(self):
        order = torch.arange(self.count)
        if self.generator is not None:
            order = torch.randperm(self.count, generator=self.generator)
        order = order.to(self.device)  # once an epoch: a copy for each batch would wait for it
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


def load_dataset(set_name, hparams):
    """The chunks of a split, not normalized, as taught: x (chunks, frames, bins), y as `labels`."""
    if not hparams.classes:
        hparams = choose_classes(hparams)
    tracks = list_tracks(set_name, hparams)
    return load_chunks(tracks, (0.0, 1.0), hparams), labels(tracks)


def load_chunks(tracks, normalization, hparams):
    """The chunks of tracks in one array, normalized: float32 (chunks, frames, bins)."""
    mean, std = normalization
    count = sum(track.chunks for track in tracks)
    x = np.empty((count, hparams.chunk_length, hparams.num_bins), dtype=np.float32)
    parts = np.split(x, np.cumsum([track.chunks for track in tracks[:-1]]))

    def fill(job):
        part, track = job
        np.subtract(read_chunks(track, hparams), mean, out=part)
        part /= std

    for _ in run_jobs(fill, list(zip(parts, tracks)), hparams.num_workers, "Load"):
        pass
    return x


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


def get_dataloader(hparams):
    """Loaders of the train, valid and test split, normalized by the train split alone.

    A batch is x float32 (batch, frames, bins), y int64 (batch,), or of tags float32 (batch, tags).
    Train batches are shuffled by `hparams.seed`; the order of the others is that of the lists.
    """
    if not hparams.classes:
        hparams = choose_classes(hparams)
    splits = list_splits(hparams)
    normalization = fit_normalizer(splits["train"])
    seeds = {"train": hparams.seed}
    return tuple(
        make_loader(tracks, normalization, seeds.get(set_name), hparams)
        for set_name, tracks in splits.items()
    )


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


def make_loader(tracks, normalization, seed, hparams):
    """The loader of a split's `Track`s, shuffled where a seed is given."""
    size = sum(track.chunks for track in tracks) * hparams.chunk_length * hparams.num_bins * 4
    if size <= hparams.cache_gb * 1e9:
        x = torch.from_numpy(load_chunks(tracks, normalization, hparams))
    else:
        x = StoredChunks(tracks, normalization, hparams)
    dataset = GTZANDataset(
        x,
        torch.from_numpy(labels(tracks)),
        owners(tracks),
        [track.name for track in tracks],
        normalization,
        digest=digest(tracks),
        summary=summarize(tracks),
    )
    if seed is not None and augments(hparams):
        dataset.augmenter = Augmenter(hparams, dataset.tracks, normalization)
    return DataLoader(dataset, None, sampler=Batches(len(dataset), hparams.batch_size, seed))


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


def augments(hparams):
    """Whether any augmentation is on."""
    return any(getattr(hparams, f.name) for f in in_group("augmentation"))


def keep_on(device, loader):
    """Move a loader's chunks to a device, if they are in memory: batches then come from there.

    Evaluation takes larger batches on a GPU; on a CPU they are slower: they leave its cache.
    Raises `UserError` where the chunks do not fit. Batches read from disk are copied one by one.
    """
    data = loader.dataset
    if device.type != "cpu" and loader.sampler.generator is None:
        loader.sampler.batch_size *= EVALUATED
    if not isinstance(data.x, torch.Tensor):
        return
    try:
        data.x, data.y = data.x.to(device), data.y.to(device)
    except torch.OutOfMemoryError as error:
        gigabytes = data.x.nbytes / 1e9
        raise UserError(
            f"a split of {gigabytes:.1f} GB does not fit into the memory of {device}: "
            "pass a smaller --cache_gb, and batches are read from disk"
        ) from error
    loader.sampler.device = device
