"""The settings of a run that starts from another one, `--init_from RUN`.

Features, chunk length, normalization and model are those of that run, since its weights fit nothing
else; only `feature_length`, how much of a track is kept, is free. Torch is loaded only if
`init_from` is set. training/start.py loads the weights.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from hparams import HParams, in_group
from support.errors import UserError
from support.flags import given_flags, make_parser, replace_given


def parse_settings(
    argv: Sequence[str] | None = None, groups: Sequence[str] | None = None, model: bool = True
) -> HParams:
    """Settings from flags, as by `HParams.parse_argument`, on top of those of `init_from`."""
    parser = make_parser(HParams(), groups=groups)
    given = given_flags(parser, argv)
    start = dataclasses.replace(HParams(), **inherited(given, model))
    hparams: HParams = replace_given(start, given, parser)
    return hparams


def inherit(hparams: HParams, argv: Sequence[str] | None = None, model: bool = True) -> HParams:
    """The settings on top of those of the run that `init_from` names, if it is set.

    Settings count as given if `argv` has their flags, or without `argv`, if they differ from the
    default. Raises `UserError` if a given one contradicts the run. Without `model`, the run's model
    is not taken.
    """
    if not hparams.init_from:
        return hparams
    default = HParams().to_dict()
    given = {name: value for name, value in hparams.to_dict().items() if value != default[name]}
    if argv is not None:
        names = given_flags(make_parser(hparams), argv).keys() | {"init_from"}
        given = {name: getattr(hparams, name) for name in names}
    return dataclasses.replace(hparams, **inherited(given, model) | given)


def inherited(given: dict[str, Any], model: bool = True) -> dict[str, Any]:
    """The settings that the run of `init_from` decides, by name; empty if it is not given.

    Raises `UserError` if other values are given.
    """
    run = given.get("init_from")
    if not run:
        return {}
    from training.start import read_source  # loads torch

    names = [f.name for f in in_group("feature")] + ["normalize"] + ["model"] * model
    theirs = read_source(run).hparams
    for name in names:
        value = getattr(theirs, name)
        if name != "feature_length" and given.get(name, value) != value:
            raise UserError(
                f"--{name} {given[name]}: the run {run} of --init_from has {value}, and its "
                "weights fit nothing else; leave the flag out"
            )
    return {name: getattr(theirs, name) for name in names}
