"""A run rebuilt from its checkpoint alone, and the flags of the scripts that use one."""

import contextlib
import dataclasses
import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_run, write_long

import model
from audio.reading import find_audio
from support.errors import UserError
from training.trained_run import TrainedRun, parse_run_flags, run_parser


class Mine(torch.nn.Module):
    """A model that model.py has in some tests and lacks in others."""

    def __init__(self, hparams):
        super().__init__()
        self.head = torch.nn.Linear(hparams.num_mels, len(hparams.genres))

    def forward(self, x):
        return self.head(x.mean(1))


@pytest.fixture
def mine(settings, monkeypatch):
    """A run of a model of one's own without `embed`; returns the path of its weights."""
    monkeypatch.setattr(Mine, "__module__", "model")
    monkeypatch.setattr(model, "Mine", Mine, raising=False)
    return save_run(dataclasses.replace(settings, model="Mine"), "runs/mine")


def test_a_run_of_another_version_is_a_message(settings, mine, weights, monkeypatch):
    TrainedRun(mine, "cpu")
    monkeypatch.delattr(model, "Mine")
    with pytest.raises(UserError, match=r"needs the model Mine: model.py has no Mine"):
        TrainedRun(mine, "cpu")
    other = model.build_model(dataclasses.replace(settings, num_mels=20)).state_dict()
    changed = {
        "another Baseline: restore that class .* or train again": {"model": other},
        "written by another version .*this version has no setting chunk_size.*train again": {
            "hparams": settings.to_dict() | {"chunk_size": 1}
        },
        "written by another version .*hop_size 0: must be 1 or more": {
            "hparams": settings.to_dict() | {"hop_size": 0}
        },
        "not a best.pt of this version": {"mean": None},
    }
    for message, parts in changed.items():
        path = save_run(settings, "runs/other", **parts)
        with pytest.raises(UserError, match=message) as caught:
            TrainedRun(path, "cpu")
        assert "\n" not in str(caught.value)


def test_settings_too_large_for_the_weights_are_refused_before_memory_is_used(settings):
    """The rules allow this chunk length; its model would have 268 MB of weights."""
    hparams = dataclasses.replace(settings, chunk_length=1 << 22, feature_length=0, num_mels=1)
    hparams.validate()
    path = save_run(settings, "runs/large", hparams=hparams.to_dict())
    with limited_memory(64 << 20), pytest.raises(UserError, match="weights of another Baseline"):
        TrainedRun(path, "cpu")


@contextlib.contextmanager
def limited_memory(more):
    """Let the process allocate only so many bytes more."""
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("only Linux says how much memory a process has reserved")
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_model_without_embed_is_a_message(mine):
    chunks = np.zeros((2, 128, 16), dtype=np.float32)
    run = TrainedRun(mine, "cpu")
    assert run.probabilities(chunks).shape == (2, 3)
    with pytest.raises(UserError, match="Mine of model.py has no embed: add `def embed"):
        run.embed(chunks)


def test_chunks_are_normalized_as_in_training(weights, rng):
    run = TrainedRun(weights, "cpu")
    chunks = rng.standard_normal((3, 128, 16)).astype(np.float32)
    with torch.inference_mode():
        expected = run.model(torch.from_numpy((chunks - 0.1) / 0.2).float()).softmax(1)
    np.testing.assert_allclose(run.probabilities(chunks), expected, atol=1e-6)
    assert run.embed(chunks).shape == (3, 64)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--", "-a.wav"], ["-a.wav"]),
        (["a.wav", "--device", "cpu", "--", "-b.wav", "c.wav"], ["a.wav", "-b.wav", "c.wav"]),
        (["--device", "cpu", "--", "--device", "--"], ["--device", "--"]),
    ],
)
def test_names_after_two_dashes_are_not_flags(words, files):
    parser = run_parser("x")
    parser.add_argument("files", nargs="+")
    assert find_audio(parse_run_flags(parser, words).files) == list(map(Path, files))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--num_mels", "--num_mels: settings come from the run, {run}; leave it out"),
        ("--no-class_weights", "--no-class_weights: settings come from the run"),
        ("--feature_length=0", "--feature_length: settings come from the run"),
        ("--devise", "unknown argument --devise: did you mean --device?"),
        ("--zzz", "unknown argument --zzz: --help lists all flags"),
    ],
)
def test_flags_that_set_a_setting_of_the_run_are_refused(weights, capsys, flag, message):
    with pytest.raises(SystemExit):
        parse_run_flags(run_parser("x"), [flag, "64"])
    assert message.format(run=weights.parent) in capsys.readouterr().err


def test_an_unknown_device_is_a_message(weights):
    with pytest.raises(UserError, match="--device abacus: must be 0"):
        TrainedRun(weights, "abacus")


@pytest.mark.parametrize(
    "name", ["predict", "training.index", "training.ranking", "training.trained_run"]
)
def test_the_examples_of_docstrings_run(weights, name):
    write_long(Path("song.wav"), 3)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
