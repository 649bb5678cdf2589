"""Build a model and try it on a batch."""

import torch

from model import UnknownModel, WrongInput, build_model
from support.errors import UserError


def make_model(hparams):
    """The model, tried on a batch of zeros. Raises `UserError` where it does not fit its input."""
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
        try_lone_chunk(model, hparams)
    return model


def try_lone_chunk(model, hparams):
    """Raise `UserError` where a model cannot train on one chunk alone."""
    try:
        model.train()(torch.zeros(1, hparams.chunk_length, hparams.num_bins))
    except ValueError as error:
        raise UserError(
            f"--batch_size 1: {hparams.model} normalizes over a batch; pass 2 or more ({error})"
        ) from error


def try_model(model, x):
    """The logits of a batch, with the model's weights laid out channels last where it can be.

    2-D convolutions are faster so, others do not change; a model that takes a `view` of what they
    give cannot, and keeps the plain layout.
    """
    try:
        model.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            return model(x)
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)
        with torch.inference_mode():
            return model(x)


def count_parameters(model):
    """Number of values that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
