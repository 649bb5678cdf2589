"""Pictures of every stage: audio, features, windows, mel filters, chunks, augmentation, runs.

    python visualize.py song.wav
    python visualize.py song.wav --chunks --augment --feature mfcc
    python visualize.py --windows --mel_filters --fft_size 2048 --win_size 2048
    python visualize.py --run --filters

A file's page has its waveform, three scales of its spectrogram, a short and a long window, log-mel,
MFCC and CQT, each made by the functions of extraction. Pages are PNG, in the current folder or in
`--out`; those of a run lie in its folder. What pages consist of is in `plots.py`.
"""

import dataclasses
from pathlib import Path

import numpy as np
import soxr

from audio.chunks import network_feature, read_start, row_seconds
from audio.effects import EFFECTS, draw_parameters, within_range
from audio.features import extract_feature, warn_of_empty_mels
from audio.plots import (
    SHOWN,
    WINDOWS,
    audible_cqt,
    colour_limits,
    label_filters,
    own_settings,
    plot_chunks,
    plot_feature,
    plot_filter,
    plot_mel_filters,
    plot_mel_scales,
    plot_waveform,
    plot_window,
    plot_window_spectrum,
    stft_settings,
)
from audio.reading import open_audio
from hparams import AUGMENT_EFFECTS, HParams
from support.canvas import new_page, save_picture
from support.errors import UserError, run_script
from support.flags import make_parser, unknown_flag
from training.checkpoint import read_report, run_folder
from training.plots import (
    find_wrong,
    matrix_inches,
    plot_confusion_matrix,
    plot_learning_curves,
    plot_tag_scores,
    plot_wrong,
    tag_inches,
)

EXCERPT = 2.0  # seconds on which short and long windows are compared


MOST_FILTERS = 64  # on a page


LONGEST_NAME = 14  # letters of a genre, for a matrix that takes half of a page


ORIGINAL = "the track itself"


def augmented(path, seconds, hparams):
    """A file and its copies, as `data_augment.py` makes them: {what was done: waveform}.

    Effects work at the file's own sample rate; waveforms (samples,) are of `sample_rate`.
    """
    with open_audio(path) as file:
        rate = file.samplerate
    y = read_start(path, seconds, own_settings(hparams, sample_rate=rate))
    made = {ORIGINAL: y}
    for effect in hparams.augment_effects or AUGMENT_EFFECTS:
        parameters = draw_parameters(path.name, effect, 1, hparams.seed)
        told = ", ".join(
            f"{name} {value}" for name, value in parameters.items() if "seed" not in name
        )
        made[f"{effect}: {told}"] = within_range(EFFECTS[effect].apply(y, rate, **parameters))
    return {told: soxr.resample(y, rate, hparams.sample_rate) for told, y in made.items()}


def first_filters(model):
    """The weights of a model's first convolution: (filters, bins, rows).

    Of a 2-D network bins are those of a window that moves over all. Raises `UserError` where there
    is no convolution.
    """
    import torch  # it takes seconds to load, and this page alone needs it

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d):
            weights = layer.weight.detach().cpu().numpy()
            return weights if weights.ndim == 3 else weights[:, 0]
    raise UserError(
        f"{type(model).__name__} of model.py has no convolution whose filters could be shown"
    )


def features_page(path, seconds, hparams):
    """A figure of a file's first seconds (0: all) as a waveform and as eight features."""
    y = read_start(path, seconds, hparams)
    mosaic = [
        ["waveform"] * 2,
        ["linear", "db"],
        ["log", "mel"],
        ["short", "long"],
        ["mfcc", "cqt"],
    ]
    shown = f"{path.name}, {len(y) / hparams.sample_rate:.1f} s at {hparams.sample_rate} Hz"
    figure, axes = new_page(11, 14.5, mosaic, shown, height_ratios=[0.7, 1, 1, 1, 1])
    plot_waveform(y, hparams.sample_rate, axes["waveform"])
    db = stft_settings(hparams)
    plot_feature(y, stft_settings(hparams, scale="none"), axes["linear"])
    plot_feature(y, db, axes["db"])
    plot_feature(y, db, axes["log"], "log")
    plot_feature(y, own_settings(hparams, feature="log_mel"), axes["mel"])
    plot_feature(y, own_settings(hparams, feature="mfcc"), axes["mfcc"])
    plot_feature(y, audible_cqt(hparams), axes["cqt"])
    titles = {"waveform": "Waveform", "linear": "Spectrogram, linear", "db": "Spectrogram, in dB"}
    titles |= {"log": "... over log-frequency", "mel": f"Log-mel, {hparams.num_mels} bands"}
    titles |= {"mfcc": f"MFCC, {hparams.num_mfcc} coefficients", "cqt": "Constant-Q transform"}
    for name, title in titles.items():
        axes[name].set_title(title)
    compare_windows(y, hparams, axes["short"], axes["long"])
    return figure


