"""Genres, or tags, of any audio file, by the newest run or another.

    python predict.py song.mp3
    python predict.py my_music mix.flac --timeline --csv genres.csv

Prints the most probable genres of each track, by the mean of its chunks' probabilities: of the same
frames of a track that the run was tested on, or of all of them by `--whole`. Of a run of tagging it
prints tags, and a sentence made of them. `--timeline` shows how either changes. Settings come from
the run's checkpoint, and no flag changes them.
"""

import csv
import io
import json
import sys
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audio.chunks import describe_length, seconds_of, track_chunks
from audio.reading import do_each, find_audio
from support.errors import run_script
from support.files import write_text
from tracks.sentence import describe as describe_tags
from training.checkpoint import find_weights
from training.trained_run import Run, make_parser, parse_flags


class Prediction(NamedTuple):
    """What a run says of a track: probabilities (chunks, classes), and of how many real rows."""

    path: Path
    chunks: np.ndarray
    rows: int

    @property
    def probabilities(self):
        """Those of the track: the mean of its chunks', (classes,), float64."""
        return self.chunks.mean(0, dtype=np.float64)


def parse(argv=None):
    """The command line's settings."""
    parser = make_parser("Genres, or tags, of any audio file, by a trained run.")
    parser.add_argument(
        "files", nargs="+", help="audio files, and folders of them; behind -- if one begins with -"
    )
    parser.add_argument("--top", type=int, default=3, help="genres or tags to print of a track [3]")
    parser.add_argument("--whole", action="store_true", help="all of a track, however long")
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="genre or tags by chunk, as text and PNG; implies --whole",
    )
    parser.add_argument("--json", help="file to write all probabilities to, as JSON")
    parser.add_argument(
        "--csv", help="the same as a table: a row a track, or a chunk by --timeline"
    )
    args = parse_flags(parser, argv)
    if args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    args.whole |= args.timeline
    return args


def predict_track(path, run, hparams):
    """The `Prediction` of a file, of as many rows as the settings keep.

    Raises `UserError` where it cannot be read.
    """
    parts, rows = [], 0
    for chunks, real in track_chunks(path, hparams):
        parts.append(run.probabilities(chunks))
        rows += real
    return Prediction(path, np.concatenate(parts), rows)


def describe(prediction, top, hparams):
    """The `top` classes of a track and their probabilities, as a line; of tags a sentence too."""
    shares = prediction.probabilities
    best = np.argsort(-shares, kind="stable")[:top]
    found = ", ".join(f"{hparams.classes[i]} {100 * shares[i]:.1f} %" for i in best)
    line = f"{prediction.path}: {found}{describe_padding(prediction, hparams)}"
    if hparams.task != "tagging":
        return line
    return f"{line}\n  {describe_tags(shares, hparams.tags)}"


def describe_padding(prediction, hparams):
    """What there is to say of a track shorter than a chunk; empty of others."""
    if prediction.rows >= hparams.chunk_length:
        return ""
    seconds = seconds_of(prediction.rows, hparams)
    chunk = seconds_of(hparams.chunk_length, hparams)
    return f" ({seconds:.1f} s, shorter than a chunk of {chunk:.1f} s: padded with silence)"


def predicted(shares, hparams):
    """The indices of what probabilities (classes,) say: one genre, or all the likely tags."""
    if hparams.task == "tagging":
        return tuple(np.flatnonzero(shares > 0.5).tolist())
    return (int(shares.argmax()),)


def edges(prediction, hparams):
    """Where the chunks of a track begin and the last one ends, in seconds: (chunks + 1,)."""
    rows = np.arange(len(prediction.chunks) + 1) * hparams.chunk_length
    return seconds_of(np.minimum(rows, prediction.rows), hparams)


def describe_timeline(prediction, hparams):
    """What a track is from when to when, with mean probabilities, a line each."""
    times = edges(prediction, hparams)
    names = [predicted(shares, hparams) for shares in prediction.chunks]
    for found, run_of in groupby(range(len(names)), names.__getitem__):
        first, *_, last = [*run_of] * 2
        means = 100 * prediction.chunks[first : last + 1].mean(0)
        shown = ", ".join(f"{hparams.classes[i]} {means[i]:.1f} %" for i in found)
        when = f"{clock(times[first])} to {clock(times[last + 1])}"
        yield f"  {when:>18}  {shown or 'no tag is likely'}"


