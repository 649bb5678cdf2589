"""Find the tracks that sound most similar to one: those with the nearest embeddings by cosine.

    python retrieve.py --index dataset/demo
    python retrieve.py song.wav
    python retrieve.py --evaluate

A track's embedding is the input of the model's last layer, averaged over the track's chunks and
scaled to length 1. `--index` embeds the new and changed files in a folder. A query is compared with
every track in the index. `--evaluate` scores how early each test track finds others of its genre.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import dataclasses
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from audio.chunks import cut_chunks, describe_length, kept_samples
from audio.features import mfcc
from audio.reading import find_audio, load_audio, print_warnings
from hparams import HParams
from support.errors import UserError, continue_past_errors, explain, run_script, visible
from support.files import hash_file, source_state, write_json
from support.parallel import run_jobs
from tracks.catalog import (
    LABELS,
    Track,
    check_duplicates,
    get_label,
    is_split,
    read_catalog,
    read_chunks,
)
from tracks.lists import source_path
from training import ranking
from training.checkpoint import load_checkpoint
from training.index import choose_index, embedding_model, index_folder, nearest, rows_of_file
from training.index_files import Index, open_index
from training.runs import Run, find_weights
from training.trained_run import (
    TrainedRun,
    embed_chunks,
    embed_track,
    parse_run_flags,
    run_parser,
    to_unit_length,
)

PRECISION_AT = 10  # neighbours that count for the precision


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = run_parser("Find similar tracks by the embeddings of a trained run.")
    add = parser.add_argument
    add("files", nargs="*", help="audio files or folders to find similar tracks for")
    add("--index", metavar="FOLDER", help="embed the audio files in a folder")
    text = "indexed folder to search [the last one indexed]"
    add("--collection", metavar="FOLDER", help=text)
    add("--top", type=int, default=10, help="neighbours to print [10]")
    add("--evaluate", action="store_true", help="score the embeddings on the run's test split")
    args = parse_run_flags(parser, argv)
    if args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    if not (args.files or args.index or args.evaluate):
        parser.error("name a file to find similar tracks for, or pass --index FOLDER or --evaluate")
    if args.collection and args.index:
        parser.error(f"--collection {args.collection}: --index names the folder; leave one out")
    if args.collection and not args.files:
        parser.error(f"--collection {args.collection}: needs files to find similar tracks for")
    return args


def build_index(collection: str, run: TrainedRun, failed: list[str]) -> None:
    """Embed the new and changed files in a folder, and remove deleted ones from its index.

    Errors of single files are added to `failed`. If interrupted, the index keeps what is done. If
    the folder has no track, its index is deleted and a `UserError` raised.
    """
    if not Path(collection).is_dir():
        raise UserError(f"--index {collection}: there is no such folder; name one of audio files")
    model, found = embedding_model(run), find_audio([collection])
    files = [path for path in found if isinstance(path, Path)]
    errors = [error for error in found if isinstance(error, UserError)]
    paths = {path.relative_to(collection).as_posix(): path for path in files}

    def embed(name: str) -> tuple[dict[str, Any], NDArray]:
        state = source_state(paths[name])  # before reading, so that a later change is noticed
        entry = {"name": name, **state, "hash": hash_file(paths[name])}
        print_warnings(paths[name])
        return entry, embed_track(paths[name], run)

    folder = index_folder(run.weights, collection)
    with open_index(folder, Path(collection).resolve(), model, paths) as index:
        kept = set(index.names)
        new = tqdm([name for name in paths if name not in kept], desc="Embed", disable=None)
        for entry, embedding in continue_past_errors(embed, chain(files and errors, new), failed):
            index.add(entry, embedding)
    if not files:
        raise errors[0]
    if not index.names:
        raise UserError(f"{collection} has no readable track, see above")
    embedded = len(index.names) - len(kept)
    print(f"{embedded} tracks embedded, {len(kept)} were already; index: {folder}")


def format_neighbours(path: Path, index: Index, run: TrainedRun, top: int) -> str:
    """The tracks most similar to a file, as printed in the tutorial: line 0 is the file itself.

    Raises `UserError` if the file cannot be read.
    """
    query = embed_track(path, run)  # first: its error explains what is wrong with the file
    rows, cosines = nearest(query, index.embeddings, top, rows_of_file(path, index))
    lines = [f"0 (1.0) {visible(path)}"]
    for number, (row, cosine) in enumerate(zip(rows, cosines), start=1):
        name = visible(index.tracks[row]["name"])
        lines.append(f"{number} ({round(float(cosine), 4)}) {name}")
    return "\n".join(lines)


def search(
    files: list[str], collection: str | None, run: TrainedRun, top: int, failed: list[str]
) -> None:
    """Print the tracks of a collection most similar to each file; add errors to `failed`."""
    index = choose_index(run, collection)
    print(f"Index: {visible(index.collection)}, {len(index.tracks)} tracks")
    for lines in continue_past_errors(
        lambda path: format_neighbours(path, index, run, top), find_audio(files), failed
    ):
        print(f"\n{lines}", flush=True)


def embed_tracks(tracks: list[Track], run: TrainedRun) -> NDArray:
    """Embed tracks from their extracted features: (tracks, values)."""
    embeddings = []
    for track in tqdm(tracks, desc="Embed", disable=None):
        # (chunks, chunk_length, bins) -> (rows, bins): cut again, into batches that fit memory
        rows = read_chunks(track, run.hparams).reshape(-1, run.hparams.num_bins)
        batches = (chunks for chunks, _ in cut_chunks([rows], run.hparams))
        embeddings.append(embed_chunks(batches, run))
    return np.stack(embeddings)


def mean_mfccs(tracks: list[Track], hparams: HParams) -> NDArray:
    """The mean MFCC over the kept part of each track's audio: (tracks, num_mfcc)."""
    window = min(hparams.win_size, hparams.fft_size)  # runs of cqt and waveform can have any
    hparams = dataclasses.replace(hparams, win_size=window)
    # kept_samples keeps all samples for cqt, so the rows are cut below
    rows = (hparams.feature_length or None) if hparams.feature == "cqt" else None

    def mean_mfcc(track: Track) -> NDArray:
        y = load_audio(source_path(hparams, track.name), hparams, kept_samples(hparams))
        return mfcc(y, hparams)[:rows].mean(0)

    return np.stack(list(run_jobs(mean_mfcc, tracks, hparams.num_workers, "MFCC")))


