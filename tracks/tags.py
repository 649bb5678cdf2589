"""Tags of tracks: `tags.csv` beside the lists, and the sentence that tells of a track by its tags.

A tag is any text without a comma; `category:tag` puts it into a category. Either form of `tags.csv`
does, UTF-8, with tracks named as in the lists:

    track,tag                               track,mood:happy,loud
    jazz/one.mp3,mood:happy,loud            jazz/one.mp3,1,1
    jazz/two.mp3,loud                       jazz/two.mp3,0,1

A first line that begins with `track` is one of names: no list has a track called so. Where it names
anything but `tag`, each of its tags has a column of 0 and 1. Else, and without such a line, a line
is a track and some of its tags, and a track may have several lines.
"""

import csv
import dataclasses
import io
import re
from pathlib import Path
from typing import NamedTuple

from support.errors import UserError
from tracks.lists import choose_genres, load_lists

TAG = re.compile(r"(?![01]$)[^-,\r\n][^,\r\n]*")


HELP = 'see the section "Auto-tagging" of README.md'


class TagTable(NamedTuple):
    """What `tags.csv` tells: the tags it names, a set, and those of each track, {track: set}."""

    tags: set
    tracks: dict


def choose_classes(hparams):
    """`hparams` with its genres filled in and, where the task is tagging, its tags."""
    hparams = choose_genres(hparams)
    return choose_tags(hparams) if hparams.task == "tagging" else hparams


def choose_tags(hparams):
    """`hparams` with its tags filled in: those given, else all that tracks in use have, sorted.

    Raises `UserError` for a tag that no track has, and as `read_tags` does.
    """
    table, path = read_tags(hparams), tags_file(hparams)
    listed = [name for names in load_lists(hparams).values() for name in names]
    used = set().union(*(table.tracks.get(name, ()) for name in listed))
    had = used if hparams.tags else set().union(*table.tracks.values())
    nobody = sorted(set(hparams.tags or table.tags) - had)
    if not used:
        raise UserError(f"{path}: no track in use has a tag: name some there; {HELP}")
    if nobody:
        raise UserError(
            f"{path}: no track in use has {', '.join(nobody)}: take that out, or pass --tags with "
            f"some of {', '.join(sorted(used))}"
        )
    if without := sum(name not in table.tracks for name in listed):
        print(f"{without} of {len(listed)} tracks are not in {path}: they have no tag")
    if unused := sorted(had - used):
        print(f"Tags left out, which no track in use has: {', '.join(unused)}")
    return dataclasses.replace(hparams, tags=hparams.tags or sorted(used))


def tags_file(hparams):
    """Path of the tags of a data set."""
    return Path(hparams.dataset_path, "tags.csv")


def read_tags(hparams):
    """The `TagTable` of a data set. Raises `UserError`, with the line, for a file that is none."""
    path = tags_file(hparams)
    rows = read_rows(path)
    first, names = next(iter(rows), ""), ["tag"]
    if rows and rows[first][0].lower() == "track":
        names = rows.pop(first)[1:]
    if not rows:
        raise UserError(f"{path} names no track: a line is track,tag,tag ...; {HELP}")
    check_tracks(rows, hparams)
    if {name.lower() for name in names} <= {"tag", "tags"}:
        return read_lines(rows)
    check_names(names, first)
    return read_columns(names, rows)


def read_rows(path):
    """The lines of a CSV file that hold anything: {"tags.csv, line 1": cells, ...}."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        rows = {f"{path}, line {reader.line_num}": [*map(str.strip, row)] for row in reader}
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: it names the tags of each track; {HELP}. `python dataset/demo.py` "
            "writes the demo's, data_augment.py with --task tagging that of an augmented data set"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): put a file of tags there; {HELP}"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(
            f"{path} is no CSV ({error}): close the quotes, or take them out"
        ) from error
    return {where: row for where, row in rows.items() if any(row)}


def check_tracks(rows, hparams):
    """Raise `UserError` for a line whose track no list names; backslashes become slashes."""
    lists = load_lists(dataclasses.replace(hparams, genres=[]))
    listed = {name for names in lists.values() for name in names}
    for where, row in rows.items():
        row[0] = row[0].replace("\\", "/")
        if row[0] not in listed:
            raise UserError(
                f"{where}: the track {row[0]!r} is in no list: name it as they do, "
                "genre/track.wav, or take the line out (one of column names begins with track)"
            )


def check_names(tags, where):
    """Raise `UserError` for names that are no tags, or that stand twice."""
    for number, tag in enumerate(tags):
        if not TAG.fullmatch(tag):
            raise UserError(
                f"{where}: {tag!r} is no tag: one holds no comma, does not begin with - and is not "
                "empty, 0 or 1 (columns of 0 and 1 want a first line track,tag,tag ... of names)"
            )
        if tag in tags[:number]:
            raise UserError(f"{where}: names the tag {tag} twice; name each once")


def read_columns(tags, rows):
    """The `TagTable` of lines {where: [track, 0 or 1 for each tag]}."""
    tracks = {}
    for where, (name, *values) in rows.items():
        if name in tracks:
            raise UserError(f"{where}: the track {name} has a line already; take one out")
        if len(values) != len(tags):
            raise UserError(
                f"{where}: has {len(values)} values, it must have {len(tags)}, one a tag"
            )
        for tag, value in zip(tags, values):
            if value not in ("0", "1"):
                raise UserError(f"{where}: {tag} is {value!r}, it must be 0 or 1")
        tracks[name] = {tag for tag, value in zip(tags, values) if value == "1"}
    return TagTable(set(tags), tracks)


def read_lines(rows):
    """The `TagTable` of lines {where: [track, some of its tags ...]}."""
    tracks = {}
    for where, (name, *cells) in rows.items():
        tags = {cell for cell in cells if cell}
        check_names(sorted(tags), where)
        tracks.setdefault(name, set()).update(tags)
    return TagTable(set().union(*tracks.values()), tracks)


def format_tags(tracks):
    """The text of a `tags.csv` of {track: its tags}, a line a track."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("track", "tag"))
    writer.writerows((name, *tags) for name, tags in tracks.items())
    return text.getvalue()


def split_tag(tag):
    """A tag's category, empty where it has none, and its name: `mood:happy` has both."""
    category, _, name = tag.partition(":")
    return (category, name) if category and name else ("", tag)
