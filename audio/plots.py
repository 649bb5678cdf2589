"""Draw waveforms, features, windows, mel filters and chunks.

Every `plot_` function draws into `ax`, or into a new figure, and returns the axes. Features come
from the functions of extraction; windows and scales are computed here, apart from drawing.
Arrays: waveform (samples,); feature (rows, bins), time first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from audio.chunks import row_seconds, row_unit
from audio.features import extract_feature, hz_to_mel, mel_edges, mel_filters
from hparams import HParams
from support import canvas

Limits = tuple[float, float]  # the values of the first and the last colour

WINDOWS: dict[str, Callable[[int], NDArray]] = {
    "Hann": np.hanning,
    "Hamming": np.hamming,
    "Blackman": np.blackman,
    "rectangular": np.ones,
}
SCALE_LABELS = {
    "tutorial": "log10(1 + 10 magnitude)",
    "db": "dB",
    "musicnn": "log10(1 + 10000 power)",
    "none": "magnitude",
}
AXES = {"linear_stft": "linear", "log_mel": "mel", "cqt": "cqt_note"}  # librosa's names
C1 = 440 * 2 ** (-45 / 12)  # Hz, the lowest bin of a CQT
MOST_NAMES = 16  # names of chunks that fit next to each other
PERCENTILES = (1, 99.5)  # of a feature: a few loud values would leave all other colours dark
RANGE_DB = 80  # softer values, relative to the loudest, are black
LEAST_DB = -100  # the floor of `audio.features.decibels`
COLUMNS = 1500  # the most that are drawn: a page has fewer pixels


def own_settings(hparams: HParams, **changed: Any) -> HParams:
    """The feature settings of `hparams` with changes, validated; other settings are defaults."""
    chosen = HParams(**hparams.feature_settings() | changed)
    chosen.validate()
    return chosen


def bin_hz(hparams: HParams) -> NDArray | None:
    """The frequency of each bin of the feature in Hz, (bins,); None for MFCC and waveform."""
    if hparams.feature == "linear_stft":
        return np.fft.rfftfreq(hparams.fft_size, 1 / hparams.sample_rate)
    if hparams.feature == "log_mel":
        return mel_edges(hparams.sample_rate, hparams.num_mels)[1:-1]
    if hparams.feature == "cqt":
        return C1 * 2 ** (np.arange(hparams.num_cqt_bins) / hparams.bins_per_octave)
    return None


def audible_cqt(hparams: HParams) -> HParams:
    """Settings for a CQT in dB with all bins below half the sample rate."""
    octaves = np.log2(hparams.sample_rate / 2 / C1)
    bins = min(hparams.num_cqt_bins, int(octaves * hparams.bins_per_octave - 0.1))
    return own_settings(hparams, feature="cqt", scale="db", num_cqt_bins=max(1, bins))


def stft_settings(hparams: HParams, size: int | None = None, scale: str = "db") -> HParams:
    """Settings for an STFT, with a window and transform of `size` samples if given."""
    sizes = {}
    if size:  # one hop for all sizes, so that pictures differ in their windows only
        sizes = {"win_size": size, "fft_size": size, "hop_size": max(1, hparams.win_size // 8)}
    return own_settings(hparams, feature="linear_stft", scale=scale, **sizes)


def envelope(y: NDArray, columns: int = COLUMNS) -> tuple[NDArray, NDArray, NDArray]:
    """Smallest sample, largest sample and start of each part of a waveform: three (columns,)."""
    starts = np.unique(np.linspace(0, len(y), columns, endpoint=False).astype(int))
    return np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts), starts


def make_window(name: str, size: int) -> NDArray:
    """A periodic window (size,), by its name in `WINDOWS`."""
    return WINDOWS[name](size + 1)[:-1]  # the last value is the first of the next period


def window_spectrum(name: str, size: int, padding: int = 64) -> tuple[NDArray, NDArray]:
    """The spectrum of a window: frequency in bins of a transform of `size`, and level in dB.

    Two arrays from bin 0 on, `padding` values per bin. The peak is 0 dB, the floor -200 dB.
    """
    magnitude = np.abs(np.fft.rfft(make_window(name, size), size * padding))
    level = 20 * np.log10(np.maximum(magnitude / magnitude[0], 1e-10))
    return np.arange(len(level)) / padding, level


def first_null(level: NDArray) -> int:
    """The index of a spectrum's first minimum, where the main lobe ends."""
    return int(np.argmax(np.diff(level) > 0))


