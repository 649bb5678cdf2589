"""Make more training audio: a new data set with changed copies of the train split's tracks.

    python data_augment.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo-augmented
    python train_test.py --dataset_path dataset/demo-augmented

The original data set is never changed. The new one has all of its tracks (as links if the disk
allows it), the same valid and test lists, and a train list with `--augment_copies` more tracks per
effect: for `rock/one.mp3`, `rock/one.pitch_shift.1.wav` and so on, mono at the track's own sample
rate, 16 bit. A copy depends only on the seed, the track's name, the effect and the copy's number.
`augmentation.json` records how each file was made; files that are up to date are not made again.

With `--task tagging` the new data set has a `tags.csv`, in which a copy has the tags of its track.
Effects that would make these tags wrong are left out, such as a change of tempo for `tempo:slow`.

`audio/effects.py` has the effects.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import functools
import io
import itertools
import os
import posixpath
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio.effects import EFFECTS, draw_parameters, within_range
from audio.formats import COPY
from audio.reading import average_channels, read_audio
from hparams import HParams
from support.errors import UserError, explain, run_script
from support.files import (
    PARTIAL,
    delete_partials,
    explain_damage,
    is_unchanged,
    link_or_copy,
    lock,
    own_path,
    read_json,
    source_state,
    write_atomic,
    write_json,
    write_text,
)
from support.flags import read_flags, setting
from support.parallel import run_jobs
from support.rules import Rule, check_rules, is_unique, positive
from tracks.catalog import Catalog, read_catalog
from tracks.lists import LINE, SPLITS, Lists, file_key, genre_of, source_path
from tracks.tags import format_tags, split_tag

RECORD = "augmentation.json"
TAGS = "tags.csv"
LONGEST_NAME = 255  # bytes of a file's name
OWN_FILE = re.compile(rf"augmentation\.[\w.]+|{PARTIAL.pattern}")  # the latter of a killed run
CHANGED = {  # categories of tags that an effect makes wrong
    "pitch_shift": {"key"},
    "time_stretch": {"tempo"},
    "speed": {"tempo", "key"},
    "percussive": {"instrument", "vocal", "mode", "key"},
}
Plan = dict[str, dict[str, Any]]  # for each file: source, the source's state, effect, parameters


@dataclass
class Copies:
    """Settings of the copies."""

    augment_path: str = setting("", "copies", "folder to write (unset: <dataset_path>-augmented)")
    augment_effects: list[str] = setting([], "copies", f"{', '.join(EFFECTS)} (unset: all)")
    augment_copies: int = setting(1, "copies", "copies of each track per effect")

    def validate(self) -> None:
        """Raise `UserError` for settings that cannot work."""
        check_rules(self, RULES)

    def folder(self, dataset_path: str) -> Path:
        """Return the folder of the augmented data set."""
        if self.augment_path:
            return Path(self.augment_path)
        source = Path(dataset_path)
        if source.name in ("", ".."):
            source = source.resolve()
        return source.with_name(f"{source.name}-augmented")


KNOWN = f"must be among {', '.join(EFFECTS)}"
RULES = (
    Rule("augment_effects", lambda s: set(s.augment_effects) <= set(EFFECTS), KNOWN),
    Rule(
        "augment_effects", lambda s: is_unique(s.augment_effects), "repeats a name; name each once"
    ),
    positive("augment_copies"),
)


def choose_effects(copies: Copies, hparams: HParams) -> Copies:
    """Return `copies` with its effects filled in: all, or for tagging those that keep tags correct.

    Raises `UserError` if `copies` names an effect that makes tags wrong.
    """
    categories = {split_tag(tag)[0].lower() for tag in hparams.tags}  # none unless tagging
    kept = [effect for effect in EFFECTS if not categories & CHANGED.get(effect, set())]
    for effect in copies.augment_effects:
        if effect not in kept:
            changed = ", ".join(sorted(categories & CHANGED[effect]))
            raise UserError(
                f"--augment_effects {effect}: makes tags of {changed} wrong; leave it out, or "
                "pass --tags with the tags to learn"
            )
    if not copies.augment_effects and len(kept) < len(EFFECTS):
        print(f"Effects that keep the tags correct: {', '.join(kept)}")
    return replace(copies, augment_effects=copies.augment_effects or kept)


def find_state(name: str, hparams: HParams, old: Plan, recorded: int) -> dict[str, Any]:
    """Return the state of a source, {} if it is unreadable.

    It is the state in the record `old` if the source has not changed. Its ends need not be hashed
    for that if its ctime is not after the time of the record (`recorded`, in ns).
    """
    path, keys = source_path(hparams, name), ("size", "mtime_ns", "ends")
    known = {key: value for key, value in old.get(name, {}).items() if key in keys}
    try:
        ctime = path.stat().st_ctime_ns
        known_ctime = {"ctime_ns": ctime if ctime <= recorded else None}
        if len(known) == len(keys) and is_unchanged(path, known | known_ctime):
            return known
        state = source_state(path)
    except (OSError, UserError):
        return {}
    return {key: state[key] for key in keys}  # without the ctime, which a link to the file changes


def plan(lists: Lists, copies: Copies, hparams: HParams, old: Plan, recorded: int) -> Plan:
    """Plan the files of the new data set; `effect` is empty for the original tracks.

    Raises `UserError` if a copy would have the name of another file.
    """
    files: Plan = {}
    for name in (name for split in SPLITS for name in lists[split]):
        state = find_state(name, hparams, old, recorded)
        files[name] = {"source": name, **state, "effect": "", "parameters": {}}
    taken = {file_key(name): name for name in files}
    for name in lists["train"]:
        numbers = range(1, copies.augment_copies + 1)
        for effect, number in itertools.product(copies.augment_effects, numbers):
            copy = f"{posixpath.splitext(name)[0]}.{effect}.{number}.wav"
            other = taken.setdefault(file_key(copy), name)
            if other is not name:
                raise UserError(
                    f"a copy of {name} would have the name of {other} or of one of its copies: "
                    f"rename {other}"
                )
            parameters = draw_parameters(name, effect, number, hparams.seed)
            files[copy] = {**files[name], "effect": effect, "parameters": parameters}
    return files


def leave_out_long(files: Plan, hparams: HParams) -> list[str]:
    """Remove copies whose names are too long for a file from a plan; return errors of tracks."""
    long = [n for n in files if len(posixpath.basename(n).encode()) > LONGEST_NAME]
    sources = dict.fromkeys(files.pop(name)["source"] for name in long)
    rule = f"a copy's name would have more than {LONGEST_NAME} bytes: rename it"
    return [f"{source_path(hparams, name)} has a long name, and {rule}" for name in sources]


def make_files(job: tuple[Path, Path, Plan]) -> str:
    """Make the files of one track, job = (source, folder, plan); return what is wrong, or ""."""
    source, folder, files = job
    read = functools.cache(lambda: read_audio(source))  # once for all copies
    for name, made in sorted(files.items(), key=lambda item: item[1]["effect"]):
        try:
            if not made["effect"]:
                link_or_copy(source, folder / name)
                continue
            samples, rate = read()
            copy = change(source, samples, rate, made)
        except Exception as error:
            return explain(error, source)
        write_audio(folder / name, copy, rate)  # a full disk is not this track's fault
    return ""


def change(
    source: Path, samples: NDArray[np.float32], rate: int, made: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Return a copy (samples,) of a source's samples (samples, channels). Raises `UserError`."""
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        apply = EFFECTS[made["effect"]].apply
        copy = apply(average_channels(samples), rate, **made["parameters"])
    if not np.isfinite(copy).all():
        raise UserError(f"{source} holds values too large for a spectrum: {COPY}")
    return copy