def compare_windows(y, hparams, short, long):
    """The STFT of the middle seconds of a waveform with a short and with a long window, in axes."""
    start = max(0, len(y) - int(EXCERPT * hparams.sample_rate)) // 2
    stop = min(len(y), start + int(EXCERPT * hparams.sample_rate))
    around = max(0, start - 2 * hparams.win_size)  # half a long window, or the part would fade
    part = y[around : stop + 2 * hparams.win_size]
    sizes = max(2, hparams.win_size // 4), hparams.win_size * 4
    for ax, name, size in zip((short, long), ("Short", "Long"), sizes):
        plot_feature(part, stft_settings(hparams, size), ax, start=around / hparams.sample_rate)
        shown = f"{name} window: {size} samples, {1000 * size / hparams.sample_rate:.0f} ms"
        ends = start / hparams.sample_rate, stop / hparams.sample_rate
        ax.set(xlim=ends, ylim=(0, min(4000, hparams.sample_rate / 2)), title=shown)


def windows_page(size, sample_rate):
    """A figure of four windows of so many samples: shape above, spectrum below, its two numbers.

    Raises `UserError` where a window is too short to have side lobes.
    """
    if size < 16:
        raise UserError(f"--win_size {size}: has no side lobes to show; pass 16 or more")
    mosaic = [[f"{name} {row}" for name in WINDOWS] for row in ("shape", "spectrum")]
    title = f"Windows of {size} samples ({1000 * size / sample_rate:.1f} ms) and their spectra"
    figure, axes = new_page(11, 5.6, mosaic, title)
    for name in WINDOWS:
        plot_window(name, size, sample_rate, axes[f"{name} shape"])
        plot_window_spectrum(name, size, sample_rate, axes[f"{name} spectrum"])
    for row, label in (("shape", "weight"), ("spectrum", "level (dB)")):
        axes[f"Hann {row}"].set_ylabel(label)
    return figure


def mel_page(hparams):
    """A figure of the mel filter bank, its lowest part apart, and of both mel scales."""
    filters, bins = hparams.num_mels, hparams.fft_size // 2 + 1
    title = f"{filters} mel filters of equal area over {bins} bins of the STFT"
    figure, axes = new_page(11, 7, [["low", "all", "all"], ["scales"] * 3], title)
    top = min(500.0, hparams.sample_rate / 2)
    plot_mel_filters(hparams, axes["low"], top).set_title(f"Up to {top:.0f} Hz")
    plot_mel_filters(hparams, axes["all"]).set_title(f"Up to {hparams.sample_rate / 2:.0f} Hz")
    plot_mel_scales(hparams.sample_rate, axes["scales"])
    return figure


def chunks_page(path, seconds, hparams):
    """A figure of the feature of a file as a network gets it, cut into chunks."""
    feature, real, counted = network_feature(path, seconds, hparams)
    figure, axes = new_page(11, 4.6, [["chunks"]], path.name)
    plot_chunks(feature, real, counted, hparams, axes["chunks"])
    return figure


def augment_page(path, seconds, hparams):
    """A figure of a file and its augmented copies: waveform and log-mel of each, in one scale."""
    made = augmented(path, seconds, hparams)
    settings = own_settings(hparams, feature="log_mel")
    title = f"{path.name}: copies by data_augment.py, seed {hparams.seed}"
    mosaic = [[f"{told} y", told] for told in made]
    figure, axes = new_page(11, 1.75 * len(made) + 0.6, mosaic, title, sharex=True)
    limits = colour_limits(extract_feature(made[ORIGINAL], settings), settings)
    for told, y in made.items():
        plot_waveform(y, hparams.sample_rate, axes[f"{told} y"]).set_title(told, fontsize=10)
        plot_feature(y, settings, axes[told], limits=limits)
    for told in list(made)[:-1]:
        axes[told].set_xlabel("")
        axes[f"{told} y"].set_xlabel("")
    axes[told].set_xlim(0, max(map(len, made.values())) / hparams.sample_rate)
    bar = {"ax": [axes[told] for told in made], "label": SHOWN[settings.scale], "aspect": 50}
    figure.colorbar(axes[ORIGINAL].collections[0], **bar)
    return figure


def filters_page(title, weights, hparams):
    """A figure of the filters of a first convolution (filters, bins, rows), one scale for all.

    Those with the largest weights, if there are many.
    """
    size = np.abs(weights).sum((1, 2))
    chosen = np.sort(np.argsort(-size, kind="stable")[:MOST_FILTERS])
    columns = min(8, len(chosen))
    rows = -(-len(chosen) // columns)
    names = [str(number) for number in chosen] + ["."] * (rows * columns - len(chosen))
    mosaic = np.reshape(names, (rows, columns)).tolist()
    figure, axes = new_page(11, 1.9 * rows + 1, mosaic, title, sharex=True, sharey=True)
    most = np.abs(weights).max()
    for number in chosen:
        plot_filter(weights[number], most, axes[str(number)]).set_title(number, fontsize=9)
    label_filters([axes[row[0]] for row in mosaic], weights, hparams)
    for name in mosaic[-1]:
        if name != ".":
            axes[name].set_xlabel("row")
    if images := axes[names[0]].images:
        figure.colorbar(images[0], ax=list(axes.values()), label="weight", aspect=40)
    return figure


def run_page(title, history, report):
    """A figure of a run: learning curves, scores, and its most confidently wrong predictions.

    `history` has the rows of `history.csv`, or none; `report` is what `report.json` holds, or None.
    """
    rows, heights, width = run_rows(history, report)
    options = {"height_ratios": heights, "width_ratios": [1.1, 1]}
    figure, axes = new_page(width, sum(heights) + 0.4, rows, title, **options)
    if history:
        best = min(history, key=lambda row: row["valid_loss"])["epoch"]
        tagging = report and "per_tag" in report
        label = "share of tags right, by chunk" if tagging else "chunk accuracy"
        pair = axes["loss"], axes["acc"]
        plot_learning_curves(history, report["best_epoch"] if report else best, label, pair)
    if report:
        draw_scores(report, axes)
    return figure


def run_rows(history, report):
    """What stands where on the page of a run: names of axes in rows, their heights, the width."""
    rows, heights, width = [], [], 11
    if history:
        rows, heights = [["loss", "acc"]], [3.4]
    if report and "per_tag" in report:
        tall = tag_inches(len(report["per_tag"]))
        return [*rows, ["roc", "pr"], ["wrong", "wrong"]], [*heights, tall, 5.5], width
    if report:
        genres = len(report["per_genre"])
        if genres <= 10 and max(map(len, report["per_genre"])) <= LONGEST_NAME:
            return [*rows, ["matrix", "wrong"]], [*heights, 5.5], width
        tall = matrix_inches(genres)
        rows, heights = [*rows, ["matrix"] * 2, ["wrong"] * 2], [*heights, tall, 5.5]
        width = max(width, tall + 1)
    return rows, heights, width


def draw_scores(report, axes):
    """The scores of a report and its wrong tracks, in axes by name."""
    if "per_tag" in report:
        plot_tag_scores(report, (axes["roc"], axes["pr"]))
        axes["pr"].set_yticks([])  # those on its left
    else:
        matrix, genres = np.array(report["confusion_matrix"]), list(report["per_genre"])
        plot_confusion_matrix(matrix, genres, axes["matrix"])
    plot_wrong(find_wrong(report), axes["wrong"])


def draw_run(args):
    """Draw the page of a run: learning curves, scores, what was wrong; of what there is of these.

    Raises `UserError` where there is nothing of it.
    """
    from training.checkpoint import read_history

    folder = run_folder(args.run)
    history, report = read_history(folder), read_report(folder)
    if not history and not report:
        raise UserError(
            f"--run {folder}: has neither history.csv nor report.json; name the folder of a run of "
            "train_test.py or classic.py"
        )
    if not history:
        print(f"{folder} has no history.csv, as runs of classic.py: no learning curves")
    if not report:
        print(f"{folder} has no report.json, as its training has not ended: learning curves alone")
    save(run_picture(args, folder, "run"), run_page, folder.resolve().name, history, report)


def draw_filters(args):
    """Draw the page of what the first convolution of a run learned."""
    from training.checkpoint import find_weights
    from training.trained_run import Run

    run = Run(find_weights(args.filters or None), "cpu")
    weights = first_filters(run.model)
    count, bins, rows = weights.shape
    shape = f"{bins} x {rows} (bins x rows of {1000 * row_seconds(run.hparams):.3g} ms)"
    title = f"First convolution of {run.hparams.model}: {count} filters of {shape}"
    if count > MOST_FILTERS:
        title += f", those {MOST_FILTERS} with the largest weights"
    path = run_picture(args, run.weights.parent, "filters")
    save(path, filters_page, title, weights, run.hparams)


def run_picture(args, folder, name):
    """The path of a page of a run: in its folder, or named after it in `--out`."""
    if args.out:
        return Path(args.out, f"{folder.resolve().name}-{name}.png")
    return folder / f"{name}.png"


def save(path, plot, *data):
    """Write the picture that `plot(*data)` draws and say where."""
    save_picture(path, plot, *data)
    print(path, flush=True)


def draw_track(path, args, hparams, drawn):
    """Draw the pages of a file; `drawn` are the paths that others took, and then its own too."""
    pages = [name for name in ("chunks", "augment") if getattr(args, name)] or ["features"]
    for name in pages:
        target = Path(args.out, f"{path.name}-{name}.png")
        while target in drawn:
            target = target.with_name(f"{target.stem}-{len(drawn) + 1}.png")
        drawn.add(target)
        save(target, TRACK_PAGES[name], path, args.seconds, hparams)


TRACK_PAGES = {"features": features_page, "chunks": chunks_page, "augment": augment_page}


def draw_tracks(args, hparams):
    """Draw the pages of all files; returns the exit status, 1 where one cannot be read."""
    from audio.reading import do_each, find_audio

    if args.seconds and not args.chunks:
        print(f"The first {args.seconds:g} s of each track; --seconds 0 takes all")
    failed, drawn = [], set()
    for _ in do_each(
        lambda path: draw_track(path, args, hparams, drawn), find_audio(args.files), failed
    ):
        pass
    return 1 if failed else 0


def parse(argv=None):
    """The command line's pages, and the settings."""
    parser = make_parser(HParams())
    parser.usage = "%(prog)s [file ...] [--page ...] [--flag value ...] [@file of flags] [--help]"
    parser.description = "Pictures of audio files, settings and runs."
    add = parser.add_argument
    add("files", nargs="*", help="audio files, and folders of them")
    add("--chunks", action="store_true", help="of files, the feature as a network gets it")
    add("--augment", action="store_true", help="of files, the copies of data_augment.py")
    add("--seconds", type=float, default=30.0, help="seconds of a file on a page (0: all) [30]")
    add("--windows", action="store_true", help="windows of --win_size and their spectra")
    add("--mel_filters", action="store_true", help="the mel filter bank and both mel scales")
    run = {"nargs": "?", "const": "", "metavar": "RUN"}
    add("--run", **run, help="a run: learning curves, scores, what was wrong [the newest]")
    add("--filters", **run, help="what the first convolution of a run learned [the newest]")
    add("--out", default="", help="folder of the pictures [the current one; that of the run]")
    args, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        parser.error(unknown_flag(unknown[0], parser))
    names = {f.name for f in dataclasses.fields(HParams)} & vars(args).keys()
    check_flags(parser, args, names)
    return args, HParams().with_flags({name: getattr(args, name) for name in names}, parser)


def check_flags(parser, args, names):
    """Have the parser exit where flags ask for no page, or for settings (their names) of a run."""
    if not 0 <= args.seconds < np.inf:
        parser.error(f"--seconds {args.seconds:g}: must be 0 (all) or more")
    if (args.chunks or args.augment) and not args.files:
        parser.error("--chunks and --augment are of files: name one")
    if args.files or args.windows or args.mel_filters:
        return
    if args.run is None and args.filters is None:
        parser.error("name an audio file, or pass --windows, --mel_filters, --run or --filters")
    if names:
        parser.error(f"--{min(names)}: settings come from the run; leave it out")


def main(argv=None):
    """Draw the pages asked for; the status is 1 where a file cannot be read."""
    args, hparams = parse(argv)
    if args.windows:
        sizes = hparams.win_size, hparams.sample_rate
        save(Path(args.out, "windows.png"), windows_page, *sizes)
    if args.mel_filters:
        warn_of_empty_mels(hparams)
        save(Path(args.out, "mel_filters.png"), mel_page, hparams)
    if args.run is not None:
        draw_run(args)
    if args.filters is not None:
        draw_filters(args)
    return draw_tracks(args, hparams) if args.files else 0


if __name__ == "__main__":
    run_script(main)
