"""Features to batches: normalization, `GTZANDataset` and its loaders.

    train_loader, valid_loader, test_loader = get_dataloader(hparams)

A split that fits into `cache_gb` is loaded into one tensor, on the GPU if there is one. Larger
splits stay on disk, and each batch is read from their files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hparams import HParams, in_group
from support.errors import UserError
from support.parallel import run_jobs
from tracks import catalog as data_set
from tracks.catalog import Catalog, Track, read_catalog
from tracks.catalog import get_label as get_label
from tracks.feature_files import load_feature, map_feature
from tracks.lists import SPLITS
from training.batch_augment import Augmenter
from training.embeddings import track_embeddings
from training.start import Start, read_start
from training.trained_run import TrainedRun

GPU_EVALUATION = 2  # training batches per evaluation batch on a GPU: no gradients are kept
Loaders = tuple[DataLoader[Any], DataLoader[Any], DataLoader[Any]]


@dataclass(eq=False, repr=False)
class GTZANDataset(Dataset):
    """Chunks and labels of a split; an index is a list of numbers, a whole batch.

    >>> data = GTZANDataset(torch.zeros(3, 128, 64), torch.tensor([0, 1, 1]))
    >>> data[[0, 2]][0].shape
    torch.Size([2, 128, 64])
    """

    x: Any  # Tensor or StoredChunks (chunks, frames, bins); embeddings (chunks, values)
    y: Tensor  # (chunks,), or for tagging (chunks, tags)
    tracks: NDArray[np.int64] | None = None  # (chunks,): the index of each chunk's track in names
    names: Sequence[str] = ()
    normalization: tuple[float, float] = (0.0, 1.0)  # mean and deviation that x was normalized with
    digest: str = ""  # identifies tracks and features exactly
    summary: dict[str, Any] | None = None  # identifies them on other machines too
    augmenter: Augmenter | None = None  # for the train split, if augmentation is on

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        if self.augmenter is None:
            return self.x[index], self.y[index]
        x = cut_rows(self.x, self.augmenter.drawn["first_row"][index])
        return self.augmenter(x, self.y[index], index)

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def begin_epoch(self, epoch: int) -> None:
        """Draw the augmentation of an epoch, the same each time."""
        if self.augmenter is not None:
            self.augmenter.begin_epoch(epoch, self.y.device)


class StoredChunks:
    """Normalized chunks (chunks, frames, bins) that are read from their files for each batch.

    A file is checked when it is first read; a damaged one raises `UserError`.
    """

    def __init__(
        self, tracks: Sequence[Track], normalization: tuple[float, float], hparams: HParams
    ) -> None:
        self.tracks = tracks
        self.mean, self.std = normalization
        self.hparams = hparams
        self.track_of = data_set.chunk_tracks(tracks)
        self.checked = np.zeros(len(tracks), dtype=bool)
        self.first = np.cumsum([0, *(track.chunks for track in tracks)])
        self.shape = (len(self.track_of), hparams.chunk_length, hparams.num_bins)

    def __getitem__(self, index: Any) -> Tensor:
        index = torch.as_tensor(np.arange(self.shape[0])[index])
        chunks = self.cut_rows(torch.atleast_1d(index) * self.shape[1])
        return chunks.reshape(*index.shape, *self.shape[1:])

    def cut_rows(self, first: Tensor) -> Tensor:
        """Return the chunks that begin at rows (batch,) of all tracks' rows, each in one track."""
        starts, rows = first.numpy(), self.shape[1]
        chunks = np.empty((len(starts), *self.shape[1:]), dtype=np.float32)
        batch_tracks = self.track_of[starts // rows]
        for number in np.unique(batch_tracks):
            stored = self.open_track(number).reshape(-1, self.shape[2])  # (rows of the track, bins)
            for place in np.flatnonzero(batch_tracks == number):
                start = starts[place] - self.first[number] * rows
                chunks[place] = stored[start : start + rows]
        chunks -= self.mean
        chunks /= self.std
        return torch.from_numpy(chunks)

    def open_track(self, number: int) -> NDArray[np.float32]:
        """Return the stored chunks of a track; the first time all of them are read."""
        track = self.tracks[number]
        if self.checked[number]:
            return map_feature(track.entry, self.hparams, track.name)
        chunks = load_feature(track.entry, self.hparams, track.name)
        self.checked[number] = True
        return chunks


def cut_rows(x: Any, first: Tensor) -> Tensor:
    """Return the chunks of x (chunks, rows, bins) that begin at rows (batch,) of all rows."""
    if isinstance(x, StoredChunks):
        return x.cut_rows(first)
    chunks, rows, bins = x.shape
    # (chunks, rows, bins) -> (chunks * rows - rows + 1, rows, bins): a window from each row, a view
    windows = x.as_strided(((chunks - 1) * rows + 1, rows, bins), (bins, bins, 1))
    return windows[first]


class Batches(Sampler):
    """Batches of chunk indices, in order, or with a seed shuffled every epoch.

    A final batch of one chunk is merged into the previous batch: batch normalization fails on one
    chunk, which has no variance.
    """

    def __init__(self, count: int, batch_size: int, seed: int | None = None) -> None:
        self.count = count
        self.batch_size = batch_size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.device = torch.device("cpu")  # of the indices

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        merged = rest == 1 and whole > 0
        return whole + (rest > 0 and not merged)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self.count)
        if self.generator is not None:
            order = torch.randperm(self.count, generator=self.generator)
        order = order.to(self.device)  # once per epoch: training would wait for a copy per batch
        edges = [batch * self.batch_size for batch in range(1, len(self))]
        yield from order.tensor_split(edges)


