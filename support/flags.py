"""Command-line flags: made from dataclasses of settings, read from files too, and checked."""

import argparse
import dataclasses
import difflib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from support.errors import UserError

ALIASES = {  # what other programs and librosa call a setting
    **{"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "opt": "optimizer"},
    **{"epochs": "num_epochs", "max_epochs": "num_epochs", "scheduler": "lr_schedule"},
    **{"sr": "sample_rate", "n_fft": "fft_size", "win_length": "win_size", "n_mels": "num_mels"},
    **{"hop_length": "hop_size", "n_mfcc": "num_mfcc", "n_bins": "num_cqt_bins"},
    **{"data": "dataset_path", "data_dir": "dataset_path", "output_dir": "run_path"},
    **{"gpu": "device", "workers": "num_workers", "early_stopping": "patience", "amp": "precision"},
}


def setting(default: Any, group: str, text: str, **options: Any) -> Any:
    """Return a dataclass field with a group, a line of help and options for argparse."""
    metadata = {"group": group, "help": text, "options": options}
    if isinstance(default, list):  # a dataclass does not take a mutable default
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def command_line(*words: object) -> str:
    """Join words into a command, quoted for the shell."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def flag_words(name: str, value: Any) -> list[str]:
    """Return the words of a command line that give a setting this value."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *(value if isinstance(value, list) else [str(value)])]


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that reads `@file`s: UTF-8, comments, several flags per line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(expand_files(words, self.error), namespace)


def expand_files(
    words: Sequence[str], fail: Callable[[str], NoReturn], reading: tuple[Path, ...] = ()
) -> list[str]:
    """Replace each `@file` in words by the words of that file; call `fail` with any error."""
    expanded = []
    for word in words:
        if not word.startswith("@"):
            expanded.append(word)
            continue
        path = Path(word[1:])
        if path in reading:  # `reading` has the files that are open around this one
            fail(f"the argument file {path} reads itself")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows adds a BOM
        except (OSError, ValueError) as error:
            fail(f"the argument file {path} cannot be read as UTF-8 text: {error}")
        for line in lines:
            try:
                inner = shlex.split(line, comments=True)
            except ValueError as error:
                fail(f"the line {line!r} of the argument file {path}: {error}")
            expanded += expand_files(inner, fail, (*reading, path))
    return expanded


class ListAction(argparse.Action):
    """Accept both `--genres blues rock` and `--genres blues,rock`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        words = [word for value in values for word in value.split(",") if word]
        setattr(namespace, self.dest, words)


def flag_options(value: Any) -> dict[str, Any]:
    """Return the argparse options of a setting, by the type of its default."""
    if isinstance(value, bool):
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(value, list):
        return {"action": ListAction, "nargs": "*", "metavar": "NAME"}
    return {"type": type(value), "metavar": {str: "TEXT", int: "N", float: "X"}[type(value)]}


def make_parser(*settings: Any, groups: Iterable[str] | None = None) -> Parser:
    """Return a parser for the fields of settings, of all groups or of those given.

    Flags that are absent from the command line are absent from its result.
    """
    parser = Parser(
        usage="%(prog)s [--flag value ...] [@file of flags] [--help]", allow_abbrev=False
    )
    sections: dict[str, Any] = {}
    for owner, f in ((each, f) for each in settings for f in dataclasses.fields(each)):
        group, value = f.metadata["group"], getattr(owner, f.name)
        if groups is not None and group not in groups:
            continue
        section = sections[group] = sections.get(group) or parser.add_argument_group(group)
        options = flag_options(value) | f.metadata["options"]
        text = f.metadata["help"] + (f" [{value}]" if value not in ("", []) else "")
        section.add_argument(f"--{f.name}", default=argparse.SUPPRESS, help=text, **options)
    return parser


def parse_flags(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    refuse: Callable[[str, argparse.Namespace], str] = lambda flag, args: "",
) -> argparse.Namespace:
    """Parse flags, and files before, between and after them; exit on an unknown flag.

    `refuse(flag, args)` can return a better message for one; "" leaves it to `unknown_flag`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--" in words:  # argparse mistakes -a.wav for a flag even after --, but not ./-a.wav
        after = words.index("--") + 1
        words[after:] = [f"./{word}" if word.startswith("-") else word for word in words[after:]]
    args, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        flag = unknown[0].partition("=")[0]
        parser.error(refuse(flag, args) or unknown_flag(flag, parser))
    return args


def given_flags(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of the flags in `argv`, by name; exit on an unknown flag."""
    return vars(parse_flags(parser, argv))


def read_flags(
    argv: Sequence[str] | None, *settings: Any, groups: Iterable[str] | None = None
) -> list[Any]:
    """Return copies of settings, changed by the flags in `argv`; exit on a wrong flag or value."""
    parser = make_parser(*settings, groups=groups)
    given = given_flags(parser, argv)
    return [replace_given(each, given, parser) for each in settings]


def replace_given(settings: Any, given: dict[str, Any], parser: argparse.ArgumentParser) -> Any:
    """Return a copy of settings with given values; exit on values that cannot work."""
    names = {f.name for f in dataclasses.fields(settings)}
    changed = dataclasses.replace(settings, **{n: v for n, v in given.items() if n in names})
    try:
        changed.validate()
    except UserError as error:
        parser.error(str(error))
    return changed


def unknown_flag(flag: str, parser: argparse.ArgumentParser) -> str:
    """Return the message for an unknown flag, with the closest known one."""
    flag = flag.partition("=")[0]
    if flag.strip("-") == "f" and "ipykernel" in sys.modules:
        return f"unknown argument {flag}, of Jupyter: in a notebook pass a list, parse_argument([])"
    # argparse offers its flags only in the help text, as "  -h, --help" or "  --flag"
    names = re.findall(r"(?:^ +|, )(--[\w-]+)", parser.format_help(), re.MULTILINE)
    meant = f"--{ALIASES.get(flag.strip('-').replace('-', '_').lower())}"
    close = [meant] if meant in names else difflib.get_close_matches(flag, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "--help lists all flags"
    return f"unknown argument {flag}: {hint}"
