import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import flags
from torch import nn

from data_manager import Batches, GTZANDataset, StoredChunks, get_dataloader, keep_on, load_dataset
from feature_extraction import main as extract_main
from support.errors import UserError
from tracks.catalog import fit_normalizer, read_catalog


def test_load_dataset_is_as_taught_in_the_order_of_the_list(extracted):
    x, y = load_dataset("train", extracted)
    assert x.shape == (24, 128, 16)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y, np.repeat([0, 1, 2], 8))
    assert y.dtype == np.int64
    first = np.load(extracted.feature_folder() / "classical/classical.00000.wav.npy")
    np.testing.assert_array_equal(x[:2], first)


def test_load_dataset_finds_the_genres_itself(extracted):
    unset = dataclasses.replace(extracted, genres=[])
    np.testing.assert_array_equal(load_dataset("test", unset)[1], np.repeat([0, 1, 2], 4))


def test_normalization_is_that_of_the_train_split_alone(extracted):
    x, _ = load_dataset("train", extracted)
    mean, std = fit_normalizer(read_catalog(extracted).splits["train"])
    assert mean == pytest.approx(x.mean(dtype=np.float64))
    assert std == pytest.approx(x.std(dtype=np.float64))
    train, valid, _ = get_dataloader(extracted)
    assert train.dataset.x.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.dataset.x.std().item() == pytest.approx(1, abs=1e-3)
    raw, _ = load_dataset("valid", extracted)
    np.testing.assert_allclose(valid.dataset.x, (raw - mean) / std, atol=1e-4)


def test_padding_chunks_are_not_loaded(settings):
    padded = dataclasses.replace(settings, feature_length=1024)  # 263 real frames of 1024
    extract_main(flags(padded))
    assert load_dataset("train", padded)[0].shape == (24, 128, 16)


def test_batches_cover_each_chunk_once_and_are_shuffled_by_the_seed():
    first, again, other = Batches(20, 8, 1), Batches(20, 8, 1), Batches(20, 8, 2)
    epochs = [torch.cat(list(b)).tolist() for b in (first, again, other)]
    assert epochs[0] == epochs[1] != epochs[2]
    assert sorted(epochs[0]) == list(range(20))
    assert torch.cat(list(first)).tolist() != epochs[0]
    assert torch.cat(list(Batches(20, 8))).tolist() == list(range(20))


@pytest.mark.parametrize(
    ("count", "sizes"), [(16, [8, 8]), (17, [8, 9]), (18, [8, 8, 2]), (1, [1]), (7, [7]), (9, [9])]
)
def test_a_lone_last_chunk_joins_the_batch_before(count, sizes):
    batches = Batches(count, 8)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_batches_of_one_stay_so():
    assert [len(batch) for batch in Batches(3, 1)] == [1, 1, 1]


def test_loader_yields_batches_a_normalization_layer_takes(extracted):
    odd = dataclasses.replace(extracted, batch_size=23)  # of 24 train chunks
    train, _, _ = get_dataloader(odd)
    norm = nn.BatchNorm1d(16).train()
    sizes = []
    for x, y in train:
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        norm(x[:, 0])  # fails on a batch of one
        sizes.append(len(y))
    assert sizes == [24]


def test_dataset_takes_an_index_or_many():
    data = GTZANDataset(torch.arange(6.0).reshape(3, 2, 1), torch.tensor([0, 1, 2]))
    assert len(data) == 3
    assert data[1][1] == 1
    assert data[[0, 2]][0].shape == (2, 2, 1)


@pytest.mark.parametrize("batch_size", [5, 8])
def test_a_split_too_large_for_memory_gives_the_same_batches(extracted, batch_size):
    cached = get_dataloader(dataclasses.replace(extracted, batch_size=batch_size))
    stored = get_dataloader(dataclasses.replace(extracted, batch_size=batch_size, cache_gb=0))
    for in_memory, on_disk in zip(cached, stored):
        assert isinstance(on_disk.dataset.x, StoredChunks)
        assert on_disk.dataset.x.shape == in_memory.dataset.x.shape
        for (x, y), (same_x, same_y) in zip(in_memory, on_disk, strict=True):
            assert torch.equal(x, same_x)
            assert torch.equal(y, same_y)
    data = stored[0].dataset
    assert torch.equal(data[3][0], cached[0].dataset[3][0])
    assert data[[5, 0, 5]][0].shape == (3, 128, 16)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells no open files")
