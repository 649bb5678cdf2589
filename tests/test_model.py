import dataclasses

import pytest
import torch
from torch import nn

import model
from hparams import HParams
from model import (
    FCN4,
    Baseline,
    ChunkTooShort,
    Compact1D,
    Compact2D,
    MusiCNN,
    SampleCNN,
    WrongInput,
    build_model,
)

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


def waveform(**changed):
    return HParams(**{"genres": GENRES, "feature": "waveform", "chunk_length": 59_049, **changed})


def musicnn(**changed):
    settings = {"num_mels": 96, "chunk_length": 187, "scale": "musicnn", "sample_rate": 16000}
    return HParams(genres=GENRES, model="MusiCNN", **settings | changed)


MODELS = ["Baseline", "FCN4", "SampleCNN", "Compact1D", "Compact2D", "MusiCNN"]
# model, its settings as published, parameters at 50 outputs, those published, width of embed
PUBLISHED = [
    (Baseline, taught(), 65_138, None, 64),
    (FCN4, taught(num_mels=96, chunk_length=1366), 17_365_938, 17.4e6, 2048),
    (SampleCNN, waveform(), 1_869_874, 1.9e6, 512),
    (Compact1D, taught(chunk_length=128), 347_506, None, 512),
    (Compact2D, taught(chunk_length=128), 334_386, None, 384),
    (MusiCNN, musicnn(), 787_159, 792e3, 200),  # with the statistics of batch normalization
]
# model, the smallest settings it takes, what it says of one row less
SMALLEST = [
    (Baseline, taught(chunk_length=115), "Baseline takes chunks of 115 frames or more"),
    (FCN4, taught(num_mels=24, chunk_length=160), "FCN4 takes chunks of 160 frames or more"),
    (SampleCNN, waveform(), "SampleCNN takes chunks of 59049 samples or more"),
    (
        Compact1D,
        taught(num_mels=1, num_mfcc=1, chunk_length=16),
        "Compact1D takes chunks of 16 frames or more",
    ),
    (
        Compact2D,
        taught(num_mels=16, chunk_length=16),
        "Compact2D takes chunks of 16 frames or more",
    ),
    (
        MusiCNN,
        musicnn(num_mels=10, chunk_length=128),
        "MusiCNN takes chunks of 128 frames or more",
    ),
]


def chunks(hparams, count):
    return torch.randn(count, hparams.chunk_length, hparams.num_bins)


@pytest.mark.parametrize(("kind", "hparams", "parameters", "paper", "width"), PUBLISHED, ids=MODELS)
def test_a_model_is_as_published(kind, hparams, parameters, paper, width):
    fifty = dataclasses.replace(hparams, genres=[str(i) for i in range(50)])
    with torch.device("meta"):  # shapes without numbers: FCN4 takes a second otherwise
        net, x = kind(fifty), chunks(fifty, 3)
        assert net(x).shape == (3, 50)
        assert net.embed(x).shape == (3, width)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert paper is None or parameters == pytest.approx(paper, rel=0.02)  # those are rounded


@pytest.mark.parametrize(("kind", "hparams", "message"), SMALLEST, ids=MODELS)
def test_the_smallest_chunk_alone_gives_logits(kind, hparams, message):
    net, x = kind(hparams).eval(), chunks(hparams, 1)
    with torch.inference_mode():
        assert net(x).isfinite().all()
        assert net(x).shape == (1, 8)
        torch.testing.assert_close(net(x), net(x.expand(2, -1, -1))[:1], rtol=1e-3, atol=1e-4)
    short = hparams.chunk_length - 1
    with pytest.raises(ChunkTooShort, match=f"^{message}, not {short}: raise --chunk_length"):
        kind(dataclasses.replace(hparams, chunk_length=short))


@pytest.mark.parametrize(("kind", "hparams", "message"), SMALLEST, ids=MODELS)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_scripted_model_gives_the_same_logits_and_embeddings(kind, hparams, message, tmp_path):
    torch.manual_seed(0)
    net, x = kind(hparams).eval(), chunks(hparams, 2)
    torch.jit.script(net).save(tmp_path / "model.ts")
    scripted = torch.jit.load(tmp_path / "model.ts")
    assert scripted.state_dict().keys() == net.state_dict().keys()
    with torch.inference_mode():
        assert torch.equal(scripted(x), net(x))
        assert torch.equal(scripted.embed(x), net.embed(x))


@pytest.mark.parametrize(("kind", "hparams", "message"), SMALLEST, ids=MODELS)
def test_a_gradient_reaches_every_parameter(kind, hparams, message):
    torch.manual_seed(0)
    net = kind(hparams).eval()  # while training, batch normalization takes the biases out again
    net(chunks(hparams, 2)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("hparams", "pools"),
    [
        (taught(num_mels=96, chunk_length=1366), [(2, 4), (4, 5), (3, 8), (4, 8)]),
        (taught(), [(2, 4), (4, 5), (3, 8), (5, 6)]),
    ],
)
def test_fcn4_pools_as_published_and_the_last_pool_takes_the_rest(hparams, pools):
    with torch.device("meta"):
        net = FCN4(hparams)
        assert net(chunks(hparams, 2)).shape == (2, 8)
    found = [layer.kernel_size for layer in net.modules() if isinstance(layer, nn.MaxPool2d)]
    assert found == pools


