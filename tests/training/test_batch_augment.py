"""Augmentation while training: what each setting does, measured."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import flags

from audio.features import extract_feature
from data_manager import cut_rows, get_dataloader
from feature_extraction import main as extract_main
from hparams import HParams
from tracks.catalog import fit_normalizer, read_catalog
from train_test import Runner
from train_test import main as train_main
from training.batch_augment import Augmenter, draw, mix

ALL = {
    "random_offset": True,
    "gain_db": 6.0,
    "noise_snr_db": 10.0,
    "time_mask": 20,
    "frequency_mask": 4,
    "mixup": 0.3,
}


def augment(hparams, x, y=None, epoch=1, mean=0.0, std=1.0):
    """A batch of all chunks of x, normalized by mean and std, augmented and put back."""
    augmenter = Augmenter(hparams, np.arange(len(x)), (mean, std))
    augmenter.begin_epoch(epoch, torch.device("cpu"))
    y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    changed, labels = augmenter((x - mean) / std, y, torch.arange(len(x)))
    return changed * std + mean, labels, augmenter.drawn


def chunks_of(hparams, rng, count=4):
    """Features (count, 128, bins) of noise, and its waveforms."""
    rows = hparams.chunk_length
    waves = [0.1 * rng.standard_normal((rows + 1) * 512).astype(np.float32) for _ in range(count)]
    features = [extract_feature(y, hparams)[:rows] for y in waves]
    return torch.from_numpy(np.stack(features)), waves


@pytest.mark.parametrize("scale", ["tutorial", "db", "musicnn", "none"])
def test_gain_equals_a_louder_waveform(scale, rng):
    hparams = HParams(scale=scale, gain_db=6.0)
    x, waves = chunks_of(hparams, rng)
    louder, _, drawn = augment(hparams, x, mean=0.3, std=2.0)
    gain_db = drawn["gain_db"].numpy()
    assert len(set(gain_db.tolist())) == 4
    assert 1 < np.abs(gain_db).max() <= 6
    for chunk, y, gain in zip(louder, waves, gain_db, strict=True):
        expected = extract_feature(np.float32(10 ** (gain / 20)) * y, hparams)[:128]
        np.testing.assert_allclose(chunk, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", ["tutorial", "db", "musicnn", "none"])
def test_noise_has_the_snr_drawn(scale, rng):
    hparams = HParams(scale=scale, noise_snr_db=10.0)
    x, _ = chunks_of(hparams, rng)
    noisy, _, drawn = augment(hparams, x)
    back = {"tutorial": lambda f: (10**f - 1) / 10, "db": lambda f: 10 ** (f / 20)}
    back["musicnn"] = lambda f: ((10**f - 1) / 10000).sqrt()
    power, more = (back.get(scale, lambda f: f)(f.double()).square() for f in (x, noisy))
    snr_db = 10 * torch.log10(power.mean((1, 2)) / (more - power).mean((1, 2)))
    np.testing.assert_allclose(snr_db, drawn["snr_db"], atol=0.1)
    assert 10 <= drawn["snr_db"].min() < drawn["snr_db"].max() <= 40


def test_noise_on_a_waveform_has_the_snr_drawn(rng):
    hparams = HParams(feature="waveform", chunk_length=20000, noise_snr_db=10.0)
    x = torch.from_numpy(0.1 * rng.standard_normal((3, 20000, 1)).astype(np.float32))
    noisy, _, drawn = augment(hparams, x)
    noise = noisy - x
    snr_db = 10 * torch.log10(x.square().mean((1, 2)) / noise.square().mean((1, 2)))
    np.testing.assert_allclose(snr_db, drawn["snr_db"], atol=0.3)
    assert abs(torch.corrcoef(torch.stack([x.flatten(), noise.flatten()]))[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("name", "longest", "axis"), [("time_mask", 20, 1), ("frequency_mask", 9, 2)]
)
def test_masks_blank_one_run_up_to_the_longest(name, longest, axis):
    x = torch.ones(200, 128, 64)
    masked, _, _ = augment(HParams(num_mels=64, **{name: longest}), x)
    blank = masked.mean(3 - axis) == 0
    widths = blank.sum(1)
    assert torch.equal(masked.sum((1, 2)), (x.shape[axis] - widths) * 128 * 64 / x.shape[axis])
    assert (widths.min(), widths.max()) == (0, longest)
    runs = (blank[:, 1:] & ~blank[:, :-1]).sum(1) + blank[:, 0]
    assert runs.max() == 1


def test_a_mask_longer_than_the_chunk_blanks_it_at_most():
    masked, _, _ = augment(HParams(chunk_length=8, num_mels=4, time_mask=99), torch.ones(50, 8, 4))
    assert masked.sum((1, 2)).min() == 0


def test_mixup_mixes_chunks_and_labels_alike(rng):
    x, y = torch.eye(3)[:, None, :], torch.tensor([2, 0, 1])
    share = torch.tensor([0.9, 0.5, 1.0])
    mixed, labels = mix(x, y, share, 3)
    np.testing.assert_allclose(mixed[:, 0], [[0.9, 0, 0.1], [0.5, 0.5, 0], [0, 0, 1]], atol=1e-7)
    np.testing.assert_allclose(labels, [[0, 0.1, 0.9], [0.5, 0, 0.5], [0, 1, 0]], atol=1e-7)
    drawn = draw(rng, np.arange(1000), HParams(mixup=0.3))["share"]
    assert 0.5 <= drawn.min() < drawn.max() <= 1


def test_random_offsets_in_tracks_of_one_chunk_are_warned_of(settings, capsys):
    warning = "*** --random_offset has no effect: each track is one chunk"
    for length in (128, 256):
        hparams = dataclasses.replace(settings, feature_length=length, random_offset=True)
        assert extract_main(flags(hparams)) == 0
        train_main(flags(hparams, num_epochs=1))
        assert (warning in capsys.readouterr().out) == (length == 128)


def test_random_offsets_stay_in_the_track_and_reach_all_of_it(rng):
    owner = np.repeat([0, 1, 2], [3, 1, 2])
    hparams = HParams(chunk_length=4, random_offset=True)
    rows = np.stack([draw(rng, owner, hparams)["first_row"] for _ in range(300)])
    assert set(rows[:, :3].ravel()) == set(range(9))
    assert set(rows[:, 3]) == {12}
    assert set(rows[:, 4:].ravel()) == set(range(16, 21))
    x = torch.arange(24.0 * 2).reshape(6, 4, 2)
    cut = cut_rows(x, torch.tensor([0, 5, 20]))
    np.testing.assert_array_equal(
        cut, torch.stack([x.reshape(-1, 2)[r : r + 4] for r in (0, 5, 20)])
    )


def epoch_of(hparams, epoch):
    """All chunks and labels of the train split in an epoch."""
    train, _, _ = get_dataloader(hparams)
    train.dataset.begin_epoch(epoch)
    x, y = train.dataset[torch.arange(len(train.dataset))]
    return x, y


def test_what_is_drawn_depends_on_seed_and_epoch_alone(extracted):
    hparams = dataclasses.replace(extracted, **ALL)
    x, y = epoch_of(hparams, 1)
    again = epoch_of(dataclasses.replace(hparams, batch_size=3), 1)
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])
    assert not torch.equal(x, epoch_of(hparams, 2)[0])
    data = get_dataloader(dataclasses.replace(hparams, mixup=0.0))[0].dataset
    data.begin_epoch(1)
    whole, some = data[torch.arange(len(data))][0], torch.tensor([5, 0, 3])
    assert torch.allclose(data[some][0], whole[some]), "each chunk's own draws, in any batch"
    assert not torch.equal(x, epoch_of(dataclasses.replace(hparams, seed=1), 1)[0])
    assert torch.equal(x, epoch_of(dataclasses.replace(hparams, cache_gb=0.0), 1)[0])


def test_valid_and_test_are_never_augmented(extracted):
    plain = get_dataloader(extracted)
    augmented = get_dataloader(dataclasses.replace(extracted, **ALL))
    for index in (1, 2):
        assert augmented[index].dataset.augmenter is None
        assert torch.equal(augmented[index].dataset.x, plain[index].dataset.x)
    assert (
        fit_normalizer(read_catalog(extracted).splits["train"])
        == augmented[0].dataset.normalization
    )


def test_it_trains_on_augmented_batches(extracted):
    hparams = dataclasses.replace(extracted, **ALL)
    train, _, _ = get_dataloader(hparams)
    train.dataset.begin_epoch(1)
    loss, accuracy = Runner(hparams, train).run(train, "train")
    assert np.isfinite(loss)
    assert 0 <= accuracy <= 1
