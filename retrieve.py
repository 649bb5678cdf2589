"""The tracks that sound most like one: by the cosine of their embeddings.

    python retrieve.py --index dataset/demo
    python retrieve.py song.wav
    python retrieve.py --evaluate

A track's embedding is the mean of what the last layer of the run's model sees of its chunks, scaled
to length 1. `--index` embeds what is new or changed in a folder, into the run's own; a query is
compared with all of it, exactly. `--evaluate` seeks each test track's genre among the others.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from audio.chunks import cut_chunks, describe_length, kept_samples
from audio.features import mfcc
from audio.reading import do_each, find_audio, load_audio
from support.errors import UserError, run_script
from support.files import hash_file, source_state, write_text
from support.parallel import run_jobs
from tracks.lists import SPLITS
from training.checkpoint import find_weights, load_checkpoint
from training.index import (
    choose_index,
    delete_index,
    find_maker,
    index_folder,
    known_tracks,
    nearest,
    same_tracks,
    write_index,
)
from training.metrics import by_cosine, chance, perfect, score_ranks
from training.trained_run import Run, embed_chunks, embed_track, make_parser, parse_flags, unit

SAVE_SECONDS = 60  # between writes of an index that is being made


NEAREST = 10  # neighbours that precision is taken of


def parse(argv=None):
    """The command line's settings."""
    parser = make_parser("The tracks that sound most like one, by a trained run.")
    parser.add_argument("files", nargs="*", help="audio files to find the like of, or folders")
    parser.add_argument("--index", metavar="FOLDER", help="embed the audio files of a folder")
    parser.add_argument(
        "--collection", metavar="FOLDER", help="indexed folder to search [the last one indexed]"
    )
    parser.add_argument("--top", type=int, default=10, help="neighbours to print [10]")
    parser.add_argument(
        "--evaluate", action="store_true", help="score the embeddings on the run's test split"
    )
    args = parse_flags(parser, argv)
    if args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    if not (args.files or args.index or args.evaluate):
        parser.error("name a file to find the like of, or pass --index FOLDER, or --evaluate")
    if args.collection and args.index:
        parser.error(f"--collection {args.collection}: --index names the folder; leave one out")
    if args.collection and not args.files:
        parser.error(f"--collection {args.collection}: is for files to find the like of; name some")
    return args


def build_index(collection, run, failed):
    """Embed what is new or changed in a folder, and forget what is gone.

    Files that cannot be read are added to `failed`. Raises `UserError` where there is no track: no
    index is left then.
    """
    if not Path(collection).is_dir():
        raise UserError(f"--index {collection}: there is no such folder; name one of audio files")
    maker, paths = find_maker(run), find_audio([collection])
    folder = index_folder(run.weights, collection)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "index.lock", timeout=0):
            if isinstance(paths[0], UserError):
                delete_index(folder)
                raise paths[0]
            update_index(folder, Path(collection), paths, run, maker, failed)
    except Timeout as error:
        raise UserError(f"another command is writing to {folder}: wait for its end") from error


def update_index(folder, collection, paths, run, maker, failed):
    """Bring the index in `folder` up to date with the audio files of a collection.

    However it is ended, what was embedded is written.
    """
    names = {path.relative_to(collection).as_posix(): path for path in paths}
    whose = str(collection.resolve()), maker
    known = known_tracks(folder, maker, names)
    new = tqdm([name for name in names if name not in known], desc="Embed", disable=None)
    kept, saved = len(known), time.monotonic()
    try:
        for made in do_each(lambda name: embed_entry(name, names[name], run), new, failed):
            known[made[0]["name"]] = made
            if time.monotonic() - saved > SAVE_SECONDS:
                write_index(folder, *whose, known)
                saved = time.monotonic()
    finally:
        if known:
            write_index(folder, *whose, known)
    if not known:
        delete_index(folder)
        raise UserError(f"{collection} has no track that can be read: see above")
    print(f"{len(known) - kept} tracks embedded, {kept} were already; index: {folder}")


def embed_entry(name, path, run):
    """A track's entry in an index, and its embedding. Raises `UserError` as `embed_track` does."""
    state = source_state(path)  # before it is read: a later change is seen as one
    return {"name": name, **state, "hash": hash_file(path)}, embed_track(path, run)


def find_like(path, index, run, top):
    """The tracks most like a file, as the tutorial prints them; the file itself is line 0.

    Raises `UserError` where it cannot be read.
    """
    rows, cosines = nearest(embed_track(path, run), index.embeddings, top, same_tracks(path, index))
    lines = [f"0 (1.0) {path}"]
    for number, (row, cosine) in enumerate(zip(rows, cosines), start=1):
        lines.append(f"{number} ({round(float(cosine), 4)}) {index.tracks[row]['name']}")
    return "\n".join(lines)


def embed_tracks(tracks, run):
    """Embeddings of `Track`s from their extracted features: (tracks, values)."""
    from tracks.catalog import read_chunks  # loaders take a second to load

    bins, made = run.hparams.num_bins, []
    for track in tqdm(tracks, desc="Embed", disable=None):
        rows = read_chunks(track, run.hparams).reshape(-1, bins)
        made.append(embed_chunks((x for x, _ in cut_chunks([rows], run.hparams)), run))
    return np.stack(made)


