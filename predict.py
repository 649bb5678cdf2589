"""Predict the genre, or the tags, of any audio file with a trained run.

    python predict.py song.mp3
    python predict.py my_music mix.flac --timeline --csv genres.csv

Prints the most probable genres of each track. Their probabilities are means over the chunks in the
part of the track that the run was tested on, or in all of it with `--whole`. A run trained for
tagging prints tags and a sentence with them. `--timeline` shows how the prediction changes within a
track. A track whose best genre is less probable than `--min_confidence` is called unsure. All
settings come from the run's checkpoint; no flag changes them.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio.chunks import describe_length, seconds_of, track_chunks
from audio.reading import find_audio, print_warnings
from audio.silence import SilenceMeter
from hparams import HParams
from support.errors import UserError, continue_past_errors, run_script, visible
from support.files import free_name, write_text
from tracks.likeness import LevelMeter
from training.classical import KINDS, has_network
from training.runs import Run, find_weights
from training.trained_run import TrainedRun, parse_run_flags, run_parser

SILENT = "silent"  # instead of a genre or tags
UNSURE = "unsure"  # instead of a genre
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # how text begins that a spreadsheet takes for a formula


class Prediction(NamedTuple):
    """What a run predicts for a track."""

    path: Path
    probabilities: NDArray  # of the track: the mean over its chunks, with temperature (classes,)
    chunks: NDArray  # of each chunk, as if it were a track (chunks, classes)
    rows: int  # without padding
    silent: NDArray  # whether each chunk is silent (chunks,)
    level: NDArray  # mean and deviation of the feature (2,)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = run_parser("Predict the genre, or the tags, of any audio file with a trained run.")
    add = parser.add_argument
    add("files", nargs="+", help="audio files or folders; put -- before a name that begins with -")
    add("--top", type=int, default=3, help="genres or tags to print per track [3]")
    add("--whole", action="store_true", help="predict all of each track, however long")
    text = "genre or tags of each chunk, as text and PNG; implies --whole"
    add("--timeline", action="store_true", help=text)
    text = "call a track unsure below this probability, 0: never [the run's, chosen on valid]"
    add("--min_confidence", type=float, metavar="P", help=text)
    add("--json", help="file to write all probabilities to, as JSON")
    add("--csv", help="the same as a table: one row per track, or per chunk with --timeline")
    args = parse_run_flags(parser, argv)
    if args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    if args.min_confidence is not None and not 0 <= args.min_confidence <= 1:
        parser.error(f"--min_confidence {args.min_confidence:g}: must be from 0 to 1")
    if args.json and args.csv and Path(args.json) == Path(args.csv):
        parser.error(f"--json {args.json}: is the file of --csv too; name another")
    args.whole |= args.timeline
    return args


def predict_track(path: str | Path, run: TrainedRun, whole: bool = False) -> Prediction:
    """Predict an audio file.

    Parameters
    ----------
    path
        Any format that libsndfile reads.
    run
        The run to predict with.
    whole
        Predict all of the track, not only the part that the run was tested on.

    Returns
    -------
    Prediction
        `.probabilities` (classes,) of the track, `.chunks` (chunks, classes) and `.silent`
        (chunks,); `run.hparams.classes` names the classes.

    Raises
    ------
    UserError
        If the file cannot be read.

    Examples
    --------
    >>> run = TrainedRun("runs/one/best.pt", device=0)
    >>> predict_track("song.wav", run).probabilities.shape == (len(run.hparams.classes),)
    True
    """
    settings = run.settings(whole)
    silence, level = SilenceMeter(settings), LevelMeter()
    chunks = run.predict(level.watch(track_chunks(Path(path), settings, silence.listen)))
    shares = run.temper(chunks.mean(0, dtype=np.float64)), run.temper(chunks)
    silent = silence.silent_chunks(len(chunks))
    return Prediction(Path(path), *shares, level.rows, silent, level.level())


def name_classes(indices: Iterable[int], probabilities: NDArray, hparams: HParams) -> str:
    """Classes and their probabilities as text: "jazz 81.2 %, blues 10.5 %"."""
    shares = (f"{hparams.classes[i]} {100 * probabilities[i]:.1f} %" for i in indices)
    return visible(", ".join(shares))


def describe(prediction: Prediction, top: int, run: TrainedRun) -> str:
    """A line with the `top` classes of a track; for tagging, a second line with a sentence."""
    hparams, name, probabilities = run.hparams, visible(prediction.path), prediction.probabilities
    if prediction.silent.all():
        return f"{name}: {SILENT}"
    best = np.argsort(-probabilities, kind="stable")[:top]
    classes = name_classes(best, probabilities, hparams)
    line = f"{name}: {f'{UNSURE} ({classes})' if run.is_unsure(probabilities) else classes}"
    if prediction.rows < hparams.chunk_length:
        seconds, chunk = (seconds_of(n, hparams) for n in (prediction.rows, hparams.chunk_length))
        line += f" ({seconds:.1f} s, shorter than a chunk of {chunk:.1f} s"
        # the statistics of a classifier leave padding out
        padded = has_network(hparams.model, hparams.init_from)
        line += ": padded with silence)" if padded else ")"
    sentence = run.task.sentence(probabilities, hparams.classes, run.threshold)
    return f"{line}\n  {visible(sentence)}" if sentence else line


def is_unlike(prediction: Prediction, run: TrainedRun) -> bool:
    """Whether a track is not silent, but unlike those that the run was trained on."""
    return not prediction.silent.all() and run.is_unlike(prediction.level)


def describe_unlike(prediction: Prediction, run: TrainedRun) -> str:
    """A warning about a track that is unlike those that the run was trained on."""
    mean, deviation = prediction.level
    usual, spread = run.train["spread"]["median"]
    return (
        f"*** {visible(prediction.path)} is unlike the tracks that this run was trained on "
        f"({visible(run.hparams.dataset_path)}: {run.train['tracks']} tracks, whose feature has a "
        f"mean of about {usual:.3g} and a deviation of {spread:.3g}; here {mean:.3g} and "
        f"{deviation:.3g}): do not rely on its prediction"
    )


def chunk_edges(prediction: Prediction, hparams: HParams) -> NDArray:
    """When each chunk of a track begins, and when the last one ends: seconds (chunks + 1,)."""
    rows = np.arange(len(prediction.chunks) + 1) * hparams.chunk_length
    return seconds_of(np.minimum(rows, prediction.rows), hparams)  # the last chunk can be padded


def describe_timeline(prediction: Prediction, run: TrainedRun) -> Iterator[str]:
    """Yield a line for each stretch of chunks with one prediction: its time and its classes."""
    times = chunk_edges(prediction, run.hparams)
    found = [
        None if silent else run.predicted(row)
        for row, silent in zip(prediction.chunks, prediction.silent)
    ]
    end = 0  # the index of the chunk after a stretch
    for indices, group in groupby(found):
        start, end = end, end + len(list(group))
        classes = SILENT
        if indices is not None:
            means = prediction.chunks[start:end].mean(0)
            classes = name_classes(indices, means, run.hparams) or "no tag is likely"
        yield f"  {f'{clock_time(times[start])} to {clock_time(times[end])}':>18}  {classes}"


def clock_time(seconds: float) -> str:
    """A time as 2:03, or as 1:02:03 from one hour on."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def show_timeline(
    prediction: Prediction, run: TrainedRun, taken: set[Path], unwritten: list[str]
) -> None:
    """Print and draw the timeline of a track; add an error of the picture to `unwritten`."""
    print(*describe_timeline(prediction, run), sep="\n")
    for picture in continue_past_errors(
        lambda _: draw_timeline(prediction, taken, run.hparams), [prediction.path], unwritten
    ):
        print(f"  {visible(picture)}", flush=True)


