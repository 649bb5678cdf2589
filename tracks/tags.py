"""Read the tags of tracks from `tags.csv` next to the lists.

A tag is any text without a comma; `category:tag` gives it a category. The file is UTF-8, names
tracks as the lists do, and has one of two forms:

    track,tag                               track,mood:happy,loud
    jazz/one.mp3,mood:happy,loud            jazz/one.mp3,1,1
    jazz/two.mp3,loud                       jazz/two.mp3,0,1

A first line that starts with `track` has column names. If they are not just `tag`, they are tags,
each with a column of 0 and 1. Otherwise, each line has a track and some of its tags, and a track
can have several lines.
"""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hparams import HParams
from support.errors import UserError
from tracks.lists import Lists, nfc

# tags are values of --tags, so they have no comma and do not start with -
TAG = re.compile(r"(?![01]$)[^-,\r\n][^,\r\n]*")
HELP = "see docs/tagging.md"
Rows = dict[str, list[str]]  # cells of each line: {"tags.csv, line 1": [track, ...], ...}


class TagTable(NamedTuple):
    """The contents of `tags.csv`: all tags, and the tags of each track."""

    tags: set[str]
    tracks: dict[str, set[str]]


def choose_tags(hparams: HParams, table: TagTable, lists: Lists) -> list[str]:
    """Return the tags to learn: `hparams.tags`, or all tags of listed tracks, sorted.

    Raises `UserError` for a tag that no listed track has.
    """
    path = tags_file(hparams)
    listed = [name for names in lists.values() for name in names]
    used = set[str]().union(*(table.tracks.get(name, ()) for name in listed))
    present = used if hparams.tags else set[str]().union(*table.tracks.values())
    if not used:
        raise UserError(f"{path}: no listed track has a tag: add some there; {HELP}")
    if absent := sorted(set(hparams.tags or table.tags) - present):
        raise UserError(
            f"{path}: no listed track has {', '.join(absent)}: remove that, or pass --tags with "
            f"some of {', '.join(sorted(used))}"
        )
    if without := sum(name not in table.tracks for name in listed):
        print(f"{without} of {len(listed)} tracks are not in {path}: they have no tag")
    if unused := sorted(present - used):
        print(f"Tags left out because no listed track has them: {', '.join(unused)}")
    return hparams.tags or sorted(used)


def tags_file(hparams: HParams) -> Path:
    """Return the path of a data set's tags."""
    return Path(hparams.dataset_path, "tags.csv")


def read_tags(hparams: HParams, listed: set[str]) -> TagTable:
    """Read `tags.csv`. Raises `UserError` if it is malformed or names a track outside the lists."""
    path = tags_file(hparams)
    rows = read_rows(path)
    first, names = next(iter(rows), ""), ["tag"]
    if rows and rows[first][0].lower() == "track":
        names = rows.pop(first)[1:]
    if not rows:
        raise UserError(f"{path} names no track: write lines of track,tag,tag ...; {HELP}")
    check_tracks(rows, listed)
    if {name.lower() for name in names} <= {"tag", "tags"}:
        return read_lines(rows)
    check_names(names, first)
    return read_columns(names, rows)


def read_rows(path: Path) -> Rows:
    """Return the non-empty lines of a CSV file."""
    try:
        text = nfc(path.read_text(encoding="utf-8-sig"))
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        rows = {f"{path}, line {reader.line_num}": [*map(str.strip, row)] for row in reader}
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: it lists the tags of each track; {HELP}. `python dataset/demo.py` "
            "writes it for the demo, data_augment.py --task tagging for an augmented data set"
        ) from error
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror})"
        raise UserError(f"{reason}: make it a readable file; {HELP}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path} is not valid CSV ({error}): close or remove the quotes") from error
    return {where: row for where, row in rows.items() if any(row)}


def check_tracks(rows: Rows, listed: set[str]) -> None:
    """Raise `UserError` if a track is not listed; replace backslashes in names by slashes."""
    for where, row in rows.items():
        row[0] = row[0].replace("\\", "/")
        if row[0] not in listed:
            raise UserError(
                f"{where}: no list has the track {row[0]!r}: name it as the lists do, "
                "genre/track.wav, or remove the line (column names start with track)"
            )


def check_names(tags: list[str], where: str) -> None:
    """Raise `UserError` if a name cannot be a tag, or occurs twice."""
    for number, tag in enumerate(tags):
        if not TAG.fullmatch(tag):
            raise UserError(
                f"{where}: {tag!r} cannot be a tag: a tag has no comma, does not start with - and "
                "is not empty, 0 or 1 (columns of 0 and 1 need a first line track,tag,tag ...)"
            )
        if tag in tags[:number]:
            raise UserError(f"{where}: repeats the tag {tag}; name each once")


def read_columns(tags: list[str], rows: Rows) -> TagTable:
    """Return the tags in lines [track, 0 or 1 for each tag]."""
    tracks: dict[str, set[str]] = {}
    for where, (name, *values) in rows.items():
        if name in tracks:
            raise UserError(f"{where}: the track {name} already has a line; remove one")
        if len(values) != len(tags):
            count = f"has {len(values)} values, it must have {len(tags)}, one per tag"
            raise UserError(f"{where}: {count}")
        for tag, value in zip(tags, values):
            if value not in ("0", "1"):
                raise UserError(f"{where}: {tag} is {value!r}, it must be 0 or 1")
        tracks[name] = {tag for tag, value in zip(tags, values) if value == "1"}
    return TagTable(set(tags), tracks)


def read_lines(rows: Rows) -> TagTable:
    """Return the tags in lines [track, some of its tags ...]."""
    tracks: dict[str, set[str]] = {}
    for where, (name, *cells) in rows.items():
        tags = {cell for cell in cells if cell}
        check_names(sorted(tags), where)
        tracks.setdefault(name, set()).update(tags)
    return TagTable(set[str]().union(*tracks.values()), tracks)


def format_tags(tracks: Mapping[str, list[str]]) -> str:
    """Return the text of a `tags.csv` with a line per track."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("track", "tag"))
    writer.writerows((name, *tags) for name, tags in tracks.items())
    return text.getvalue()


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into category and name; the category of `loud` is ""."""
    category, _, name = tag.partition(":")
    return (category, name) if category and name else ("", tag)