def load_dataset(set_name: str, hparams: HParams) -> tuple[NDArray[np.float32], NDArray]:
    """Return the chunks of a split, not normalized, and their labels.

    Parameters
    ----------
    set_name, hparams : str, HParams
        "train", "valid" or "test", and the settings that the features were extracted with.

    Returns
    -------
    x : float32 (chunks, frames, bins)
    y : int64 (chunks,), or for tagging float32 (chunks, tags)

    Raises
    ------
    UserError
        If `set_name` is not a split, or if features are missing, out of date or damaged.
    """
    if set_name not in SPLITS:
        raise UserError(f"{set_name!r} is not a split: it must be one of {', '.join(SPLITS)}")
    catalog = read_catalog(hparams)
    tracks = catalog.splits[set_name]
    return load_chunks(tracks, (0.0, 1.0), catalog.hparams), data_set.chunk_labels(tracks)


def load_chunks(
    tracks: Sequence[Track], normalization: tuple[float, float], hparams: HParams
) -> NDArray[np.float32]:
    """Return the chunks of tracks in one array, normalized: (chunks, frames, bins)."""
    mean, std = normalization
    count = sum(track.chunks for track in tracks)
    x = np.empty((count, hparams.chunk_length, hparams.num_bins), dtype=np.float32)
    parts = np.split(x, np.cumsum([track.chunks for track in tracks[:-1]]))

    def fill(job: tuple[NDArray, Track]) -> None:
        part, track = job
        np.subtract(data_set.read_chunks(track, hparams), mean, out=part)
        part /= std

    for _ in run_jobs(fill, list(zip(parts, tracks)), hparams.num_workers, "Load"):
        pass
    return x