def main_lobe_width(bins: NDArray, level: NDArray) -> float:
    """The width of the main lobe in bins, from null to null."""
    return 2 * bins[first_null(level)]


def side_lobe_level(level: NDArray) -> float:
    """The highest side lobe in dB, if the peak is 0 dB."""
    return level[first_null(level) :].max()


def formula_mels(hz: NDArray) -> NDArray:
    """Mels by the formula on the slides: 1000 Hz are 1000 mels (O'Shaughnessy, 1987)."""
    return 2595 * np.log10(1 + hz / 700)


def show(
    values: NDArray,
    times: NDArray,
    hz: NDArray | None,
    axis: str | None,
    bar: canvas.Options,
    ax: Axes,
    **options: Any,
) -> None:
    """Draw values (rows, bins) over seconds and Hz, with a colour bar unless `bar` is empty.

    `axis` is librosa's name for the frequency axis; `options` are for its `specshow`.
    """
    from librosa.display import specshow  # librosa takes a second to load

    step = -(-len(values) // COLUMNS)
    options = {"cmap": canvas.MAP, "x_axis": "s", "y_axis": axis} | options
    # (rows, bins) -> (bins, columns): time runs to the right
    mesh = specshow(values[::step].T, x_coords=times[::step], y_coords=hz, ax=ax, **options)
    # librosa's own steps are odd: 0.6, 1.2 ...
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.minorticks_off()  # on a note axis they would merge into a black bar
    ax.set_xlabel("time (s)")
    if bar:
        ax.figure.colorbar(mesh, ax=ax, **bar)


def plot_waveform(y: NDArray, sample_rate: int, ax: Axes | None = None) -> Axes:
    """Draw a waveform over time.

    Parameters
    ----------
    y, sample_rate
        Waveform (samples,) in [-1, 1]; samples per second.
    ax
        Axes to draw into, by default those of a new figure.

    Returns
    -------
    Axes
        Seconds to the right, amplitude upwards.

    Examples
    --------
    >>> plot_waveform(np.sin(np.arange(22050)), 22050).get_xlabel()
    'time (s)'
    """
    ax = canvas.new_axes(ax)
    low, high, starts = envelope(y)
    ax.fill_between(starts / sample_rate, low, high, color=canvas.BLUE, linewidth=0.6)
    most = max(1, np.abs(y).max())
    ax.set(xlim=(0, len(y) / sample_rate), ylim=(-most, most))
    ax.set(xlabel="time (s)", ylabel="amplitude")
    ax.grid(alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def colour_limits(feature: NDArray, hparams: HParams) -> Limits:
    """The values of the first and the last colour: percentiles, or for dB the loudest 80 dB."""
    if hparams.feature == "mfcc":  # without coefficient 0, whose values are many times larger
        most = np.abs(feature[:, 1:]).max(initial=1)
        return -most, most
    if hparams.scale == "db":
        most = max(float(feature.max()), LEAST_DB + RANGE_DB)  # the least keeps silence dark
        return most - RANGE_DB, most
    least, most = map(float, np.percentile(feature, PERCENTILES))
    return least, most if most > least else least + 1  # equal in silence


def colour_bar(hparams: HParams) -> canvas.Options:
    """Options for the colour bar of a feature with limits by `colour_limits`."""
    if hparams.feature == "mfcc":
        return {"label": "value (row 0 is off the scale)", "extend": "both"}
    extend = "min" if hparams.scale == "db" else "max"  # where values exceed the limits
    return {"label": SCALE_LABELS[hparams.scale], "extend": extend}


def plot_feature(
    y: NDArray,
    hparams: HParams,
    ax: Axes | None = None,
    axis: str | None = None,
    start: float = 0.0,
    limits: Limits | None = None,
) -> Axes:
    """Draw a feature of a waveform over time and frequency.

    Parameters
    ----------
    y, hparams
        Waveform (samples,); its sample rate and the settings of the feature.
    ax
        Axes to draw into, by default those of a new figure.
    axis
        "log" for an STFT over log-frequency; by default the axis suits the feature.
    start
        Time of the first sample in seconds.
    limits
        Values of the first and the last colour, if pictures share a colour bar.

    Returns
    -------
    Axes
        Seconds to the right; Hz, notes or coefficients upwards.

    Examples
    --------
    >>> y = np.sin(np.arange(22050, dtype=np.float32))
    >>> plot_feature(y, HParams(feature="log_mel")).get_ylabel()
    'frequency (Hz)'
    """
    ax = canvas.new_axes(ax)
    if hparams.feature == "waveform":
        return plot_waveform(y, hparams.sample_rate, ax)
    feature = extract_feature(y, hparams)
    times = start + np.arange(len(feature)) * row_seconds(hparams)
    least, most = limits or colour_limits(feature, hparams)
    colours: canvas.Options = {"vmin": least, "vmax": most}
    bar = {} if limits else colour_bar(hparams)
    if hparams.feature == "mfcc":
        numbers = np.arange(feature.shape[1])
        show(feature, times, numbers, None, bar, ax, cmap=canvas.TWO_SIDED_MAP, **colours)
        ax.set(ylabel="coefficient", yticks=numbers[:: max(1, len(numbers) // 6)])
    else:
        axis = axis or AXES[hparams.feature]
        show(feature, times, bin_hz(hparams), axis, bar, ax, **colours)
        ax.set_ylabel("note" if axis == "cqt_note" else "frequency (Hz)")
    ax.set_xlim(start, min(ax.get_xlim()[1], start + len(y) / hparams.sample_rate))
    return ax


def plot_window(name: str, size: int, sample_rate: int, ax: Axes | None = None) -> Axes:
    """Draw the shape of a window over milliseconds."""
    ax = canvas.new_axes(ax)
    times, window = np.arange(size) * 1000 / sample_rate, make_window(name, size)
    ax.fill_between(times, window, color=canvas.BLUE, alpha=0.3, linewidth=0)
    ax.plot(times, window, color=canvas.BLUE)
    ax.set(title=name, xlabel="time (ms)", ylim=(0, 1.1))
    return ax


def plot_window_spectrum(name: str, size: int, sample_rate: int, ax: Axes | None = None) -> Axes:
    """Draw the spectrum of a window in dB: main lobe shaded, highest side lobe marked."""
    ax = canvas.new_axes(ax)
    bins, level = window_spectrum(name, size)
    hz_per_bin = sample_rate / size
    width, side = main_lobe_width(bins, level), side_lobe_level(level)
    hz = np.concatenate([-bins[::-1], bins[1:]]) * hz_per_bin  # the spectrum is symmetric
    both = np.concatenate([level[::-1], level[1:]])
    lobe = np.abs(hz) <= width / 2 * hz_per_bin
    ax.fill_between(hz[lobe], both[lobe], -120, color=canvas.ORANGE, alpha=0.4, linewidth=0)
    ax.plot(hz, both, color=canvas.BLUE, linewidth=1)
    ax.axhline(side, color=canvas.RED, linestyle="--", linewidth=1)
    title = f"main lobe {width:.1f} bins, {width * hz_per_bin:.0f} Hz\nside lobes {side:.1f} dB"
    ax.set_title(title, fontsize=canvas.SMALL)
    ends = -8 * hz_per_bin, 8 * hz_per_bin
    ax.set(xlabel="distance from the tone (Hz)", xlim=ends, ylim=(-120, 5))
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.grid(alpha=0.3)
    return ax


def plot_mel_filters(hparams: HParams, ax: Axes | None = None, top: float | None = None) -> Axes:
    """Draw the mel filter bank in alternating colours.

    With `top`, only up to that frequency in Hz, with a dot for each bin of the STFT.
    """
    ax = canvas.new_axes(ax)
    hz = np.fft.rfftfreq(hparams.fft_size, 1 / hparams.sample_rate)
    marker, top = ".-" if top else "-", top or hz[-1]
    filters = mel_filters(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    for number, weights in enumerate(filters):
        used = (np.convolve(weights, (1, 1, 1), "same") > 0) & (hz <= top)
        color = (canvas.BLUE, canvas.RED, canvas.GREEN)[number % 3]
        ax.plot(hz[used], weights[used], marker, color=color, linewidth=0.8, markersize=3)
    ax.set(xlabel="frequency (Hz)", ylabel="weight", xlim=(0, top), ylim=(0, None))
    return ax


def plot_mel_scales(sample_rate: int, ax: Axes | None = None) -> Axes:
    """Draw both mel scales over Hz, up to half the sample rate, each with its own axis."""
    ax = canvas.new_axes(ax)
    hz = np.linspace(0, sample_rate / 2, 500)
    right = ax.twinx()
    for axes, scale, color, style, label in (
        (ax, formula_mels, canvas.BLUE, "-", "2595 log10(1 + f / 700) (mels)"),
        (right, hz_to_mel, canvas.RED, "--", "Slaney, linear to 1 kHz (mels)"),
    ):
        axes.plot(hz, scale(hz), style, color=color)
        axes.set(xlim=(0, hz[-1]), ylim=(0, scale(hz[-1:])[0]))
        axes.set_ylabel(label, color=color)
        axes.tick_params(axis="y", colors=color)
    ax.set(xlabel="frequency (Hz)", title="Mel scales: the slides' formula, and the filters' scale")
    ax.grid(alpha=0.3)
    return ax


def plot_chunks(
    feature: NDArray, real: int, counted: int, hparams: HParams, ax: Axes | None = None
) -> Axes:
    """Draw a feature (rows, bins) over seconds, one line of the picture per bin, cut into chunks.

    The arguments come from `audio.chunks.network_feature`: the first `real` rows are sound, the
    rest is padding and hatched; the first `counted` chunks count.
    """
    ax = canvas.new_axes(ax)
    length, row = hparams.chunk_length, row_seconds(hparams)
    chunk = length * row
    # a line that shows on white, and on the dark picture of other features
    color = "black" if hparams.feature in ("waveform", "mfcc") else canvas.SKY
    if hparams.feature == "waveform":
        plot_waveform(feature[:, 0], hparams.sample_rate, ax)
    else:
        show_bins(feature, colour_limits(feature[:real], hparams), hparams, ax)
    chunks = len(feature) // length
    for number in range(chunks):
        ax.axvline(number * chunk, color=color, linewidth=min(1, 30 / chunks))
    for number in range(0, chunks, -(-chunks // MOST_NAMES)):
        name = str(number + 1) if number < counted else "left out"
        ax.text((number + 0.5) * chunk, 1.01, name, transform=ax.get_xaxis_transform(), ha="center")
    if real < len(feature):
        ax.axvspan(real * row, len(feature) * row, fill=False, hatch="///", ec="gray", lw=0)
    kind = hparams.feature + (f", {feature.shape[1]} bins" if feature.shape[1] > 1 else "")
    size = f"{counted} chunk{'s' * (counted > 1)} of {length} {row_unit(hparams)}"
    ax.set_title(f"{kind}, before normalization: {size} ({chunk:.2f} s each)", pad=20)
    return ax


def show_bins(feature: NDArray, limits: Limits, hparams: HParams, ax: Axes) -> None:
    """Draw a feature (rows, bins) as an image of the array, with frequencies as labels of bins."""
    mfcc = hparams.feature == "mfcc"
    colours: canvas.Options = {"vmin": limits[0], "vmax": limits[1], "cmap": canvas.MAP}
    if mfcc:  # a few bins would blur into each other
        colours |= {"cmap": canvas.TWO_SIDED_MAP, "interpolation": "nearest"}
    extent = (0, len(feature) * row_seconds(hparams), -0.5, feature.shape[1] - 0.5)
    image = ax.imshow(feature.T, origin="lower", aspect="auto", extent=extent, **colours)
    ax.figure.colorbar(image, ax=ax, **colour_bar(hparams))
    hz = bin_hz(hparams)
    ticks = np.unique(np.linspace(0, feature.shape[1] - 1, 7).astype(int))  # once, if bins are few
    labels = [f"{tick} ({hz[tick]:.0f} Hz)" if hz is not None else str(tick) for tick in ticks]
    ax.set_yticks(ticks, labels)
    ax.set(xlabel="time (s)", ylabel="coefficient" if mfcc else "bin (its frequency)")
