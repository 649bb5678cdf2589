"""Features to batches: labels, normalization, `GTZANDataset` and its loaders.

A split that fits into `cache_gb` is read once, into one tensor, on the GPU where there is one; of a
larger one each batch is read from its files. Either way a batch is gathered by index.

The manifest says how much of each track is real: a chunk counts, in training and in scores, when at
least half of it is, or when it is the first of a shorter track. Order is that of the lists.
"""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hparams import in_group
from support.errors import UserError
from support.parallel import run_jobs
from tracks.catalog import (
    damaged,
    digest,
    fit_normalizer,
    labels,
    list_splits,
    list_tracks,
    open_chunks,
    owners,
    read_chunks,
    summarize,
)
from tracks.tags import choose_classes
from training.batch_augment import Augmenter

EVALUATED = 2  # training batches in one, on a GPU: no gradients are kept


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
