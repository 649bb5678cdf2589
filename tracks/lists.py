"""The lists of a data set: which tracks are in which split, and their genres."""

import dataclasses
import posixpath
import re
import unicodedata
from pathlib import Path

from support.errors import UserError

SPLITS = ("train", "valid", "test")


LINE = re.compile(r"[^/.,:\0-][^/,:\0]*/(?!\.\.?$)[^/\0]+")


def load_list(list_name, hparams):
    """The tracks that a list of the data set names, as taught: `["genre/track.wav", ...]`.

    Byte-order mark, CRLF, blank lines and backslashes are taken as they come. Raises `UserError`
    where the data set or the list is missing, the list is empty or a line is not `genre/track`.
    """
    folder = Path(hparams.dataset_path)
    if not folder.is_dir():
        raise UserError(
            f"no data set at {folder}: run `python dataset/demo.py` and pass --dataset_path "
            'dataset/demo to try the pipeline, or see the section "GTZAN" of README.md'
        )
    path = folder / list_name
    if not path.is_file():
        raise UserError(
            f"{path} is missing: it names the tracks of its split, one genre/track.wav a line; "
            'see the section "Your own data set" of README.md'
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    file_names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not file_names:
        raise UserError(f"{path} is empty: it must name at least one genre/track.wav")
    for name in file_names:
        if not LINE.fullmatch(name):
            raise UserError(
                f"{path}: the line {name!r} is not of the form genre/track.wav "
                "(a genre neither begins with . or - nor holds a comma or a colon)"
            )
    return file_names


def load_lists(hparams):
    """The tracks of each split, `{"train": ["genre/track.wav", ...], ...}`, of `hparams.genres`.

    Raises `UserError` where a track stands twice, whether in one list or in two.
    """
    lists = {split: load_list(f"{split}_list.txt", hparams) for split in SPLITS}
    seen = {}
    for split, names in lists.items():
        for name in names:
            where = f"{name} ({split}_list.txt)"
            stem = same_file(name)
            if stem in seen:
                raise UserError(
                    f"{seen[stem]} and {where} would share one feature file: "
                    "a track stands in one split, once; take one line out or rename it"
                )
            seen[stem] = where
    if hparams.genres:
        kept = set(hparams.genres)
        lists = {s: [n for n in names if genre_of(n) in kept] for s, names in lists.items()}
    return lists


def same_file(file_name):
    """What tracks share that share a feature file, also on disks that tell no case apart."""
    return unicodedata.normalize("NFC", feature_file("", file_name)).casefold()


def genre_of(file_name):
    """The folder of a listed track: its genre."""
    return file_name.split("/")[0]


def named_genres(hparams):
    """The genres that the lists of the data set name, sorted."""
    lists = load_lists(dataclasses.replace(hparams, genres=[]))
    return sorted({genre_of(name) for names in lists.values() for name in names})


def choose_genres(hparams):
    """`hparams` with its genres filled in: those given, else all that the lists name, sorted.

    Raises `UserError` for a genre of which the train list has no track, or a split without tracks.
    Of tagging, folders are no labels: there a genre that any list names will do.
    """
    every = load_lists(dataclasses.replace(hparams, genres=[]))
    splits, where = ("train",), "train_list.txt"
    if hparams.task == "tagging":
        splits, where = SPLITS, "*_list.txt"
    present = sorted({genre_of(name) for split in splits for name in every[split]})
    genres = hparams.genres or named_genres(hparams)
    without = [genre for genre in genres if genre not in present]
    if without:
        raise UserError(
            f"no track of {', '.join(without)} in {hparams.dataset_path}/{where}: "
            f"it has {', '.join(present)}; pass --genres with some of these"
        )
    chosen = dataclasses.replace(hparams, genres=genres)
    counts = {split: len(names) for split, names in load_lists(chosen).items()}
    for split, count in counts.items():
        if not count:
            raise UserError(f"{split}_list.txt has no track of {', '.join(genres)}: add some")
    left_out = sum(map(len, every.values())) - sum(counts.values())
    if left_out:
        print(f"--genres {' '.join(genres)} leaves out {left_out} tracks")
    return chosen


def feature_file(split, file_name):
    """The path of a track's features below the feature folder, with `/`: also its manifest key."""
    return posixpath.splitext(posixpath.join(split, file_name))[0] + ".npy"
