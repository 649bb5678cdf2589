"""Build a model and check that its input and output fit, before training."""

import torch
from torch import Tensor, nn

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