def write_audio(path: Path, y: NDArray[np.float32], rate: int) -> None:
    """Write a waveform (samples,) as WAV, mono, 16 bit, scaled down if it would clip."""
    data = io.BytesIO()  # in memory: libsndfile does not say why it cannot write a file
    soundfile.write(data, within_range(y), rate, "PCM_16", format="WAV")
    write_atomic(path, lambda file: file.write(data.getbuffer()))


def check_folder(folder: Path, hparams: HParams) -> None:
    """Raise `UserError` if a new data set cannot be written to a folder."""
    source, target = Path(hparams.dataset_path).resolve(), folder.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise UserError(
            f"--augment_path {folder}: must be separate from the data set {hparams.dataset_path}, "
            "which is never changed"
        )
    if (source / RECORD).is_file():
        raise UserError(
            f"{hparams.dataset_path} is an augmented data set: pass the original --dataset_path"
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--augment_path {folder}: is a file; name a folder")
    if not folder.exists() or (folder / RECORD).is_file():
        return
    others = [path.name for path in folder.iterdir() if not OWN_FILE.fullmatch(path.name)]
    if others:
        raise UserError(
            f"--augment_path {folder}: holds {others[0]} and is not an augmented data set; "
            "name a new folder"
        )


def read_record(folder: Path, hparams: HParams) -> tuple[Plan, int]:
    """Return how the files in a folder were made, and when that was written; {}, 0 if it was not.

    Raises `UserError` if the record is damaged, or belongs to another data set.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}, 0
    with explain_damage(path, f"delete {folder} and augment again"):
        record = read_json(path)
        original, files = record["dataset"], record["files"]
        # these files can be removed: none may be outside
        if not all(LINE.fullmatch(name) and isinstance(made, dict) for name, made in files.items()):
            raise ValueError("an entry is no file of a data set")
        # a name alone is of version 1.0; a place that is gone has been moved
        gone = not os.path.isabs(original) or not os.path.exists(original)  # noqa: PTH110, PTH117
        moved = gone and Path(original).name == hparams.data_name()
    if original != hparams.data_place() and not moved:
        raise UserError(
            f"--augment_path {folder}: holds copies of the data set {original}; name another folder"
        )
    return files, path.stat().st_mtime_ns


def clear(folder: Path, old: Plan, files: Plan) -> None:
    """Remove lists, files whose plan differs from the record `old`, and leftovers of killed runs.

    Without its lists, an unfinished data set cannot be used by mistake. Raises `UserError` before
    anything is removed or written if a class folder is a link: what is in there may be not ours.
    """
    for genre in {genre_of(name) for name in old.keys() | files.keys()}:
        own_path(folder, f"{genre}/track")
    stale = [name for name, made in old.items() if files.get(name) != made]
    for name in (TAGS, *(f"{split}_list.txt" for split in SPLITS), *stale):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder / name} cannot be replaced ({error.strerror}): move it away, or pass "
                "another --augment_path"
            ) from error
    delete_partials(folder)


def make_missing(folder: Path, files: Plan, hparams: HParams) -> list[str]:
    """Make the planned files that are missing; return an error for each track that is broken."""
    missing: dict[str, Plan] = {}
    for name, made in files.items():
        if not (folder / name).is_file():
            missing.setdefault(made["source"], {})[name] = made
    copies = sum(bool(made["effect"]) for part in missing.values() for made in part.values())
    links = sum(map(len, missing.values())) - copies
    print(f"{copies} copies to make, {links} tracks to link: {folder}")
    began = time.monotonic()
    jobs = [(source_path(hparams, source), folder, part) for source, part in missing.items()]
    faults = [line for line in run_jobs(make_files, jobs, hparams.num_workers, "Augment") if line]
    print(f"{len(jobs) - len(faults)} tracks done in {time.monotonic() - began:.1f} s")
    return faults


def list_texts(folder: Path, files: Plan, catalog: Catalog) -> dict[Path, str]:
    """Return the lists of the new data set, and for tagging its tags, as texts by path."""
    copies = [name for name, made in files.items() if made["effect"] and (folder / name).is_file()]
    lists = {**catalog.lists, "train": catalog.lists["train"] + copies}
    texts = {
        folder / f"{split}_list.txt": "".join(f"{name}\n" for name in names)
        for split, names in lists.items()
    }
    if catalog.hparams.tags:
        used = set(catalog.hparams.tags)
        sources = {name: files[name]["source"] for names in lists.values() for name in names}
        tags = {n: sorted(used & catalog.tags.get(source, set())) for n, source in sources.items()}
        texts[folder / TAGS] = format_tags(tags)
    return texts


def is_done(folder: Path, texts: Mapping[Path, str], old: Plan, files: Plan) -> bool:
    """Whether the folder has exactly the planned files, and lists with these texts."""
    return (
        old == files
        and (folder / TAGS).exists() == (folder / TAGS in texts)  # another task's tags are stale
        and all((folder / name).is_file() for name in files)
        and all(path.is_file() and path.read_bytes() == texts[path].encode() for path in texts)
    )


def augment(folder: Path, catalog: Catalog, copies: Copies) -> list[str]:
    """Bring the augmented data set up to date; return an error for each track that is broken."""
    hparams = catalog.hparams
    old, recorded = read_record(folder, hparams)
    files = plan(catalog.lists, copies, hparams, old, recorded)
    faults = leave_out_long(files, hparams)
    if is_done(folder, list_texts(folder, files, catalog), old, files):
        print(f"nothing to augment: all copies are at {folder}")
        return faults
    clear(folder, old, files)
    # written before the first file, so that the record covers every file that exists
    write_json(folder / RECORD, {"dataset": hparams.data_place(), "files": files})
    faults += make_missing(folder, files, hparams)
    os.utime(folder / RECORD)  # later than the ctimes of the sources, which links have changed
    for path, text in list_texts(folder, files, catalog).items():
        write_text(path, text)
        print(f"{path}: {len(text.splitlines())} lines")
    return faults


def parse(argv: Sequence[str] | None) -> tuple[HParams, Copies]:
    """Read the flags."""
    groups = ("data", "task", "seed", "copies")
    hparams, copies = read_flags(argv, HParams(), Copies(), groups=groups)
    return hparams, copies


def main(argv: Sequence[str] | None = None) -> int:
    """Make the augmented data set; return 1 if a track is broken."""
    hparams, copies = parse(argv)
    print("Augmenting")
    catalog, folder = read_catalog(hparams), copies.folder(hparams.dataset_path)
    copies = choose_effects(copies, catalog.hparams)
    check_folder(folder, hparams)
    busy = f"another command is writing to {folder}: wait until it ends"
    with lock(folder / "augmentation.lock", busy):
        faults = augment(folder, catalog, copies)
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    if faults and not hparams.skip_broken:
        print("repair these tracks, then run the same command: it makes the rest", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_script(main)
