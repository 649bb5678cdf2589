"""Splits a folder of class folders into train, valid and test lists.

    python dataset/make_lists.py my_music
    python dataset/make_lists.py my_music --group_by "/(.+?) - "

Three fifths of each class go to train, a fifth to valid, a fifth to test, drawn by a seed. Tracks
of one group (an artist, an album, a source recording) stay in one split: the group is what the
first parentheses of the expression match in `class/track.mp3`.
"""

import argparse
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script sees its own folder only

from audio.reading import SUFFIXES, files_below
from support.errors import UserError, run_script
from support.files import write_atomic
from tracks.lists import LINE, genre_of, same_file

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


def find_tracks(folder):
    """The audio files of a folder's class folders, `["class/track.wav", ...]`, sorted.

    Raises `UserError` where there is none, or two would share a feature file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}: name one that holds a folder of tracks a class")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.glob("*/*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise UserError(f"{folder} has no audio in folders of its own, such as {folder}/jazz/a.wav")
    seen = {}
    for name in names:
        if not is_listable(name):
            raise UserError(
                f"{name!r} in {folder} cannot stand in a list: rename it without commas, colons, "
                "backslashes, control characters, letters that are no UTF-8, or spaces, - or . at "
                "its ends"
            )
        other = seen.setdefault(same_file(name), name)
        if other != name:
            raise UserError(f"{other} and {name} would share one feature file: rename one of them")
    return names


def is_listable(name):
    """Whether a line of a list that names a track is read back as the same."""
    kinds = {unicodedata.category(letter) for letter in name}
    return (
        LINE.fullmatch(name) is not None
        and name == name.strip().replace("\\", "/")
        and not kinds & {"Cc", "Cs"}  # control characters, and bytes that are no UTF-8
    )


def print_left_out(folder, names):
    """Say which other files there are: of a format that is not read, or in folders too deep."""
    files = [path for path in files_below(folder) if path.suffix != ".txt"]
    listed, others = set(names), [path.relative_to(folder).as_posix() for path in files]
    others = [name for name in others if name not in listed]
    if others:
        shown = ", ".join(map(repr, others[:3])) + (" ..." if len(others) > 3 else "")
        print(
            f"left out: {len(others)} files that are no audio libsndfile reads, or not in a class "
            f"folder: {shown} (ffmpeg -i song.m4a song.wav converts)"
        )


def group_tracks(names, group_by):
    """The tracks of each group: `{group: [name, ...]}`; without an expression, each is its own."""
    if not group_by:
        return {name: [name] for name in names}
    try:
        expression = re.compile(group_by)
    except re.error as error:
        raise UserError(f"--group_by {group_by}: no regular expression ({error})") from error
    groups = {}
    for name in names:
        found = expression.search(name)
        key = found and (found.group(1) if expression.groups else found.group())
        if not key:
            raise UserError(f"--group_by {group_by}: matches nothing in {name}; it must in each")
        groups.setdefault(key, []).append(name)
    return groups


def split_tracks(groups, seed):
    """Names by split, `{"train": [...], ...}`, each class in the proportions of `SHARES`.

    Largest groups first, each goes where most of its classes are missing yet, then where they have
    the least of their share. Raises `UserError` where a class would miss from a split.
    """
    counts = Counter(genre_of(name) for names in groups.values() for name in names)
    order = np.random.default_rng(seed).permutation(sorted(groups))
    order = sorted(order, key=lambda group: -len(groups[group]))
    filled = {split: Counter() for split in SHARES}
    lists = {split: [] for split in SHARES}
    for group in order:
        genres = [genre_of(name) for name in groups[group]]
        lack = {
            split: (
                len(set(genres) - filled[split].keys()),
                sum(1 - filled[split][g] / (share * counts[g]) for g in genres),
            )
            for split, share in SHARES.items()
        }
        split = max(lack, key=lack.get)
        lists[split] += groups[group]
        filled[split].update(genres)
    for split, found in filled.items():
        if missing := sorted(counts.keys() - found.keys()):
            raise UserError(
                f"{split} would have no track of {', '.join(missing)}: "
                "a class takes three tracks, or three groups, at least; where it has them, "
                "another --seed may do"
            )
    return {split: sorted(names) for split, names in lists.items()}


def list_texts(folder, lists, force):
    """The contents of the lists by path. Raises `UserError` where one is there and differs."""
    texts = {
        Path(folder, f"{split}_list.txt"): "".join(f"{name}\n" for name in names).encode()
        for split, names in lists.items()
    }
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text and not force:
            raise UserError(f"{path} is there and differs: pass --force to replace the lists")
    return texts


def write_lists(folder, lists, force):
    """Write `train_list.txt` and the others. Raises `UserError` rather than change one there is."""
    for path, text in list_texts(folder, lists, force).items():
        write_atomic(path, lambda file, text=text: file.write(text))


def parse(argv):
    """The command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("folder", help="folder that holds a folder of tracks a class")
    parser.add_argument("--group_by", default="", help="regular expression of what stays together")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another split [0]")
    parser.add_argument("--force", action="store_true", help="replace lists that are there")
    return parser.parse_args(argv)


def main(argv=None):
    """Write the lists and print how many tracks of each class they have."""
    args = parse(argv)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be 0 or more")
    names = find_tracks(args.folder)
    groups = group_tracks(names, args.group_by)
    lists = split_tracks(groups, args.seed)
    write_lists(args.folder, lists, args.force)
    print_left_out(args.folder, names)
    print(f"{len(names)} tracks, {len(groups)} groups")
    for split, listed in lists.items():
        counts = Counter(map(genre_of, listed))
        shown = ", ".join(f"{genre} {counts[genre]}" for genre in sorted(counts))
        print(f"{split}: {len(listed)} ({shown})")


if __name__ == "__main__":
    run_script(main)
