"""A dataclass of settings as command-line flags, and files of flags."""

import argparse
import dataclasses
import difflib
import os
import shlex
import subprocess
from pathlib import Path


def command_line(*words):
    """What to type for a command of these words: those with spaces and such in quotes."""
    words = [str(word) for word in words]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def given_flags(parser, argv=None):
    """The settings that the flags of `argv` name, and their values: a dict, in the flags' order."""
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(unknown_flag(unknown[0], parser))
    return vars(args)


def flag_words(name, value):
    """A setting as the words of a command line."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *(value if isinstance(value, list) else [str(value)])]


class Parser(argparse.ArgumentParser):
    """argparse that reads `@file`s with comments and several flags a line."""

    def convert_arg_line_to_args(self, line):
        try:
            return shlex.split(line, comments=True)
        except ValueError as error:
            self.error(f"the line {line!r} of an argument file: {error}")

    def _read_args_from_files(self, words, reading=()):
        """As argparse does it, but UTF-8 on every system, and no file within itself."""
        expanded = []
        for word in words:
            if not word.startswith("@"):
                expanded.append(word)
                continue
            path = Path(word[1:])
            if path in reading:
                self.error(f"the argument file {path} reads itself")
            try:
                lines = path.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                self.error(f"the argument file {path} cannot be read as UTF-8 text: {error}")
            inner = [word for line in lines for word in self.convert_arg_line_to_args(line)]
            expanded += self._read_args_from_files(inner, (*reading, path))
        return expanded


class ListAction(argparse.Action):
    """Takes `--genres blues rock` and `--genres blues,rock` alike."""

    def __call__(self, parser, namespace, values, option_string=None):
        words = [word for value in values for word in value.split(",") if word]
        setattr(namespace, self.dest, words)


def flag_options(value):
    """How argparse reads a setting, told from its default value."""
    if isinstance(value, bool):
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(value, list):
        return {"action": ListAction, "nargs": "*", "metavar": "NAME"}
    return {"type": type(value), "metavar": {str: "TEXT", int: "N", float: "X"}[type(value)]}


def make_parser(settings):
    """The parser of all flags, grouped; its defaults are `settings`."""
    parser = Parser(
        usage="%(prog)s [--flag value ...] [@file of flags] [--help]",
        allow_abbrev=False,
        fromfile_prefix_chars="@",
    )
    groups = {}
    for f in dataclasses.fields(settings):
        name = f.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        value = getattr(settings, f.name)
        options = flag_options(value) | f.metadata["options"]
        shown = f" [{value}]" if value not in ("", []) else ""
        text = f.metadata["help"] + shown
        groups[name].add_argument(f"--{f.name}", default=argparse.SUPPRESS, help=text, **options)
    return parser


def unknown_flag(flag, parser):
    """The message for a flag that a parser does not know: it names the closest one."""
    flag = flag.partition("=")[0]
    names = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(flag, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "--help lists all flags"
    return f"unknown argument {flag}: {hint}"
