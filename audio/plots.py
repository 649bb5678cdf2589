"""Pictures of sound, of how it is seen, and of runs: the numbers, and how they are drawn.

    from plots import plot_feature, stft_settings
    plot_feature(y, stft_settings(hparams), axis="log")

Every `plot_` function draws into `ax`, or into a figure of its own, and returns the axes; but
`plot_tag_scores` and `plot_learning_curves` take two axes and return their figure. What is shown is
computed apart from that: features by the functions of extraction, windows and scales here. Arrays:
waveform (samples,); feature (rows, bins), time first.
"""

import numpy as np
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from audio.chunks import row_seconds
from audio.features import extract_feature, mel_edges, mel_filters
from hparams import HParams
from support.canvas import BLUE, GREEN, MAP, ORANGE, RED, TWO_SIDED_MAP, new_axes

WINDOWS = {
    "Hann": np.hanning,
    "Hamming": np.hamming,
    "Blackman": np.blackman,
    "rectangular": np.ones,
}


SHOWN = {"tutorial": "log10(1 + 10 magnitude)", "db": "dB", "none": "magnitude"}


MFCC_BAR = {"label": "value (row 0 is beyond)", "extend": "both"}


C1 = 440 * 2 ** (-45 / 12)  # Hz, the lowest bin of a CQT


MOST_NAMES = 16  # of chunks that stand side by side


RANGE_DB = 80  # below the loudest value, what a picture in dB still tells apart


LEAST_DB = -100  # of `decibels`


COLUMNS = 1500  # drawn, at most: more than a page has pixels


def own_settings(hparams, **changed):
    """Settings that shape a feature as `hparams` do, but for those changed; all others as ever.

    Raises `UserError` where they cannot work.
    """
    chosen = HParams(**hparams.feature_settings() | changed)
    chosen.validate()
    return chosen


def bin_hz(hparams):
    """The frequency of each bin of the feature in Hz, (bins,); None where bins have none."""
    if hparams.feature == "linear_stft":
        return np.fft.rfftfreq(hparams.fft_size, 1 / hparams.sample_rate)
    if hparams.feature == "log_mel":
        return mel_edges(hparams.sample_rate, hparams.num_mels)[1:-1]
    if hparams.feature == "cqt":
        return C1 * 2 ** (np.arange(hparams.num_cqt_bins) / hparams.bins_per_octave)
    return None


def audible_cqt(hparams):
    """Settings of the CQT with as many bins as lie below half the sample rate."""
    octaves = np.log2(hparams.sample_rate / 2 / C1)
    bins = min(hparams.num_cqt_bins, int(octaves * hparams.bins_per_octave - 0.1))
    return own_settings(hparams, feature="cqt", scale="db", num_cqt_bins=max(1, bins))


def stft_settings(hparams, size=None, scale="db"):
    """Settings of the magnitude STFT; of a window and transform of `size` samples, if given.

    The hop is then an eighth of `win_size`, whatever the size: what differs is the window alone.
    """
    sizes = {}
    if size:
        sizes = {"win_size": size, "fft_size": size, "hop_size": max(1, hparams.win_size // 8)}
    return own_settings(hparams, feature="linear_stft", scale=scale, **sizes)


def envelope(y, columns=COLUMNS):
    """The least and the largest sample in each of so many columns of a waveform, or fewer.

    Returns two arrays (columns,), and where each begins, in samples (columns,).
    """
    starts = np.unique(np.linspace(0, len(y), columns, endpoint=False).astype(int))
    return np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts), starts


def make_window(name, size):
    """A periodic window of `WINDOWS` by its name: (size,)."""
    return WINDOWS[name](size + 1)[:-1]


def window_spectrum(name, size, padding=64):
    """The spectrum of a window: frequencies in bins of a transform of `size`, and dB.

    Two arrays: 0 dB is the peak, -200 dB the least; `padding` values a bin, from 0 on.
    """
    magnitude = np.abs(np.fft.rfft(make_window(name, size), size * padding))
    level = 20 * np.log10(np.maximum(magnitude / magnitude[0], 1e-10))
    return np.arange(len(level)) / padding, level


def first_null(level):
    """Where the main lobe of `window_spectrum` ends: the index of its first minimum."""
    return int(np.argmax(np.diff(level) > 0))


def main_lobe_width(bins, level):
    """The width of the main lobe in bins, from null to null."""
    return 2 * bins[first_null(level)]


def side_lobe_level(level):
    """The highest side lobe in dB, the peak being 0."""
    return level[first_null(level) :].max()


def formula_mels(hz):
    """Mels by the formula of the slides: 1000 Hz are 1000 mels (O'Shaughnessy, 1987)."""
    return 2595 * np.log10(1 + hz / 700)


def slaney_mels(hz):
    """Mels by Slaney's scale, which the features have: 1000 Hz are 15 mels."""
    return np.where(
        hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)
    )


