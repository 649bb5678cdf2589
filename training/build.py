"""Build a model and check that its input and output fit, before training."""

import contextlib
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

import model as model_file
from hparams import HParams
from model import UnknownModel, WrongInput, build_model
from support.errors import UserError


def make_model(hparams: HParams) -> nn.Module:
    """Build the model and try it on zeros.

    Raises `UserError` if genres (or tags) are unset, or if the model does not fit its input.
    """
    if not hparams.classes:
        raise UserError(
            "the settings have no classes, so a model would have no outputs: pass "
            "`read_catalog(hparams).hparams`, which has those of the data set (docs/python.md)"
        )
    try:
        model = build_model(hparams)
    except (UnknownModel, WrongInput) as error:
        raise UserError(f"--model {hparams.model}: {error}") from error
    logits = try_model(model.eval(), torch.zeros(2, hparams.chunk_length, hparams.num_bins))
    expected, shape = (2, len(hparams.classes)), getattr(logits, "shape", type(logits).__name__)
    if shape != expected:
        raise UserError(
            f"--model {hparams.model}: a batch of 2 chunks gives {shape}, "
            f"it must give logits {expected}, one for each of hparams.classes"
        )
    if not count_parameters(model):
        raise UserError(f"--model {hparams.model}: has no parameters to train")
    if hparams.batch_size == 1:
        try_single_chunk(model, hparams)
    return model


@torch.no_grad()  # weights converted in inference mode could not be trained
def try_model(model: nn.Module, x: Tensor) -> Tensor:
    """Logits of a batch; leaves the weights in channels-last layout if the model works with it.

    2-D convolutions are faster in that layout; other layers are unaffected. Models that take a
    `view` of a convolution's output fail in it.
    """
    try:
        return model.to(memory_format=torch.channels_last)(x)  # type: ignore[call-overload]
    except RuntimeError:
        return model.to(memory_format=torch.contiguous_format)(x)  # type: ignore[call-overload]


def try_single_chunk(model: nn.Module, hparams: HParams) -> None:
    """Raise `UserError` if a model cannot train on a batch of one chunk."""
    # batch normalization cannot, if it sees a single value per channel
    try:
        model.train()(torch.zeros(1, hparams.chunk_length, hparams.num_bins))
    except ValueError as error:
        raise UserError(
            f"--batch_size 1: {hparams.model} normalizes over a batch; pass 2 or more ({error})"
        ) from error


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def is_network(name: str) -> bool:
    """Whether a model is a class in model.py, not a classifier of classic.py."""
    return model_file.is_model(getattr(model_file, name, None))


def last_layer(hparams: HParams) -> set[str]:
    """Names of the weights whose shapes depend on the number of classes.

    Raises `UserError` if there are none.
    """
    shapes = [weight_shapes(hparams, len(hparams.classes) + more) for more in (0, 1)]
    if names := {name for name, shape in shapes[0].items() if shapes[1].get(name) != shape}:
        return names
    raise UserError(
        f"{hparams.model} of model.py has no last layer: no weight's shape depends on "
        "len(hparams.classes)"
    )


def last_module(model: nn.Module, hparams: HParams) -> nn.Module:
    """The part of a model that turns embeddings into logits.

    Raises `UserError` unless it is one module, and `forward` is `embed` and then this module.
    """
    [path, *others] = {name.rpartition(".")[0] for name in last_layer(hparams)}
    module, x = model.get_submodule(path), torch.rand(2, hparams.chunk_length, hparams.num_bins)
    embed: Any = getattr(model.eval(), "embed", None)
    with contextlib.suppress(RuntimeError, TypeError), torch.no_grad():
        x = x.to(next(model.parameters()).device)
        if (
            embed
            and not others
            and torch.allclose(module(embed(x).flatten(1)), model(x), 1e-4, 1e-5)
        ):
            return module
    raise UserError(
        f"--model {hparams.model}: training its last layer alone needs `embed(x)` in model.py, and "
        "one last layer that turns its result into that of `forward(x)`, as in Compact1D"
    )


def weight_shapes(hparams: HParams, classes: int) -> dict[str, torch.Size]:
    """The shape of each weight of the model with this many classes."""
    names = [str(number) for number in range(classes)]
    hparams = dataclasses.replace(hparams, genres=names, tags=names)
    with torch.random.fork_rng(devices=[]):  # a model draws its initial weights
        try:
            with torch.device("meta"):  # where tensors take no memory
                model = build_model(hparams)
        except (NotImplementedError, RuntimeError):  # it needs its tensors' values
            model = build_model(hparams)
    return {name: weight.shape for name, weight in model.state_dict().items()}
