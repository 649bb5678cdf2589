"""More training audio: changed copies of the train split's tracks, in a data set of their own.

    python data_augment.py --dataset_path dataset/demo
    python feature_extraction.py --dataset_path dataset/demo-augmented
    python train_test.py --dataset_path dataset/demo-augmented

Reads the data set and changes nothing in it. The new one holds its tracks (links to them where the
disk can), its valid and test lists as they are, and a train list with `--augment_copies` of each of
`--augment_effects` of each track besides: `rock/one.mp3` has `rock/one.pitch_shift.1.wav` ..., mono
at its own sample rate, 16 bit. Every draw is made from the seed, the track's name, the effect and
the number of the copy, so that it depends neither on the other tracks nor on `--num_workers`.
`augmentation.json` tells what every file was made of; what is there already is not made again.

With `--task tagging` the new one has a `tags.csv` too, in which a copy has the tags of its track.
Only effects that keep what the tags in use tell are then applied: none that changes the tempo of a
track that is tagged `tempo:slow`, say.

What an effect computes is in `effects.py`; here its parameters are drawn and its files written.
"""

import dataclasses
import io
import json
import posixpath
import re
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from filelock import FileLock, Timeout

from audio.effects import EFFECTS, draw_parameters, within_range
from audio.reading import average_channels, read_audio, remedy
from hparams import AUGMENT_EFFECTS, HParams
from support.errors import UserError, run_script
from support.files import place, source_state, write_atomic, write_text
from support.parallel import run_jobs
from tracks.lists import LINE, SPLITS, load_lists, same_file
from tracks.tags import choose_classes, format_tags, read_tags, split_tag

RECORD = "augmentation.json"


TAGS = "tags.csv"


OWN_FILE = re.compile(r"augmentation\.\w+|\d+-\d+\.part")  # those of a kill too


# The categories of tags that an effect makes untrue; the others are heard in a copy as before.
CHANGED = {
    "pitch_shift": {"key"},
    "time_stretch": {"tempo"},
    "speed": {"tempo", "key"},
    "percussive": {"instrument", "vocal", "mode", "key"},
}


def choose_effects(hparams):
    """`hparams` with the effects that keep the tags in use true, where the task is tagging.

    Raises `UserError` where others are asked for.
    """
    if hparams.task != "tagging":
        return hparams
    told = {split_tag(tag)[0].lower() for tag in hparams.tags}
    kept = [effect for effect in AUGMENT_EFFECTS if not told & CHANGED.get(effect, set())]
    for effect in hparams.augment_effects:
        if effect not in kept:
            changed = ", ".join(sorted(told & CHANGED[effect]))
            raise UserError(
                f"--augment_effects {effect}: changes what tags tell of {changed}; leave it out, "
                "or name the tags to learn by --tags"
            )
    if not hparams.augment_effects and len(kept) < len(AUGMENT_EFFECTS):
        print(f"Effects that keep the tags true: {', '.join(kept)}")
    return dataclasses.replace(hparams, augment_effects=hparams.augment_effects or kept)


def plan(lists, hparams):
    """What the new data set consists of: {file name: how it is made}.

    `effect` is empty for the tracks themselves. Raises `UserError` where a copy would have the name
    of a track.
    """
    files = {}
    for split in SPLITS:
        for name in lists[split]:
            source = Path(hparams.dataset_path, name)
            origin = {"source": name, **(source_state(source) if source.is_file() else {})}
            files[name] = {**origin, "effect": "", "parameters": {}}
    tracks = {same_file(name): name for name in files}
    for name in lists["train"]:
        for copy, effect, number in copy_names(name, hparams):
            if same_file(copy) in tracks:
                raise UserError(
                    f"{tracks[same_file(copy)]} has the name that a copy of {name} would have: "
                    "rename it"
                )
            parameters = draw_parameters(name, effect, number, hparams.seed)
            files[copy] = {**files[name], "effect": effect, "parameters": parameters}
    return files


def copy_names(name, hparams):
    """The copies of a track: (file name, effect, number)."""
    stem = posixpath.splitext(name)[0]
    return [
        (f"{stem}.{effect}.{number}.wav", effect, number)
        for effect in hparams.augment_effects or AUGMENT_EFFECTS
        for number in range(1, hparams.augment_copies + 1)
    ]


def make_files(job):
    """Make files of one track: (folder, {name: how it is made}, hparams) to why not, or nothing."""
    folder, files, hparams = job
    source = Path(hparams.dataset_path, next(iter(files.values()))["source"])
    if not source.is_file():
        return f"{source} is missing: put it there or take its line out of the list"
    copies = {name: made for name, made in files.items() if made["effect"]}
    for name in files.keys() - copies.keys():
        place(source, folder / name)
    try:
        return make_copies(source, folder, copies) if copies else ""
    except MemoryError:
        return f"{source} does not fit into memory: pass a smaller --num_workers, or cut it"


def make_copies(source, folder, copies):
    """Write copies of one track, {name: how it is made}; returns why not, or nothing."""
    try:
        y, rate = read_audio(source)
    except OSError as error:
        return f"{source} cannot be read ({error.strerror}): {remedy(source)}"
    except UserError as error:
        return str(error)
    y = average_channels(y)
    for name, made in copies.items():
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            changed = EFFECTS[made["effect"]].apply(y, rate, **made["parameters"])
        if not np.isfinite(changed).all():
            return f"{source} holds values too large for a spectrum: {remedy(source)}"
        write_audio(folder / name, changed, rate)
    return ""