def get_dataloader(
    hparams: HParams,
    catalog: Catalog | None = None,
    start: Start | None = None,
) -> Loaders:
    """Return loaders of the train, valid and test split, normalized by the train split alone.

    With `init_from` they are normalized as in that run, and with `normalize` none not at all.

    Parameters
    ----------
    hparams : HParams
        The settings that the features were extracted with.
    catalog : Catalog, optional
        The data set, if it has been read already.
    start : Start, optional
        What training begins with, from `training.start.read_start`. If that freezes a network, x
        holds its embeddings (batch, values) instead of chunks.

    Returns
    -------
    train_loader, valid_loader, test_loader : DataLoader
        Batches of x float32 (batch, frames, bins) and y int64 (batch,), or for tagging float32
        (batch, tags). Train batches are shuffled with `hparams.seed`; others are in list order.

    Raises
    ------
    UserError
        If features are missing or out of date, if two splits share a recording, or if the train
        split has only one genre.
    """
    catalog = catalog or read_catalog(hparams)
    catalog.check_for_training()
    train, valid, test = catalog.splits.values()
    normalization = find_normalization(train, start, hparams)
    frozen = start.frozen(hparams) if start else None
    return (
        make_loader(train, normalization, hparams.seed, catalog.hparams, frozen),
        make_loader(valid, normalization, None, catalog.hparams, frozen),
        make_loader(test, normalization, None, catalog.hparams, frozen),
    )


def find_normalization(
    train: Sequence[Track], start: Start | None, hparams: HParams
) -> tuple[float, float]:
    """Return the mean and deviation that become 0 and 1."""
    if start := start or read_start(hparams):
        return start.normalization
    return (0.0, 1.0) if hparams.normalize == "none" else data_set.fit_normalizer(train)


def read_x(
    tracks: Sequence[Track], normalization: tuple[float, float], hparams: HParams
) -> Tensor | StoredChunks:
    """Return the chunks of a split, in memory if they fit into `cache_gb`."""
    size = sum(track.chunks for track in tracks) * hparams.chunk_length * hparams.num_bins * 4
    if size > hparams.cache_gb * 1e9:
        return StoredChunks(tracks, normalization, hparams)
    return torch.from_numpy(load_chunks(tracks, normalization, hparams))


def embed_x(tracks: Sequence[Track], run: TrainedRun, hparams: HParams) -> Tensor:
    """Return the embeddings of a split: (chunks, values)."""
    return torch.from_numpy(np.concatenate(track_embeddings(tracks, run, hparams)))


def make_loader(
    tracks: Sequence[Track],
    normalization: tuple[float, float],
    seed: int | None,
    hparams: HParams,
    frozen: TrainedRun | None = None,
) -> DataLoader[Any]:
    """Return the loader of a split, shuffled and augmented if it has a seed."""
    x = embed_x(tracks, frozen, hparams) if frozen else read_x(tracks, normalization, hparams)
    y, track_of = torch.from_numpy(data_set.chunk_labels(tracks)), data_set.chunk_tracks(tracks)
    names = [track.name for track in tracks]
    identity = data_set.digest(tracks), data_set.summarize(tracks)
    dataset = GTZANDataset(x, y, track_of, names, normalization, *identity)
    augments = any(getattr(hparams, f.name) for f in in_group("augmentation"))
    if seed is not None and augments and not frozen:
        dataset.augmenter = Augmenter(hparams, track_of, normalization)
    return DataLoader(dataset, None, sampler=Batches(len(dataset), hparams.batch_size, seed))


def keep_on(device: torch.device, loader: DataLoader[Any]) -> None:
    """Move a loader's chunks to a device if they are in memory. Raises `UserError` if too large."""
    data, batches = loader.dataset, loader.sampler
    assert isinstance(data, GTZANDataset) and isinstance(batches, Batches)
    if device.type != "cpu" and batches.generator is None:  # on a CPU larger batches are slower
        batches.batch_size *= GPU_EVALUATION
    if not isinstance(data.x, Tensor):
        return
    try:
        data.x, data.y = data.x.to(device), data.y.to(device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"a split of {data.x.nbytes / 1e9:.1f} GB does not fit into the memory of {device}: "
            "pass a smaller --cache_gb, so that batches are read from disk"
        ) from error
    batches.device = device