def draw_timeline(prediction: Prediction, taken: set[Path], hparams: HParams) -> Path:
    """Draw a track's timeline into a PNG in the current folder; return its path.

    The path is added to `taken`, the paths of other tracks' timelines. Raises `UserError` if the
    picture cannot be written.
    """
    from support.canvas import save_picture
    from training.plots import plot_timeline  # matplotlib takes a second to load

    path = free_name(Path(f"{prediction.path.name}-timeline.png"), taken)
    times, title = chunk_edges(prediction, hparams), visible(prediction.path.name)
    shares = np.where(prediction.silent[:, None], np.nan, prediction.chunks)
    save_picture(path, plot_timeline, shares, times, hparams.classes, title)
    return path


def to_rows(prediction: Prediction, timeline: bool, run: TrainedRun) -> list[dict[str, Any]]:
    """A track as plain values, in one row or in a row per chunk; times are in seconds.

    Silence has no probabilities: they are None. Only a whole track can be unsure.
    """
    times, shares = chunk_edges(prediction, run.hparams), prediction.chunks
    silences, unsure = prediction.silent, False
    if not timeline:
        times, shares = times[[0, -1]], prediction.probabilities[None]  # (1, classes)
        silences, unsure = np.array([silences.all()]), run.is_unsure(shares)
    rows = []
    for row, silent, begin, end in zip(shares, silences, times, times[1:]):
        names = [UNSURE] if unsure else [run.hparams.classes[i] for i in run.predicted(row)]
        values = [None if silent else float(share) for share in row]
        rows.append(
            {
                "track": str(prediction.path),
                "begin": round(float(begin), 3),
                "end": round(float(end), 3),
                "predicted": SILENT if silent else ", ".join(names),
                "probabilities": dict(zip(run.hparams.classes, values)),
            }
        )
    return rows


