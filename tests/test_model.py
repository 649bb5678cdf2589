import pytest
import torch
from torch import nn

import model
from hparams import HParams
from model import Baseline, ChunkTooShort, build_model

GENRES = [str(i) for i in range(8)]


def taught(**changed):
    return HParams(genres=GENRES, **{"chunk_length": 1024, **changed})


def test_baseline_is_the_tutorials_network():
    net = Baseline(taught())
    assert sum(p.numel() for p in net.parameters()) == 62_408
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if p.dim() > 1}
    assert shapes == {
        "conv0.0.weight": (32, 128, 8),
        "conv1.0.weight": (32, 32, 8),
        "conv2.0.weight": (64, 32, 4),
        "linear.0.weight": (64, 192),
        "linear.3.weight": (8, 64),
    }
    pools = [layer.kernel_size for layer in net.modules() if isinstance(layer, nn.MaxPool1d)]
    assert pools == [8, 8, 4]
    kinds = [type(layer).__name__ for layer in (*net.conv0, *net.linear)]
    assert kinds == [
        *("Conv1d", "BatchNorm1d", "ReLU", "MaxPool1d"),
        *("Linear", "ReLU", "Dropout", "Linear"),
    ]


def test_initialization_is_the_tutorials():
    torch.manual_seed(0)
    net = Baseline(taught())
    bound = (6 / (128 * 8)) ** 0.5  # Kaiming uniform
    assert net.conv0[0].weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    bound = (6 / (192 + 64)) ** 0.5  # Xavier uniform
    assert net.linear[0].weight.abs().max().item() == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("chunk_length", [115, 128, 510, 511, 1024, 1280])
def test_baseline_takes_a_chunk(chunk_length):
    net = Baseline(taught(chunk_length=chunk_length)).eval()
    x = torch.randn(3, chunk_length, 128)
    assert net(x).shape == (3, 8)
    assert net.embed(x).shape == (3, 64)
    torch.testing.assert_close(net.linear[-1](net.embed(x)), net(x))


def test_the_default_chunk_gives_64_inputs_to_the_classifier():
    assert Baseline(HParams(genres=GENRES)).linear[0].in_features == 64


def test_a_batch_of_one_shortest_chunk_trains():
    net = Baseline(taught(chunk_length=115)).train()
    net(torch.randn(1, 115, 128)).sum().backward()
    assert net.conv0[0].weight.grad.isfinite().all()


def test_too_short_a_chunk_says_the_shortest():
    with pytest.raises(ChunkTooShort, match="115 frames or more, not 114"):
        Baseline(taught(chunk_length=114))


def test_logits_are_not_probabilities():
    logits = Baseline(taught()).eval()(torch.randn(4, 1024, 128))
    assert not torch.allclose(logits.sum(1), torch.ones(4))


def test_a_class_of_the_file_can_be_built_by_name(monkeypatch):
    class Mine(nn.Module):
        def __init__(self, hparams):
            super().__init__()

    monkeypatch.setattr(Mine, "__module__", "model")
    monkeypatch.setattr(model, "Mine", Mine, raising=False)
    assert isinstance(build_model(HParams(model="Mine")), Mine)


def test_an_unknown_model_names_those_there_are():
    with pytest.raises(ValueError, match=r"no Basline, only Baseline: did you mean Baseline\?"):
        build_model(HParams(model="Basline"))
    with pytest.raises(ValueError, match="no nn, only Baseline"):
        build_model(HParams(model="nn"))
