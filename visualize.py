"""Pictures of every stage: audio, features, windows, mel filters, chunks, augmentation, runs.

    python visualize.py song.wav
    python visualize.py song.wav --chunks --augment --feature mfcc
    python visualize.py --windows --mel_filters --fft_size 2048 --win_size 2048
    python visualize.py --run --filters

The page of a file shows its waveform, its spectrogram on three scales and with a short and a long
window, and its log-mel, MFCC and CQT, as extraction computes them. Pages are PNG files in the
current folder or in `--out`; the pages of a run are saved in its folder. `audio/plots.py` and
`training/plots.py` draw the parts of a page.
"""

import support.start  # noqa: F401 - Ctrl-C ends it quietly while modules load

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from audio import plots
from audio.chunks import check_finite, network_feature, row_seconds
from audio.effects import EFFECTS, draw_parameters, within_range
from audio.features import extract_feature, warn_of_empty_mels
from audio.reading import find_audio, open_audio, read_start
from hparams import HParams
from support.canvas import SMALL, TINY, TWO_SIDED_MAP, new_page, save_picture
from support.errors import UserError, continue_past_errors, run_script, visible
from support.files import free_name
from support.flags import make_parser, parse_flags, replace_given

EXCERPT = 2.0  # seconds on which short and long windows are compared
MOST_FILTERS = 64  # on a page
ORIGINAL = "original"
PARAMETERS = {  # of effects, with their units; others, such as seeds, are not shown
    "semitones": "{:+g} semitones",
    "rate": "rate {:g}",
    "snr_db": "SNR {:g} dB",
    "seconds": "{:g} s",
    "margin": "margin {:g}",
}


def augmented(path: Path, seconds: float, hparams: HParams) -> dict[str, NDArray]:
    """A file and a copy with each effect, as in `data_augment.py`: {title: waveform (samples,)}.

    Effects work at the file's own sample rate; the waveforms returned are at `sample_rate`.
    """
    with open_audio(path) as file:
        rate = file.samplerate
    y = read_start(path, seconds, plots.own_settings(hparams, sample_rate=rate))
    made = {ORIGINAL: y}
    for name, effect in EFFECTS.items():
        parameters = draw_parameters(path.name, name, 1, hparams.seed)
        known = [key for key in parameters if key in PARAMETERS]
        shown = ", ".join(PARAMETERS[key].format(parameters[key]) for key in known)
        made[f"{name}: {shown}"] = within_range(effect.apply(y, rate, **parameters))
    return {title: soxr.resample(y, rate, hparams.sample_rate) for title, y in made.items()}


def first_filters(model: Any, hparams: HParams) -> NDArray:
    """The weights of the first convolution of a torch model: (filters, bins, rows).

    In a 2-D model a filter is a small window that moves over the bins too. Raises `UserError` if
    the model has no convolution.
    """
    import torch  # torch takes seconds to load, and only this page needs it

    shapes: list[torch.Size] = []  # of what the layer gets
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv1d):
            return layer.weight.detach().cpu().numpy()  # (filters, bins, rows)
        if isinstance(layer, torch.nn.Conv2d):
            with layer.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape)):
                model.eval()(torch.zeros(1, hparams.chunk_length, hparams.num_bins))
            weights = layer.weight.detach().cpu().numpy()[:, 0]
            by_rows = shapes[0][3] == hparams.num_bins != shapes[0][2]  # (1, 1, rows, bins)
            return weights.swapaxes(1, 2) if by_rows else weights
    raise UserError(f"--filters: {type(model).__name__} of model.py has no convolution to show")


def features_page(path: Path, seconds: float, hparams: HParams) -> Figure:
    """A page of a file's first seconds (0: all): the waveform and eight features."""
    y = read_start(path, seconds, hparams)
    rows = ["waveform waveform", "linear db", "log mel", "short long", "mfcc cqt"]
    heights = {"height_ratios": [0.7, 1, 1, 1, 1]}
    seconds = len(y) / hparams.sample_rate
    title = f"{visible(path.name)}, {seconds:.1f} s at {hparams.sample_rate} Hz"
    figure, axes = new_page(11, 14.5, [row.split() for row in rows], title, **heights)
    plots.plot_waveform(y, hparams.sample_rate, axes["waveform"]).set_title("Waveform")
    linear, db = plots.stft_settings(hparams, scale="none"), plots.stft_settings(hparams)
    mel, mfcc = (plots.own_settings(hparams, feature=kind) for kind in ("log_mel", "mfcc"))
    for name, text, settings, axis in (
        ("linear", "Spectrogram, linear", linear, None),
        ("db", "Spectrogram, in dB", db, None),
        ("log", "Spectrogram, in dB, over log-frequency", db, "log"),
        ("mel", f"Log-mel, {hparams.num_mels} bands", mel, None),
        ("mfcc", f"MFCC, {hparams.num_mfcc} coefficients", mfcc, None),
        ("cqt", "Constant-Q transform", plots.audible_cqt(hparams), None),
    ):
        plots.plot_feature(y, settings, axes[name], axis).set_title(text)
    compare_windows(y, hparams, axes["short"], axes["long"])
    return figure


