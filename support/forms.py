"""Check the form of values that were read from a file: types, ranges and names."""

from collections.abc import Iterable
from typing import Any


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0 on, exact as a float too."""
    return type(value) is int and 0 <= value < 1 << 53


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float holds."""
    return type(value) in (int, float) and -1e300 < value < 1e300


def is_share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1, within rounding."""
    return type(value) in (int, float) and -1e-6 < value < 1 + 1e-6


def has_type(value: object, kind: Any) -> bool:
    """Whether a value has the type of a setting; an int is a float, but a bool is not an int."""
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, float | int if kind is float else kind)


def check_form(value: Any, form: Any, name: str = "its content") -> None:
    """Raise `ValueError` or `KeyError` if a value does not have a form.

    A form is a type, a function that says whether a value is right, `[form]` for a list of such
    values, `{str: form}` for a dict of such values, or `{"name": form}` for a dict with at least
    these names; a name that ends with a question mark can be absent.

    >>> check_form({"tracks": [{"frames": -3}]}, {"tracks": [{"frames": is_count}], "device?": str})
    Traceback (most recent call last):
    ValueError: frames is -3
    """
    kind = type(form) if isinstance(form, list | dict) else form
    if not (isinstance(value, kind) if isinstance(kind, type) else kind(value)):
        raise ValueError(f"{name} is {value!r:.60}")
    for key, inner in find_parts(value, form):
        check_form(value[key], inner, key if isinstance(key, str) else name)


def find_parts(value: Any, form: Any) -> Iterable[tuple[Any, Any]]:
    """Return the index or key of each part of a value that a form describes, and its form."""
    if isinstance(form, list):
        return ((index, form[0]) for index in range(len(value)))
    if not isinstance(form, dict):
        return ()
    if str in form:
        return ((key, form[str]) for key in value)
    needed = ((key.removesuffix("?"), inner, key) for key, inner in form.items())
    return ((key, inner) for key, inner, text in needed if key in value or key == text)