def to_json(
    predictions: list[Prediction], broken: list[str], run: TrainedRun, timeline: bool
) -> str:
    """All predictions as JSON, with the run and the files that could not be read."""
    tracks = []
    for prediction in predictions:
        [row] = to_rows(prediction, False, run)
        row["unlike"] = is_unlike(prediction, run)
        if timeline:
            row["timeline"] = to_rows(prediction, True, run)
        tracks.append(row)
    values = {"run": str(run.weights.parent), "epoch": run.epoch}
    values |= {"min_confidence": run.min_confidence, "tracks": tracks}
    return json.dumps(values | {"broken": broken}, indent=1, ensure_ascii=False)


def to_csv(predictions: list[Prediction], timeline: bool, run: TrainedRun) -> str:
    """All predictions as a table with one row per track, or per chunk of a timeline."""
    lines = [csv_line(["track", "begin", "end", "predicted", *run.hparams.classes])]
    for prediction in predictions:
        for row in to_rows(prediction, timeline, run):
            *cells, probabilities = row.values()
            lines.append(csv_line([*cells, *probabilities.values()]))
    return "".join(lines)


def csv_line(cells: Iterable[Any]) -> str:
    r"""A line of CSV; text that a spreadsheet would run as a formula gets an apostrophe.

    >>> csv_line(["=1+1", -1.5, None])
    "'=1+1,-1.5,\n"
    """
    line = io.StringIO()  # ends with CR and LF, so that names with either are quoted
    csv.writer(line).writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells
    )
    return line.getvalue().removesuffix("\r\n") + "\n"


def predict_and_warn(path: Path, run: TrainedRun, whole: bool) -> Prediction:
    """Predict an audio file; print what is odd about it, such as a missing end mark."""
    prediction = predict_track(path, run, whole)
    print_warnings(path)
    return prediction


def predict_files(
    paths: list[Path | UserError], run: TrainedRun, args: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """Predict and print each track; return errors: of files not read, and of files not written.

    If interrupted, it still writes the tables of the tracks that are done.
    """
    predictions: list[Prediction] = []
    taken: set[Path] = set()
    broken: list[str] = []
    unwritten: list[str] = []
    try:
        for prediction in continue_past_errors(
            lambda path: predict_and_warn(path, run, args.whole), paths, broken
        ):
            predictions.append(prediction)
            print(describe(prediction, args.top, run), flush=True)
            if is_unlike(prediction, run):
                print(describe_unlike(prediction, run), flush=True)
            if args.timeline:
                show_timeline(prediction, run, taken, unwritten)
    finally:
        write_tables(predictions, broken, run, args, unwritten)
    return broken, unwritten


def write_tables(
    predictions: list[Prediction],
    broken: list[str],
    run: TrainedRun,
    args: argparse.Namespace,
    unwritten: list[str],
) -> None:
    """Write the JSON and CSV that the flags name; add errors to `unwritten`."""
    texts: dict[str, str] = {}
    if args.json:
        texts[args.json] = to_json(predictions, broken, run, args.timeline)
    if args.csv:
        texts[args.csv] = to_csv(predictions, args.timeline, run)

    def write(name: str) -> str:
        write_text(Path(name), texts[name])
        return name

    # all before the first print, which fails if its reader, such as `head`, has ended
    for name in list(continue_past_errors(write, texts, unwritten)):
        print(f"{visible(name)}: {len(predictions)} tracks")


def reject(run: Run, args: argparse.Namespace) -> str:
    """Why the flags suit a run less than others; "" if they suit it."""
    whole = args.timeline and run.settings.get("model") in KINDS
    return f"its {run.settings['model']} classifies whole tracks" if whole else ""


def main(argv: list[str] | None = None) -> int:
    """Predict each track; the status is 1 if one cannot be read or a file cannot be written."""
    args = parse(argv)
    weights = find_weights(args.run, lambda each: reject(each, args))
    run = TrainedRun(weights, args.device, args.min_confidence)
    if args.timeline:
        run.check_chunks()
    length = describe_length(run.settings(args.whole))
    more = "; --whole takes all" if run.settings(args.whole).feature_length else ""
    print(f"Run: {run}\n{length}{more}")
    paths = find_audio(args.files)
    broken, unwritten = predict_files(paths, run, args)
    if broken:
        print(f"{len(broken)} of {len(paths)} could not be read, see above", file=sys.stderr)
    if unwritten:
        print(f"{len(unwritten)} files could not be written, see above", file=sys.stderr)
    return 1 if broken or unwritten else 0


if __name__ == "__main__":
    run_script(main)