def mean_mfccs(tracks, hparams):
    """The mean MFCC over time of what is kept of `Track`s' audio: (tracks, num_mfcc)."""
    window = min(hparams.win_size, hparams.fft_size)  # a cqt or waveform takes any
    hparams = dataclasses.replace(hparams, win_size=window)

    def mean_mfcc(track):
        y = load_audio(Path(hparams.dataset_path, track.name), hparams, kept_samples(hparams))
        rows = hparams.feature_length if hparams.feature == "cqt" else 0
        return mfcc(y, hparams)[: rows or None].mean(0)

    return np.stack(list(run_jobs(mean_mfcc, tracks, hparams.num_workers, "MFCC")))


def standardized(train, test):
    """Vectors of test tracks (tracks, values), standardized by those of train, of length 1."""
    deviation = train.std(0)
    return np.stack([unit((x - train.mean(0)) / np.where(deviation, deviation, 1)) for x in test])


def evaluate(run):
    """Scores on the run's test split, each track sought among the others, beside baselines.

    Returns plain values. Raises `UserError` where features or audio are missing, or not the run's,
    and where no score would mean anything.
    """
    from tracks.catalog import get_label  # loaders take a second to load

    splits = list_run_splits(run)
    rng, test = np.random.default_rng(run.hparams.seed), splits["test"]
    test = [test[i] for i in rng.permutation(len(test))]  # ties are not to follow the list
    labels = np.array([get_label(track.name, run.hparams) for track in test])  # of tagging too
    others = np.bincount(labels)[labels] - 1
    genres = len(set(labels))
    if genres < 2 or not others.any():
        raise UserError(
            f"test tracks: {len(test)}, genres (their folders): {genres}; neighbours are scored "
            "where there are two genres or more, and two tracks of one: list such in test_list.txt"
        )
    count = min(NEAREST, len(test) - 1)
    ways = rankings(splits["train"], test, labels, run)
    scores = {name: score_ranks(rank, labels, count) for name, rank in ways.items()}
    scores["random"] = chance(labels, count, run.hparams.seed)
    names = ("precision", "mean_average_precision")
    return {
        "tracks": len(test),
        "alone": int((others == 0).sum()),
        "neighbours": count,
        "scores": {name: dict(zip(names, map(float, both))) for name, both in scores.items()},
    }


def list_run_splits(run):
    """The `Track`s of each split.

    Raises `UserError` where the run may have been trained, or its weights chosen, by test tracks.
    """
    from tracks.catalog import check_duplicates, is_split, list_tracks

    splits = {split: list_tracks(split, run.hparams) for split in SPLITS}
    told = load_checkpoint(run.weights).get("splits")
    if told is None:
        raise UserError(
            f"{run.weights} does not tell which tracks it was trained on, as those of this version "
            "do, and test tracks may be among them: train again"
        )
    for split, summary in told.items():
        if not is_split(splits[split], summary):
            raise UserError(
                f"{run.hparams.dataset_path}/{split}_list.txt: its tracks, or their audio, are not "
                f"those of the run {run.weights.parent}, which may have been trained on what are "
                "test tracks now: restore them, or train again"
            )
    check_duplicates(splits)
    return splits


def rankings(train, test, labels, run):
    """A `rank` for `score_ranks` of test `Track`s for each way to put them in order, but chance."""
    mfccs = standardized(*(mean_mfccs(tracks, run.hparams) for tracks in (train, test)))
    return {
        "embeddings": by_cosine(embed_tracks(test, run)),
        "mean MFCC": by_cosine(mfccs),
        "the best possible": perfect(labels),
    }


def format_scores(found):
    """What `evaluate` gave, as text."""
    count = found["neighbours"]
    lines = [f"Test split: {found['tracks']} tracks, each sought among the others"]
    if found["alone"]:
        lines.append(f"{found['alone']} are alone in their genre: nothing is sought for these")
    if count < NEAREST:
        lines.append(f"P@{count}, not P@{NEAREST}: there are no more others")
    lines.append(f"{'':18}   P@{count:<3}    MAP")
    for name, (precision, mean) in ((n, s.values()) for n, s in found["scores"].items()):
        lines.append(f"{name:18}  {precision:.4f}  {mean:.4f}")
    return "\n".join(lines)


def find_all(files, collection, run, top, failed):
    """Print the tracks of a collection most like each file; what fails is added to `failed`."""
    index = choose_index(run, collection)
    print(f"Index: {index.collection}, {len(index.tracks)} tracks")
    paths = find_audio(files)
    for lines in do_each(lambda path: find_like(path, index, run, top), paths, failed):
        print(f"\n{lines}", flush=True)


def write_scores(run):
    """Evaluate a run; its scores are printed and written into its folder."""
    found = evaluate(run)
    write_text(run.weights.parent / "retrieval.json", json.dumps(found, indent=1))
    print(format_scores(found))


def succeeds(part):
    """Whether a part of the command, a function, comes to its end; says why where it does not."""
    try:
        part()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True


def main(argv=None):
    """Index, find and evaluate, each whatever becomes of the others; the status is 1 if any failed.

    A file that cannot be read makes it 1 too.
    """
    args, failed = parse(argv), []
    run = Run(find_weights(args.run), args.device)
    print(f"Run: {run}\n{describe_length(run.hparams)}")
    searched = args.collection or args.index
    parts = {
        "index": lambda: build_index(args.index, run, failed),
        "files": lambda: find_all(args.files, searched, run, args.top, failed),
        "evaluate": lambda: write_scores(run),
    }
    done = [succeeds(part) for name, part in parts.items() if getattr(args, name)]
    if failed:
        print(f"{len(failed)} could not be read, see above", file=sys.stderr)
    return 0 if all(done) and not failed else 1


if __name__ == "__main__":
    run_script(main)