def clock(seconds):
    """A time as 1:02:03, or 2:03 of the first hour."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def draw_timeline(prediction, drawn, hparams):
    """Draw a track's timeline into a PNG in the current folder; returns its path.

    `drawn` are the paths that are taken by other tracks; this one is added. Raises `UserError`
    where it cannot be written.
    """
    from support.canvas import save_picture
    from training.plots import plot_timeline  # matplotlib takes a second to load

    path = Path(f"{prediction.path.name}-timeline.png")
    while path in drawn:
        path = path.with_name(f"{path.stem}-{len(drawn) + 1}.png")
    drawn.add(path)
    # a font has no letter for bytes that are no UTF-8
    title = prediction.path.name.encode(errors="backslashreplace").decode()
    times = edges(prediction, hparams)
    save_picture(path, plot_timeline, prediction.chunks, times, hparams.classes, title)
    return path


def as_json(predictions, failed, run, args, hparams):
    """All predictions as JSON, with the run, and what could not be read."""
    tracks = []
    for prediction in predictions:
        times, shares = edges(prediction, hparams), prediction.probabilities
        track = row_of(prediction, shares, times[0], times[-1], hparams)
        if args.timeline:
            chunks = zip(prediction.chunks, times, times[1:])
            track["timeline"] = [row_of(prediction, *chunk, hparams) for chunk in chunks]
        tracks.append(track)
    values = {"run": str(run.weights.parent), "epoch": run.epoch, "tracks": tracks}
    return json.dumps(values | {"broken": failed}, indent=1, ensure_ascii=False)


def row_of(prediction, shares, begin, end, hparams):
    """What is said of a track from `begin` to `end` (seconds), as plain values."""
    return {
        "track": str(prediction.path),
        "begin": round(float(begin), 3),
        "end": round(float(end), 3),
        "predicted": ", ".join(hparams.classes[i] for i in predicted(shares, hparams)),
        "probabilities": dict(zip(hparams.classes, map(float, shares))),
    }


def as_csv(predictions, args, hparams):
    """All predictions as a table with a row a track, or a chunk of a timeline."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track", "begin", "end", "predicted", *hparams.classes])
    for prediction in predictions:
        times, rows = edges(prediction, hparams), prediction.chunks
        if not args.timeline:
            times, rows = times[[0, -1]], [prediction.probabilities]
        for shares, begin, end in zip(rows, times, times[1:]):
            row = row_of(prediction, shares, begin, end, hparams)
            writer.writerow([*list(row.values())[:-1], *row["probabilities"].values()])
    return text.getvalue()


def show_timeline(prediction, drawn, hparams):
    """Print a track's timeline and draw it; returns why it cannot be drawn, a list, empty if so.

    `drawn` is as for `draw_timeline`.
    """
    failed = []
    print(*describe_timeline(prediction, hparams), sep="\n")
    for path in do_each(lambda each: draw_timeline(each, drawn, hparams), [prediction], failed):
        print(f"  {path}", flush=True)
    return failed


def write_tables(predictions, broken, run, args, hparams):
    """Write the JSON and the CSV that are asked for; returns why one cannot be, a list."""
    texts, failed = {}, []
    if args.json:
        texts[args.json] = as_json(predictions, broken, run, args, hparams)
    if args.csv:
        texts[args.csv] = as_csv(predictions, args, hparams)
    written = do_each(lambda name: write_text(Path(name), texts[name]) or name, texts, failed)
    for name in list(written):  # all before the first print: its reader may be gone
        print(f"{name}: {len(predictions)} tracks")
    return failed


def main(argv=None):
    """Predict each track; the status is 1 where one cannot be read, or a file not be written.

    Interrupted, it writes the tables of the tracks that are done.
    """
    args = parse(argv)
    run = Run(find_weights(args.run), args.device)
    hparams = run.settings(args.whole)
    print(f"Run: {run}\n{describe_length(hparams)}{'' if args.whole else '; --whole takes all'}")
    predictions, broken, unwritten, drawn = [], [], [], set()
    paths = find_audio(args.files)
    try:
        for prediction in do_each(lambda path: predict_track(path, run, hparams), paths, broken):
            predictions.append(prediction)
            print(describe(prediction, args.top, hparams), flush=True)
            if args.timeline:
                unwritten += show_timeline(prediction, drawn, hparams)
    finally:
        unwritten += write_tables(predictions, broken, run, args, hparams)
    if broken:
        print(f"{len(broken)} of {len(paths)} could not be read, see above", file=sys.stderr)
    if unwritten:
        print(f"{len(unwritten)} files could not be written, see above", file=sys.stderr)
    return 1 if broken or unwritten else 0


if __name__ == "__main__":
    run_script(main)