def compare_windows(y: NDArray, hparams: HParams, short: Axes, long: Axes) -> None:
    """Draw the STFT of the middle of a waveform, once with a short and once with a long window."""
    rate, samples = hparams.sample_rate, int(EXCERPT * hparams.sample_rate)
    start = max(0, len(y) - samples) // 2
    stop = min(len(y), start + samples)
    around = max(0, start - 2 * hparams.win_size)  # half a long window, or the ends would fade
    part = y[around : stop + 2 * hparams.win_size]
    sizes = max(2, hparams.win_size // 4), hparams.win_size * 4
    for ax, name, size in zip((short, long), ("Short", "Long"), sizes):
        plots.plot_feature(part, plots.stft_settings(hparams, size), ax, start=around / rate)
        title = f"{name} window: {size} samples, {1000 * size / rate:.0f} ms"
        ax.set(xlim=(start / rate, stop / rate), ylim=(0, min(4000, rate / 2)), title=title)


def windows_page(size: int, sample_rate: int) -> Figure:
    """A page of four windows of `size` samples: shape, spectrum, main lobe and side lobes.

    Raises `UserError` if such windows are too short to have side lobes.
    """
    if size < 16:
        raise UserError(f"--win_size {size}: has no side lobes to show; pass 16 or more")
    mosaic = [[f"{name} {row}" for name in plots.WINDOWS] for row in ("shape", "spectrum")]
    title = f"Windows of {size} samples ({1000 * size / sample_rate:.1f} ms) and their spectra"
    figure, axes = new_page(11, 5.6, mosaic, title)
    for name in plots.WINDOWS:
        plots.plot_window(name, size, sample_rate, axes[f"{name} shape"])
        plots.plot_window_spectrum(name, size, sample_rate, axes[f"{name} spectrum"])
    axes["Hann shape"].set_ylabel("weight")
    axes["Hann spectrum"].set_ylabel("level (dB)")
    return figure


def mel_page(hparams: HParams) -> Figure:
    """A page of the mel filter bank, its lowest part enlarged, and both mel scales."""
    bins, nyquist = hparams.fft_size // 2 + 1, hparams.sample_rate / 2
    title = f"{hparams.num_mels} mel filters of equal area over {bins} bins of the STFT"
    figure, axes = new_page(11, 7, [["low", "all", "all"], ["scales"] * 3], title)
    top = min(500.0, nyquist)
    plots.plot_mel_filters(hparams, axes["low"], top).set_title(f"Up to {top:.0f} Hz")
    plots.plot_mel_filters(hparams, axes["all"]).set_title(f"Up to {nyquist:.0f} Hz")
    plots.plot_mel_scales(hparams.sample_rate, axes["scales"])
    return figure


def chunks_page(path: Path, seconds: float, hparams: HParams) -> Figure:
    """A page of a file's feature as the model receives it, cut into chunks."""
    feature, real, counted = network_feature(path, seconds, hparams)
    check_finite(path, feature)
    figure, axes = new_page(11, 4.6, [["chunks"]], visible(path.name))
    plots.plot_chunks(feature, real, counted, hparams, axes["chunks"])
    return figure


def augment_page(path: Path, seconds: float, hparams: HParams) -> Figure:
    """A page of a file and its augmented copies: waveform, log-mel, and how the log-mel differs."""
    made = augmented(path, seconds, hparams)
    settings = plots.own_settings(hparams, feature="log_mel")
    features = {title: extract_feature(y, settings) for title, y in made.items()}
    limits = plots.colour_limits(features[ORIGINAL], settings)
    mosaic = [[f"{title} y", title, f"{title} minus"] for title in made]
    mosaic[0][2] = "."  # empty: the original does not differ from itself
    page = f"{visible(path.name)}: copies by data_augment.py, seed {hparams.seed}"
    figure, axes = new_page(11, 1.75 * len(made) + 0.6, mosaic, page, sharex=True)
    for title, y in made.items():
        ax = plots.plot_waveform(y, hparams.sample_rate, axes[f"{title} y"])
        ax.set_title(title, fontsize=SMALL)
        plots.plot_feature(y, settings, axes[title], limits=limits)
    draw_differences(features, settings, axes)
    axes[ORIGINAL].set_title("log-mel", fontsize=SMALL)
    for name in (name for row in mosaic[:-1] for name in row if name in axes):
        axes[name].set_xlabel("")
    axes[ORIGINAL].set_xlim(0, max(map(len, made.values())) / hparams.sample_rate)
    bar = plots.colour_bar(settings) | {"location": "bottom", "aspect": 30, "pad": 0.01}
    figure.colorbar(axes[ORIGINAL].collections[0], ax=[axes[title] for title in made], **bar)
    return figure


def draw_differences(
    features: dict[str, NDArray], settings: HParams, axes: dict[str, Axes]
) -> None:
    """Draw each copy's log-mel (frames, bands) minus the original's, over the frames of both.

    Each picture has its own colour bar: soft noise changes little, a shifted pitch a lot.
    """
    original, *copies = features.values()
    panels = [axes[f"{title} minus"] for title in features if title != ORIGINAL]
    for ax, copy in zip(panels, copies):
        frames = min(len(original), len(copy))
        difference = copy[:frames] - original[:frames]
        times = np.arange(frames) * row_seconds(settings)
        most = float(np.percentile(np.abs(difference), plots.PERCENTILES[1])) or 1.0  # silence: 0
        bar = {"extend": "both", "label": "difference"}
        colours = {"cmap": TWO_SIDED_MAP, "vmin": -most, "vmax": most}
        plots.show(difference, times, plots.bin_hz(settings), "mel", bar, ax, **colours)
        ax.set(ylabel="", yticks=[])  # the same as on the left
    unit = plots.SCALE_LABELS[settings.scale]
    panels[0].set_title(f"copy minus original\n{unit}", fontsize=SMALL)


def filters_page(title: str, weights: NDArray, hparams: HParams) -> Figure:
    """A page of the filters of a first convolution (filters, bins, rows), on one colour scale.

    Shows at most `MOST_FILTERS`: those with the largest weights.
    """
    from training.plots import label_filters, plot_filter  # it loads torch

    size = np.abs(weights).sum((1, 2))
    chosen = np.sort(np.argsort(-size, kind="stable")[:MOST_FILTERS])
    columns = min(8, len(chosen))
    rows = -(-len(chosen) // columns)
    names = [str(number) for number in chosen] + ["."] * (rows * columns - len(chosen))
    mosaic = np.reshape(names, (rows, columns)).tolist()
    figure, axes = new_page(11, 1.9 * rows + 1, mosaic, title, sharex=True, sharey=True)
    most = np.abs(weights).max()
    for number in chosen:
        plot_filter(weights[number], most, axes[str(number)]).set_title(number, fontsize=TINY)
    label_filters([axes[row[0]] for row in mosaic], weights, hparams)
    for name in axes.keys() & mosaic[-1]:
        axes[name].set_xlabel("row")
    if images := axes[names[0]].images:
        figure.colorbar(images[0], ax=list(axes.values()), label="weight", aspect=40)
    return figure


def draw_run(args: argparse.Namespace) -> None:
    """Draw the page of a run: learning curves, scores and hardest tracks, if the run has them.

    A run that has neither, such as a pretrained one, has its filters drawn instead.
    """
    from training.checkpoint import read_history, read_report  # it loads torch
    from training.plots import run_page
    from training.runs import Run, advise_epochs, find_run_folder

    folder = find_run_folder(args.run, needs_network=args.filters == "")
    args.run = str(folder)  # the filters are those of the same run
    history, report = read_history(folder), read_report(folder)
    if not history and not report:
        print(f"{folder} has neither history.csv nor report.json: filters only")
        args.filters = args.filters or args.run
        return
    if not history:
        print(f"{folder} has no history.csv, like all runs of classic.py: no learning curves")
    if not report:
        print(f"{folder} has no report.json, as its training has not ended: learning curves only")
    advice = ""
    if line := advise_epochs(folder, Run(folder).settings, report or {}, history):
        print(line)
        advice = "The best epoch is the last one: more may help"
    title = visible(folder.resolve().name)
    save(run_picture(args, folder, "run"), run_page, title, history, report, advice)


def draw_filters(args: argparse.Namespace) -> None:
    """Draw the page of the filters in the first convolution of a run."""
    from training.runs import find_weights
    from training.trained_run import TrainedRun

    chosen = find_weights(args.filters or args.run, lambda run: run.lacks_network)
    run = TrainedRun(chosen, "cpu")
    if run.model is None:
        raise UserError(
            f"--filters: {chosen.parent}: its {run.hparams.model} has no network, so no filters; "
            "name a run of train_test.py"
        )
    weights = first_filters(run.model, run.hparams)
    count, bins, rows = weights.shape
    shape = f"{bins} x {rows} (bins x rows of {1000 * row_seconds(run.hparams):.3g} ms)"
    title = f"First convolution of {type(run.model).__name__}: {count} filters of {shape}"
    if count > MOST_FILTERS:
        title += f", the {MOST_FILTERS} with the largest weights"
    path = run_picture(args, run.weights.parent, "filters")
    save(path, filters_page, title, weights, run.hparams)


def run_picture(args: argparse.Namespace, folder: Path, name: str) -> Path:
    """The path of a page of a run: in its folder, or named after it in `--out`."""
    path = Path(args.out, f"{folder.resolve().name}-{name}.png")
    return path if args.out else folder / f"{name}.png"


def save(path: Path, plot: Callable[..., FigureBase], *data: Any) -> None:
    """Write the figure of `plot(*data)`, and print its path."""
    save_picture(path, plot, *data)
    print(visible(path), flush=True)


def draw_tracks(args: argparse.Namespace, hparams: HParams) -> int:
    """Draw the pages of all files; return the exit status, 1 if a file cannot be read."""
    asked = [name for name in ("chunks", "augment") if getattr(args, name)] or ["features"]
    # chunks show what a model receives, which --seconds changes only if that is all of a track
    if args.seconds and (asked != ["chunks"] or not hparams.feature_length):
        print(f"The first {args.seconds:g} s of each track; --seconds 0 takes all")
    pages = {"features": features_page, "chunks": chunks_page, "augment": augment_page}
    failed: list[str] = []
    taken: set[Path] = set()  # files of several folders can have one name

    def draw(path: Path) -> None:
        for name in asked:
            target = free_name(Path(args.out, f"{path.name}-{name}.png"), taken)
            save(target, pages[name], path, args.seconds, hparams)

    for _ in continue_past_errors(draw, find_audio(args.files), failed):
        pass
    return 1 if failed else 0


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, HParams]:
    """Parse the command line; return its own flags and the settings."""
    parser = make_parser(HParams(), groups=("feature", "seed"))
    parser.usage = "%(prog)s [file ...] [--page ...] [--flag value ...] [@file of flags] [--help]"
    parser.description = "Pictures of audio files, settings and runs."
    add = parser.add_argument
    add("files", nargs="*", help="audio files or folders")
    add("--chunks", action="store_true", help="page of a file: its feature as a model receives it")
    add(
        "--augment",
        action="store_true",
        help="page of a file: it and its copies by data_augment.py",
    )
    add("--seconds", type=float, default=30.0, help="seconds of a file to show (0: all) [30]")
    add("--windows", action="store_true", help="windows of --win_size and their spectra")
    add("--mel_filters", action="store_true", help="the mel filter bank and both mel scales")
    run: Any = {"nargs": "?", "const": "", "metavar": "RUN"}
    add("--run", **run, help="a run: learning curves, scores, hardest tracks [the newest]")
    add("--filters", **run, help="the filters of a run's first convolution [that of --run]")
    add("--out", default="", help="folder of the pictures [the current one; for a run, its own]")
    args = parse_flags(parser, argv)
    names = {f.name for f in dataclasses.fields(HParams)} & vars(args).keys()
    check_flags(parser, args, names)
    return args, replace_given(HParams(), {name: getattr(args, name) for name in names}, parser)


def check_flags(parser: argparse.ArgumentParser, args: argparse.Namespace, names: set[str]) -> None:
    """Exit with a message if there is no page to draw; settings (`names`) are not for runs."""
    if not 0 <= args.seconds < np.inf:
        parser.error(f"--seconds {args.seconds:g}: must be 0 (all) or more")
    if (args.chunks or args.augment) and not args.files:
        parser.error("--chunks and --augment draw files: name one")
    if args.files or args.windows or args.mel_filters:
        if names and (args.run, args.filters) != (None, None):
            print(f"*** --{min(names)}: the pages of a run show its own settings, not this one")
        return
    if args.run is None and args.filters is None:
        parser.error("name an audio file, or pass --windows, --mel_filters, --run or --filters")
    if names:
        parser.error(f"--{min(names)}: settings come from the run; leave it out")


def main(argv: list[str] | None = None) -> int:
    """Draw the chosen pages; the status is 1 if a file cannot be read."""
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
