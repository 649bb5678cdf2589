"""Rules for settings: what holds, and the message if it does not."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from support.errors import UserError


class Rule(NamedTuple):
    """A rule for a setting, and the message if it is broken; `{s.x}` there is setting x."""

    name: str
    holds: Callable[[Any], bool]
    message: str


def check_rules(settings: Any, rules: Iterable[Rule]) -> None:
    """Raise `UserError` (value, rule, remedy) for the first rule that settings break."""
    for rule in rules:
        if not rule.holds(settings):
            value = getattr(settings, rule.name)
            shown = " ".join(value) if isinstance(value, list) else value
            raise UserError(f"--{rule.name} {shown}: {rule.message.format(s=settings)}")


def positive(name: str) -> Rule:
    """Return the rule that a setting is at least 1."""
    return Rule(name, lambda s: getattr(s, name) >= 1, "must be 1 or more")


def not_negative(name: str) -> Rule:
    """Return the rule that a setting is finite and at least 0."""
    return Rule(name, lambda s: 0 <= getattr(s, name) < math.inf, "must be 0 or more")


def at_most(name: str, most: int) -> Rule:
    """Return the rule that a setting is not above a bound."""
    return Rule(name, lambda s: getattr(s, name) <= most, f"must be at most {most}")


def below(name: str, most: str, words: str) -> Rule:
    """Return the rule that a setting is below another one."""
    message = f"must be below {words} ({{s.{most}}})"
    return Rule(name, lambda s: getattr(s, name) < getattr(s, most), message)


def one_of(name: str, *values: str) -> Rule:
    """Return the rule that a setting has one of two or more values."""
    message = f"must be {', '.join(values[:-1])} or {values[-1]}"
    return Rule(name, lambda s: getattr(s, name) in values, message)


def without(name: str, other: str) -> Rule:
    """Return the rule that one of two settings is unset."""
    message = f"and --{other} exclude each other: leave one out"
    return Rule(name, lambda s: not (getattr(s, name) and getattr(s, other)), message)


def is_unique(names: list[str]) -> bool:
    """Whether no name occurs twice."""
    return len(set(names)) == len(names)
