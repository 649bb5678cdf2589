"""The lists of a data set: which tracks are in which split, their genres and their files.

Names are in Unicode's form NFC, in which an accented letter is one character. Files and folders on
disk can have any form: macOS and archives made there often have NFD, with two characters.
"""

import functools
import os
import re
import unicodedata
from pathlib import Path

from hparams import HParams
from support.errors import UserError
from support.flags import command_line

SPLITS = ("train", "valid", "test")
Lists = dict[str, list[str]]  # the tracks of each split: {"train": ["genre/track.wav", ...], ...}
# a genre becomes a folder and a flag's value, so it has no comma and does not start with . or -
LINE = re.compile(r"[^/.,:\0-][^/,:\0]*/(?!\.\.?$)[^/\0]+")


def load_list(list_name: str, hparams: HParams) -> list[str]:
    """Return the tracks in a list of the data set: `["genre/track.wav", ...]`.

    Accepts a byte-order mark, CRLF, blank lines, backslashes and any Unicode form. Raises
    `UserError` if the list is missing, empty or malformed.
    """
    folder = Path(hparams.dataset_path)
    path = folder / list_name
    try:
        text = nfc(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.is_dir():
            raise UserError(
                f"no data set at {folder}: run `python dataset/demo.py` and pass --dataset_path "
                "dataset/demo to try the pipeline, or see docs/data-sets.md for GTZAN"
            ) from error
        raise UserError(
            f"{path} is missing: it lists the tracks of its split, one genre/track.wav per line; "
            f"`{command_line('python', 'dataset/make_lists.py', folder)}` writes it"
        ) from error
    names = [line.strip().replace("\\", "/") for line in text.split("\n") if line.strip()]
    if not names:
        raise UserError(f"{path} is empty: list at least one genre/track.wav")
    for name in names:
        if not LINE.fullmatch(name):
            raise UserError(
                f"{path}: the line {name!r} must have the form genre/track.wav (a genre has no "
                "comma or colon, and does not start with . or -)"
            )
    return names


def load_lists(hparams: HParams) -> Lists:
    """Return the tracks of all splits. Raises `UserError` if a track occurs twice."""
    lists = {split: load_list(f"{split}_list.txt", hparams) for split in SPLITS}
    seen: dict[str, str] = {}
    for split, names in lists.items():
        for name in names:
            where = f"{name} ({split}_list.txt)"
            first = seen.setdefault(file_key(name), where)
            if first is not where:
                raise UserError(
                    f"{first} and {where} would share one feature file: "
                    "list a track once, in one split; remove one line, or rename the track"
                )
    return lists


def source_path(hparams: HParams, name: str) -> Path:
    """Return the audio file of a listed track, whichever Unicode form its name has on disk."""
    return Path(source_file(hparams, name))


def source_file(hparams: HParams, name: str) -> str:
    """Return `source_path` as text, which takes a quarter of the time of a `Path`."""
    path = f"{hparams.dataset_path}/{name}"
    if name.isascii() or os.path.lexists(path):
        return path
    genre, _, file = name.partition("/")
    folders = same_names(hparams.dataset_path, genre)  # both forms of a genre can exist
    return next((path for folder in folders for path in same_names(folder, file)), path)


def same_names(folder: str, name: str) -> list[str]:
    """Return the paths in a folder whose name is `name` in some Unicode form."""
    try:
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116
        return [f"{folder}/{found}" for found in names_by_form(folder, changed).get(name, ())]
    except OSError:  # the caller meets this error at the path that it gets
        return []


@functools.lru_cache(maxsize=1024)
def names_by_form(folder: str, changed: int) -> dict[str, list[str]]:
    """Return the names in a folder, last changed at `changed`, by their NFC form."""
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names are all that is needed
        names.setdefault(nfc(name), []).append(name)
    return names


def nfc(text: str) -> str:
    """Return text in Unicode's form NFC."""
    return unicodedata.normalize("NFC", text)


def file_key(name: str) -> str:
    """Return a key that is equal for names of the same file on some common file system."""
    # macOS ignores how accents are composed; macOS and Windows ignore case
    return nfc(name).casefold()


def genre_of(name: str) -> str:
    """Return the genre of a listed track: its folder."""
    return name.partition("/")[0]