def test_a_split_on_disk_keeps_no_file_open(extracted):
    train, _, _ = get_dataloader(dataclasses.replace(extracted, cache_gb=0))
    before = len(list(Path("/proc/self/fd").iterdir()))
    batches = list(train)
    assert len(batches) == 3
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_damaged_file_of_a_split_on_disk_is_named(extracted):
    path = extracted.feature_folder() / "jazz/jazz.00001.wav.npy"
    np.save(path, np.load(path)[:1])
    train, _, _ = get_dataloader(dataclasses.replace(extracted, cache_gb=0))
    with pytest.raises(UserError, match=r"jazz.00001.wav.npy is damaged .* delete it and run"):
        list(train)


def test_a_changed_bit_is_noticed_in_memory_and_on_disk(extracted, rng):
    path = extracted.feature_folder() / "jazz/jazz.00001.wav.npy"
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for bit in rng.integers(0, 8 * len(whole), 20):
        changed = whole.copy()
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        for cache_gb in (4.0, 0.0):
            hparams = dataclasses.replace(extracted, cache_gb=cache_gb)
            with pytest.raises(UserError, match=r"jazz.00001.wav.npy is damaged \(it"):
                list(get_dataloader(hparams)[0])


def test_no_numbers_in_a_file_of_a_split_on_disk(extracted):
    path = extracted.feature_folder() / "jazz/jazz.00001.wav.npy"
    chunks = np.load(path)
    chunks[1, 5] = np.nan
    np.save(path, chunks)
    train, _, _ = get_dataloader(dataclasses.replace(extracted, cache_gb=0.0))
    with pytest.raises(
        UserError, match=r"jazz.00001.wav.npy is damaged \(it does not hold the features that"
    ):
        list(train)


def test_chunks_on_disk_are_indexed_as_an_array(extracted):
    stored = get_dataloader(dataclasses.replace(extracted, cache_gb=0.0))[0].dataset.x
    cached = get_dataloader(extracted)[0].dataset.x
    for index in (-1, slice(3, 9, 2), [0, -2]):
        assert torch.equal(stored[index], cached[index])
    with pytest.raises(IndexError):
        stored[24]


def test_a_split_too_large_for_the_gpu_is_a_message(extracted, monkeypatch):
    train, _, _ = get_dataloader(extracted)

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(UserError, match="does not fit into the memory of cuda: pass a smaller"):
        keep_on(torch.device("cuda"), train)


def test_a_split_on_disk_stays_there(extracted):
    train, _, _ = get_dataloader(dataclasses.replace(extracted, cache_gb=0.0))
    keep_on(torch.device("meta"), train)
    assert all(x.device.type == "cpu" for x, _ in train)


def test_start_up_reads_no_features_of_a_split_on_disk(extracted):
    for path in extracted.feature_folder().rglob("*.npy"):
        path.unlink()
    assert len(get_dataloader(dataclasses.replace(extracted, cache_gb=0))[0].dataset) == 24


def test_evaluation_has_larger_batches_on_another_device(extracted):
    loaders = get_dataloader(dataclasses.replace(extracted, batch_size=3))
    for device, sizes in (("cpu", [3, 3, 3]), ("meta", [3, 6, 6])):
        for loader, size in zip(loaders, sizes, strict=True):
            keep_on(torch.device(device), loader)
            assert max(len(y) for _, y in loader) == size


def test_chunks_know_their_track(extracted):
    _, _, test_loader = get_dataloader(extracted)
    np.testing.assert_array_equal(test_loader.dataset.tracks, np.repeat(range(6), 2))
    assert test_loader.dataset.names[2] == "jazz/jazz.00006.wav"


def test_tag_labels_are_a_row_of_0_and_1_per_chunk(extracted_tags):
    x, y = load_dataset("train", extracted_tags)
    assert y.shape == (len(x), 4) == (24, 4)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[::8], [[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]])
    _, batch = next(iter(get_dataloader(extracted_tags)[1]))
    assert batch.dtype == torch.float32