def show(values, times, hz, axis, bar, ax, **options):
    """Values (rows, bins) over seconds and Hz in axes, with a colour bar if there are its options.

    `axis` is librosa's name of the frequency axis.
    """
    from librosa.display import specshow  # it takes a second to load: not before it is needed

    step = -(-len(values) // COLUMNS)
    coordinates = {"x_coords": times[::step], "y_coords": hz, "x_axis": "s", "y_axis": axis}
    mesh = specshow(values[::step].T, **coordinates, **{"cmap": MAP} | options, ax=ax)
    locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])  # librosa's are odd: 0.6, 1.2, 1.8 ...
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.minorticks_off()  # of notes these would be a black bar
    ax.set_xlabel("time (s)")
    if bar:
        ax.figure.colorbar(mesh, ax=ax, **bar)


def plot_waveform(y, sample_rate, ax=None):
    """A waveform (samples,) over seconds."""
    ax = new_axes(ax)
    low, high, starts = envelope(y)
    ax.fill_between(starts / sample_rate, low, high, color=BLUE, linewidth=0.6)
    most = max(1, np.abs(y).max())
    ax.set(xlim=(0, len(y) / sample_rate), ylim=(-most, most))
    ax.set(xlabel="time (s)", ylabel="amplitude")
    ax.grid(alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def colour_limits(feature, hparams):
    """The values of the first and the last colour of a feature: in dB some below the loudest."""
    least, most = float(feature.min()), float(feature.max())
    if hparams.scale == "db":
        most = max(most, LEAST_DB + RANGE_DB)  # so that silence is dark
        least = most - RANGE_DB
    return least, most if most > least else least + 1  # silence has one value


def plot_feature(y, hparams, ax=None, axis=None, start=0.0, limits=None):
    """The feature of a waveform (samples,) that begins at `start` seconds, over seconds and Hz.

    `axis` "log" shows an STFT over the logarithm of frequency. `limits` are the values of the first
    and the last colour, of a colour bar that several pictures share; unset there is one of its own.
    """
    ax = new_axes(ax)
    if hparams.feature == "waveform":
        return plot_waveform(y, hparams.sample_rate, ax)
    feature = extract_feature(y, hparams)
    times = start + np.arange(len(feature)) * hparams.hop_size / hparams.sample_rate
    if hparams.feature == "mfcc":
        show_mfcc(feature, times, ax)
    else:
        axis = (
            axis or {"linear_stft": "linear", "log_mel": "mel", "cqt": "cqt_note"}[hparams.feature]
        )
        bar = {} if limits else {"label": SHOWN[hparams.scale]}
        least, most = limits or colour_limits(feature, hparams)
        show(feature, times, bin_hz(hparams), axis, bar, ax, vmin=least, vmax=most)
        ax.set_ylabel("note" if axis == "cqt_note" else "frequency (Hz)")
    ax.set_xlim(start, min(ax.get_xlim()[1], start + len(y) / hparams.sample_rate))
    return ax


def mfcc_limits(feature):
    """The values of the first and the last colour of cepstral coefficients (frames, coefficients).

    They reach to the largest but the first, which tells loudness and is many times larger.
    """
    most = np.abs(feature[:, 1:]).max(initial=1)
    return -most, most


def show_mfcc(feature, times, ax):
    """Cepstral coefficients (frames, coefficients) over seconds, in axes."""
    least, most = mfcc_limits(feature)
    numbers = np.arange(feature.shape[1])
    colours = {"cmap": TWO_SIDED_MAP, "vmin": least, "vmax": most}
    show(feature, times, numbers, None, MFCC_BAR, ax, **colours)
    ax.set(ylabel="coefficient", yticks=numbers[:: max(1, len(numbers) // 6)])


def plot_window(name, size, sample_rate, ax=None):
    """The shape of a window over milliseconds."""
    ax = new_axes(ax)
    times, window = np.arange(size) * 1000 / sample_rate, make_window(name, size)
    ax.fill_between(times, window, color=BLUE, alpha=0.3, linewidth=0)
    ax.plot(times, window, color=BLUE)
    ax.set(title=name, xlabel="time (ms)", ylim=(0, 1.1))
    return ax


def plot_window_spectrum(name, size, sample_rate, ax=None):
    """The spectrum of a window in dB over Hz: main lobe shaded, highest side lobe marked."""
    ax = new_axes(ax)
    bins, level = window_spectrum(name, size)
    width, side = main_lobe_width(bins, level), side_lobe_level(level)
    hz = np.concatenate([-bins[::-1], bins[1:]]) * sample_rate / size
    both = np.concatenate([level[::-1], level[1:]])
    lobe = np.abs(hz) <= width / 2 * sample_rate / size
    ax.fill_between(hz[lobe], both[lobe], -120, color=ORANGE, alpha=0.4, linewidth=0)
    ax.plot(hz, both, color=BLUE, linewidth=1)
    ax.axhline(side, color=RED, linestyle="--", linewidth=1)
    title = (
        f"main lobe {width:.1f} bins, {width * sample_rate / size:.0f} Hz\nside lobes {side:.1f} dB"
    )
    ax.set_title(title, fontsize=10)
    limit = 8 * sample_rate / size
    ax.set(xlabel="Hz beside a tone", xlim=(-limit, limit), ylim=(-120, 5))
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.grid(alpha=0.3)
    return ax


def plot_mel_filters(hparams, ax=None, top=None):
    """The mel filter bank (num_mels, bins), neighbours unlike in colour.

    Up to `top` Hz, if that is set, with a dot for each bin of the STFT.
    """
    ax = new_axes(ax)
    hz = np.fft.rfftfreq(hparams.fft_size, 1 / hparams.sample_rate)
    marker, top = ".-" if top else "-", top or hz[-1]
    filters = mel_filters(hparams.sample_rate, hparams.fft_size, hparams.num_mels)
    for number, weights in enumerate(filters):
        used = (np.convolve(weights, (1, 1, 1), "same") > 0) & (hz <= top)
        style = {"color": (BLUE, RED, GREEN)[number % 3], "linewidth": 0.8}
        ax.plot(hz[used], weights[used], marker, markersize=3, **style)
    ax.set(xlabel="frequency (Hz)", ylabel="weight", xlim=(0, top), ylim=(0, None))
    return ax


def plot_mel_scales(sample_rate, ax=None):
    """Both mel scales over Hz, each with an axis of its own, up to half the sample rate."""
    ax = new_axes(ax)
    hz = np.linspace(0, sample_rate / 2, 500)
    right = ax.twinx()
    for axes, scale, color, style, label in (
        (ax, formula_mels, BLUE, "-", "2595 log10(1 + f / 700), mels"),
        (right, slaney_mels, RED, "--", "Slaney's, mels: linear to 1 kHz"),
    ):
        axes.plot(hz, scale(hz), style, color=color)
        axes.set(xlim=(0, hz[-1]), ylim=(0, scale(hz[-1:])[0]))
        axes.set_ylabel(label, color=color)
        axes.tick_params(axis="y", colors=color)
    ax.set(xlabel="frequency (Hz)", title="Mel scales: the slides', and that of the filters")
    ax.grid(alpha=0.3)
    return ax


def plot_chunks(feature, real, counted, hparams, ax=None):
    """A feature (rows, bins) over seconds, a row of the picture a bin, with the chunks' borders.

    The first `real` rows are sound, and the first `counted` chunks count: `network_feature` of
    `visualize.py` returns all three. Padding and chunks left out are hatched.
    """
    ax = new_axes(ax)
    row = row_seconds(hparams)
    chunk = hparams.chunk_length * row
    if hparams.feature == "waveform":
        plot_waveform(feature[:, 0], hparams.sample_rate, ax)
    else:
        draw_bins(feature, row, hparams, ax)
    chunks = len(feature) // hparams.chunk_length
    thin = min(1, 30 / chunks)
    for number in range(chunks):
        ax.axvline(number * chunk, color="white", linewidth=2.5 * thin)
        ax.axvline(number * chunk, color="black", linewidth=thin)
    for number in range(0, chunks, -(-chunks // MOST_NAMES)):
        name = str(number + 1) if number < counted else "left out"
        ax.text((number + 0.5) * chunk, 1.01, name, transform=ax.get_xaxis_transform(), ha="center")
    if real < len(feature):
        ax.axvspan(real * row, len(feature) * row, fill=False, hatch="///", edgecolor="gray")
    unit = "samples" if hparams.feature == "waveform" else "frames"
    of_bins = f" of {feature.shape[1]} bins" if feature.shape[1] > 1 else ""
    chunks_of = f"{counted} chunk{'s' * (counted > 1)} of {hparams.chunk_length} {unit}"
    title = f"{hparams.feature}{of_bins}, before normalization: {chunks_of} ({chunk:.2f} s each)"
    ax.set_title(title, pad=20)
    return ax


def draw_bins(feature, row, hparams, ax):
    """A feature (rows, bins) as the array that it is, its bins labelled by frequency, in axes."""
    mfcc = hparams.feature == "mfcc"
    least, most = mfcc_limits(feature) if mfcc else colour_limits(feature, hparams)
    colours = {"vmin": least, "vmax": most, "cmap": TWO_SIDED_MAP if mfcc else MAP}
    if mfcc:
        colours["interpolation"] = "nearest"  # so few rows would blur into one another
    extent = (0, len(feature) * row, -0.5, feature.shape[1] - 0.5)
    image = ax.imshow(feature.T, origin="lower", aspect="auto", extent=extent, **colours)
    bar = MFCC_BAR if mfcc else {"label": SHOWN[hparams.scale]}
    ax.figure.colorbar(image, ax=ax, **bar)
    hz = bin_hz(hparams)
    ticks = np.unique(np.linspace(0, feature.shape[1] - 1, 7).astype(int))
    labels = [f"{tick} ({hz[tick]:.0f} Hz)" if hz is not None else str(tick) for tick in ticks]
    ax.set_yticks(ticks, labels)
    ax.set(xlabel="time (s)", ylabel="coefficient" if mfcc else "bin (its frequency)")


def plot_filter(weights, most, ax=None):
    """The weights (bins, rows) of one filter, in colours up to `most`; of one bin as a line."""
    ax = new_axes(ax)
    if len(weights) == 1:
        ax.plot(weights[0], ".-", color=BLUE)
        ax.axhline(0, color="gray", linewidth=0.8)
        ax.set(xlim=(-0.5, weights.size - 0.5), ylim=(-1.1 * most, 1.1 * most))
        return ax
    options = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    ax.imshow(weights, cmap=TWO_SIDED_MAP, vmin=-most, vmax=most, **options)
    return ax


def label_filters(axes, weights, hparams):
    """Label the bins of filters (filters, bins, rows) in axes, in Hz if all bins are there."""
    hz, bins = bin_hz(hparams), weights.shape[1]
    ticks = np.unique(np.linspace(0, bins - 1, min(bins, 5)).astype(int))
    known = hz is not None and bins == hparams.num_bins
    for ax in axes:
        if bins == 1:
            ax.set_ylabel("weight")
            continue
        ax.set_yticks(ticks, [f"{hz[tick]:.0f}" for tick in ticks] if known else ticks)
        ax.set_ylabel("Hz" if known else "bin")