def test_fcn4_at_its_published_size():
    hparams = taught(num_mels=96, chunk_length=1366)
    with torch.inference_mode():
        assert FCN4(hparams).eval()(chunks(hparams, 1)).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_mels": 23}, "FCN4 takes 24 bins or more, not 23: raise --num_mels"),
        ({"feature": "mfcc"}, "not 13: raise --num_mfcc"),
        ({"feature": "linear_stft", "fft_size": 44}, "not 23: raise --fft_size"),
        ({"feature": "cqt", "num_cqt_bins": 12}, "not 12: raise --num_cqt_bins"),
        ({"feature": "waveform"}, "not 1: pass another --feature"),
    ],
)
def test_too_few_bins_name_the_flag(settings, message):
    with pytest.raises(WrongInput, match=message):
        FCN4(taught(**settings))


def test_samplecnn_takes_only_waveforms():
    with pytest.raises(
        WrongInput, match="SampleCNN takes waveforms, not log_mel: pass --feature waveform"
    ):
        SampleCNN(taught())
    with pytest.raises(WrongInput, match="SampleCNN takes waveforms, not mfcc"):
        SampleCNN(taught(feature="mfcc", num_mfcc=1, chunk_length=59_049))


def test_samplecnn_takes_longer_chunks():
    hparams = waveform(chunk_length=3 * 59_049)
    with torch.device("meta"):
        assert SampleCNN(hparams)(chunks(hparams, 2)).shape == (2, 8)


# layer, stride, output (channels, samples), parameters, of the paper's table, top to bottom
SAMPLECNN = [
    ("conv 3", 3, (128, 19_683), 512),
    *[("conv 3", 1, (128, 19_683), 49_280), ("maxpool 3", 3, (128, 6561), 0)],
    *[("conv 3", 1, (128, 6561), 49_280), ("maxpool 3", 3, (128, 2187), 0)],
    *[("conv 3", 1, (256, 2187), 98_560), ("maxpool 3", 3, (256, 729), 0)],
    *[("conv 3", 1, (256, 729), 196_864), ("maxpool 3", 3, (256, 243), 0)],
    *[("conv 3", 1, (256, 243), 196_864), ("maxpool 3", 3, (256, 81), 0)],
    *[("conv 3", 1, (256, 81), 196_864), ("maxpool 3", 3, (256, 27), 0)],
    *[("conv 3", 1, (256, 27), 196_864), ("maxpool 3", 3, (256, 9), 0)],
    *[("conv 3", 1, (256, 9), 196_864), ("maxpool 3", 3, (256, 3), 0)],
    *[("conv 3", 1, (512, 3), 393_728), ("maxpool 3", 3, (512, 1), 0)],
    ("conv 1", 1, (512, 1), 262_656),
    ("dropout 0.5", None, (512,), 0),
    ("output", None, (50,), 25_650),
]


def table_row(layer, output):
    """A layer as a row of the paper's table, or None for those that it leaves out."""
    shape, count = tuple(output.shape[1:]), sum(p.numel() for p in layer.parameters())
    if isinstance(layer, nn.Conv1d):
        return f"conv {layer.kernel_size[0]}", layer.stride[0], shape, count
    if isinstance(layer, nn.MaxPool1d):
        return f"maxpool {layer.kernel_size}", layer.stride, shape, count
    if isinstance(layer, nn.Dropout):
        return f"dropout {layer.p}", None, shape, count
    return ("output", None, shape, count) if isinstance(layer, nn.Linear) else None


def test_samplecnn_is_the_papers_table():
    hparams = waveform(genres=[str(i) for i in range(50)])
    rows = []
    with torch.device("meta"):
        net = SampleCNN(hparams)
        for layer in net.modules():
            layer.register_forward_hook(lambda layer, _, out: rows.append(table_row(layer, out)))
        net(chunks(hparams, 1).expand(2, -1, -1))
    assert [row for row in rows if row] == SAMPLECNN


def test_two_dimensional_convolutions_are_initialized_for_relu():
    torch.manual_seed(0)
    weight = FCN4(taught(num_mels=24, chunk_length=160)).conv1[0].weight
    assert weight.abs().max().item() == pytest.approx((6 / (128 * 9)) ** 0.5, rel=0.01)


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


def test_an_unknown_model_lists_the_models():
    with pytest.raises(
        ValueError, match=r"no Basline, only Baseline, FCN4, SampleCNN, .*: did you mean Baseline\?"
    ):
        build_model(HParams(model="Basline"))
    with pytest.raises(ValueError, match="no nn, only Baseline"):
        build_model(HParams(model="nn"))