def standardize(train: NDArray, test: NDArray) -> NDArray:
    """Standardize test vectors (tracks, values) by the train split; scale them to length 1."""
    mean, std = train.mean(0), train.std(0)
    return np.stack([to_unit_length((x - mean) / np.where(std, std, 1)) for x in test])


def evaluate(run: TrainedRun) -> None:
    """Rank the test tracks for each of them; write the scores into the run's folder and print them.

    Raises `UserError` if features or audio are missing or are not the run's, or if the test split
    has only one genre or no two tracks of one genre.
    """
    splits = list_unseen_splits(run)
    rng, test = np.random.default_rng(run.hparams.seed), splits["test"]
    test = [test[i] for i in rng.permutation(len(test))]  # ties must not follow the list's order
    labels = np.array([get_label(track.name, run.hparams) for track in test])  # genres, always
    others = np.bincount(labels)[labels] - 1  # tracks that share the genre: (tracks,)
    genres = len(set(labels))
    if genres < 2 or not others.any():
        raise UserError(
            f"test tracks: {len(test)}, genres (their folders): {genres}; retrieval is scored on "
            "two genres or more with two tracks of one genre: list such tracks in test_list.txt"
        )
    count = min(PRECISION_AT, len(test) - 1)
    scores = score_rankings(splits["train"], test, labels, count, run)
    results = {
        "tracks": len(test),
        "alone": int((others == 0).sum()),  # tracks that no other test track shares a genre with
        "queries": len(ranking.choose_queries(labels)),
        "neighbours": count,
        "scores": {name: each._asdict() for name, each in scores.items()},
    }
    write_json(run.weights.parent / "retrieval.json", results)
    print(format_scores(results))