def write_audio(path, y, rate):
    """Write a waveform as WAV, mono, 16 bit; quieter where it would clip."""
    data = io.BytesIO()  # libsndfile hides the reason where it cannot write to a file
    soundfile.write(data, within_range(y), rate, "PCM_16", format="WAV")
    write_atomic(path, lambda file: file.write(data.getbuffer()))


def check_folder(folder, hparams):
    """Raise `UserError` where a new data set cannot be written to a folder."""
    source, target = Path(hparams.dataset_path).resolve(), folder.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise UserError(
            f"--augment_path {folder}: must be apart from the data set {hparams.dataset_path}, "
            "of which nothing is changed"
        )
    if (source / RECORD).is_file():
        raise UserError(
            f"{hparams.dataset_path} is an augmented data set: pass the --dataset_path it is of"
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--augment_path {folder}: is a file; name a folder")
    if not folder.exists() or (folder / RECORD).is_file():
        return
    others = [path.name for path in folder.iterdir() if not OWN_FILE.fullmatch(path.name)]
    if others:
        raise UserError(
            f"--augment_path {folder}: holds {others[0]} and is no augmented data set; "
            "name a new folder"
        )


def read_record(folder, hparams):
    """What the files of a folder were made of, {name: how it is made}; empty where there is none.

    Raises `UserError` where the record is damaged, or that of another data set.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        of, files = record["dataset"], dict(record["files"])
        if not all(map(LINE.fullmatch, files)):  # a file that it names may be removed
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete {folder} and augment again") from error
    if of != hparams.data_name():
        raise UserError(
            f"--augment_path {folder}: holds copies of the data set {of}; name another folder"
        )
    return files


def clear(folder, old, files):
    """Remove what the record `old` names and `files` do not, or not as it was made.

    The lists go first: as long as they are missing, nobody takes the data set for whole.
    """
    for name in (TAGS, *(f"{split}_list.txt" for split in SPLITS)):
        remove(folder / name)
    for name, made in old.items():
        if files.get(name) != made:
            remove(folder / name)
    for partial in folder.rglob("*.part"):  # of a run that was killed
        if OWN_FILE.fullmatch(partial.name):
            partial.unlink(missing_ok=True)


def remove(path):
    """Remove a file, if it is there. Raises `UserError` where that cannot be, of a folder, say."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be replaced ({error.strerror}): move it away, or name another folder "
            "by --augment_path"
        ) from error


def make_missing(folder, files, hparams):
    """Make the planned files that are missing; returns what is broken, a line each."""
    missing = {}
    for name, made in files.items():
        if not (folder / name).is_file():
            missing.setdefault(made["source"], {})[name] = made
    copies = sum(bool(made["effect"]) for part in missing.values() for made in part.values())
    links = sum(map(len, missing.values())) - copies
    print(f"{copies} copies to make, {links} tracks to link: {folder}")
    began = time.monotonic()
    jobs = [(folder, part, hparams) for part in missing.values()]
    broken = [line for line in run_jobs(make_files, jobs, hparams.num_workers, "Augment") if line]
    print(f"{len(jobs) - len(broken)} tracks done in {time.monotonic() - began:.1f} s")
    return broken


def list_texts(folder, lists, files, hparams):
    """The lists of the new data set by path: the old ones, and in train the copies there are.

    Of tagging also the tags of all the tracks that these name, those of a copy its source's.
    """
    copies = [name for name, made in files.items() if made["effect"] and (folder / name).is_file()]
    named = {**lists, "train": lists["train"] + copies}
    texts = {
        folder / f"{split}_list.txt": "".join(f"{name}\n" for name in named[split])
        for split in SPLITS
    }
    if hparams.task == "tagging":
        tracks, used = read_tags(hparams).tracks, set(hparams.tags)
        sources = {name: files[name]["source"] for names in named.values() for name in names}
        tags = {name: sorted(used & tracks.get(of, set())) for name, of in sources.items()}
        texts[folder / TAGS] = format_tags(tags)
    return texts


def is_done(folder, texts, old, files):
    """Whether all that is planned is there, as it is planned, and the lists name it."""
    return (
        old == files
        and (folder / TAGS).exists() == (folder / TAGS in texts)  # those of another task are stale
        and all((folder / name).is_file() for name in files)
        and all(
            path.is_file() and path.read_bytes() == text.encode() for path, text in texts.items()
        )
    )


def augment(folder, lists, hparams):
    """Bring the data set in a folder up to date; returns what is broken, a line each."""
    old, files = read_record(folder, hparams), plan(lists, hparams)
    if is_done(folder, list_texts(folder, lists, files, hparams), old, files):
        print(f"nothing to augment: all copies are at {folder}")
        return []
    clear(folder, old, files)
    # Before the first file: each that is there is then of this plan, and whole
    record = {"dataset": hparams.data_name(), "files": files}
    write_text(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    broken = make_missing(folder, files, hparams)
    for path, text in list_texts(folder, lists, files, hparams).items():
        write_text(path, text)
        print(f"{path}: {len(text.splitlines())} lines")
    return broken


def main(argv=None):
    """Make the augmented data set; the status is 1 where a track is broken."""
    unread = ("feature", "model", "training", "augmentation", "comparison")
    hparams = HParams().parse_argument(argv, unread)
    print("Augmenting")
    hparams = choose_effects(choose_classes(hparams))
    folder = hparams.augment_folder()
    check_folder(folder, hparams)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "augmentation.lock", timeout=0):
            broken = augment(folder, load_lists(hparams), hparams)
    except Timeout as error:
        raise UserError(f"another run is writing to {folder}: wait for its end") from error
    for reason in broken:
        print(f"broken: {reason}", file=sys.stderr)
    if broken and not hparams.skip_broken:
        print("the same command makes what is left, once that is put right", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_script(main)
