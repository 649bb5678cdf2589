"""A model is built and tried on a batch before training; what does not fit is a message."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import flags

import model
import train_test
from data_manager import get_dataloader
from feature_extraction import main as extract_main
from support.errors import UserError
from train_test import Runner
from training.build import make_model


def test_a_batch_of_one_is_refused_if_the_model_cannot_train_on_it(extracted):
    lone = {"feature": "waveform", "chunk_length": 3**10, "feature_length": 0, "batch_size": 1}
    with pytest.raises(UserError, match="--batch_size 1: SampleCNN normalizes over a batch"):
        Runner(dataclasses.replace(extracted, model="SampleCNN", **lone))


class Flattening(torch.nn.Module):
    """As many write it: a view of a 2-D convolution's output, which channels-last forbids."""

    def __init__(self, hparams):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.MaxPool2d(8))
        self.linear = torch.nn.Linear(4 * 16 * 2, len(hparams.genres))

    def forward(self, x):
        x = self.conv(x.unsqueeze(1))
        return self.linear(x.view(x.size(0), -1))


@pytest.mark.parametrize("name", ["Flattening", "Compact2D"])
def test_convolutions_are_channels_last_if_the_model_allows_it(extracted, monkeypatch, name):
    Flattening.__module__ = "model"
    monkeypatch.setattr(model, "Flattening", Flattening, raising=False)
    hparams = dataclasses.replace(extracted, model=name)
    runner = Runner(hparams)
    train_loader, _, _ = get_dataloader(hparams)
    assert np.isfinite(runner.run(train_loader, "train")[0])
    weights = [p for p in runner.model.parameters() if p.ndim == 4 and p.shape[1] > 1]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert bool(weights) == (name == "Compact2D")


class PerGenre(torch.nn.Module):
    """A model as written for genres."""

    def __init__(self, hparams):
        super().__init__()
        self.head = torch.nn.Linear(hparams.num_bins, len(hparams.genres))

    def forward(self, x):
        return self.head(x.mean(1))


def test_a_model_with_one_output_per_genre_is_a_message(extracted_tags, monkeypatch):
    monkeypatch.setattr(PerGenre, "__module__", "model")
    monkeypatch.setattr(model, "PerGenre", PerGenre, raising=False)
    with pytest.raises(UserError, match=r"logits \(2, 4\), one for each of hparams.classes"):
        make_model(dataclasses.replace(extracted_tags, model="PerGenre"))


def test_an_unknown_model(extracted):
    with pytest.raises(UserError, match="model.py has no Basline, only Baseline"):
        train_test.main(flags(extracted, model="Basline"))


def test_a_chunk_too_short_for_the_model(settings):
    short = dataclasses.replace(settings, chunk_length=64)
    extract_main(flags(short))
    with pytest.raises(UserError, match="Baseline takes chunks of 115 frames or more, not 64"):
        train_test.main(flags(short))


def test_features_that_the_model_does_not_take(extracted):
    with pytest.raises(UserError, match="takes waveforms, not log_mel: pass --feature waveform"):
        train_test.main(flags(extracted, model="SampleCNN"))
    with pytest.raises(UserError, match="FCN4 takes 24 bins or more, not 16: raise --num_mels"):
        train_test.main(flags(extracted, model="FCN4"))


def test_a_model_that_gives_no_logits(extracted, monkeypatch):
    class Mine(model.Baseline):
        def forward(self, x):
            return self.embed(x)

    monkeypatch.setattr(Mine, "__module__", "model")
    monkeypatch.setattr(model, "Mine", Mine, raising=False)
    with pytest.raises(UserError, match=r"2 chunks gives .*64.*, it must give logits \(2, 3\)"):
        train_test.main(flags(extracted, model="Mine"))