def list_unseen_splits(run: TrainedRun) -> dict[str, list[Track]]:
    """The tracks of each split.

    Raises `UserError` if the run may have seen test tracks, in training or to choose its weights.
    """
    parts = load_checkpoint(run.weights)
    summaries = parts.get("splits")
    if summaries is None and "origin" in parts:
        raise UserError(
            f"--evaluate: {run.weights.parent} was trained on {parts['origin']['trained_on']}, not "
            "on lists that are here: search your music with it, or evaluate a run of your own"
        )
    splits = read_catalog(run.hparams).splits
    if summaries is None:
        raise UserError(
            f"{run.weights} was written by an older version and does not name the tracks of its "
            "training, which can include test tracks: train again"
        )
    for split, summary in summaries.items():
        if not is_split(splits[split], summary):
            raise UserError(
                f"{run.hparams.dataset_path}/{split}_list.txt: its tracks or their audio have "
                f"changed since the run {run.weights.parent} was trained, possibly on today's test "
                "tracks: restore them, or train again"
            )
    check_duplicates(splits)
    return splits


def score_rankings(
    train: list[Track], test: list[Track], labels: NDArray, count: int, run: TrainedRun
) -> dict[str, ranking.RankingScores]:
    """Score the embeddings and three baselines: mean MFCCs, the best possible ranking, random."""
    mfccs = standardize(*(mean_mfccs(tracks, run.hparams) for tracks in (train, test)))
    rankings = {
        "embeddings": ranking.cosine_ranking(embed_tracks(test, run)),
        "mean MFCC": ranking.cosine_ranking(mfccs),
        "the best possible": ranking.ideal_ranking(labels),
    }
    scores = {name: ranking.score_ranking(rank, labels, count) for name, rank in rankings.items()}
    return scores | {"random": ranking.random_scores(labels, count, run.hparams.seed)}


def format_scores(results: dict[str, Any]) -> str:
    """The scores in `retrieval.json` as a table."""
    count, alone = results["neighbours"], results["alone"]
    tracks, queries = results["tracks"], results["queries"]
    lines = [f"Test split: {tracks} tracks, each compared with all others"]
    if queries == ranking.MOST_QUERIES < tracks:
        lines = [f"Test split: {tracks} tracks; {queries} random ones compared with all others"]
    if alone:
        lines.append(f"{alone} tracks are the only ones of their genre: they are not scored")
    if count < PRECISION_AT:
        lines.append(f"P@{count}, not P@{PRECISION_AT}: there are only {count} others")
    lines.append(f"{'':18}   P@{count:<3}    MAP")
    for name, scores in results["scores"].items():
        precision, mean = scores.values()
        lines.append(f"{name:18}  {precision:.4f}  {mean:.4f}")
    return "\n".join(lines)


def reject(run: Run, args: argparse.Namespace) -> str:
    """Why the parts of a command suit a run less than others; "" if they suit it."""
    if why := run.lacks_network:
        return why
    task = run.settings.get("task")
    if args.evaluate and not (task in LABELS and LABELS[task].are_folders):
        return f"its task is {task}"
    if args.collection and not index_folder(run.weights, args.collection).is_dir():
        return f"has no index of {args.collection}"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Index, search and evaluate; if one fails, the others still run.

    The status is 1 if any failed or a file cannot be read.
    """
    args = parse(argv)
    failed: list[str] = []
    run = TrainedRun(find_weights(args.run, lambda each: reject(each, args)), args.device)
    print(f"Run: {run}\n{describe_length(run.hparams)}")
    searched = args.collection or args.index
    parts = {
        "index": lambda: build_index(args.index, run, failed),
        "files": lambda: search(args.files, searched, run, args.top, failed),
        "evaluate": lambda: evaluate(run),
    }
    status = 0
    for name in (name for name in parts if getattr(args, name)):
        try:
            parts[name]()
        except BrokenPipeError:
            raise
        except Exception as error:
            print(f"error: {explain(error, name)}", file=sys.stderr)
            status = 1
    if failed:
        print(f"{len(failed)} could not be read, see above", file=sys.stderr)
    return 1 if failed else status


if __name__ == "__main__":
    run_script(main)
