"""The numbers behind the pictures, and that every page is drawn."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import librosa
import matplotlib.image
import numpy as np
import pytest
import soundfile
from conftest import RATE, ROOT, sine
from matplotlib import pyplot as plt
from sample_reports import HISTORY, some_report, tag_report

import visualize
from audio.chunks import network_feature, read_start, track_chunks
from audio.features import hann
from audio.plots import (
    audible_cqt,
    bin_hz,
    colour_limits,
    envelope,
    first_null,
    formula_mels,
    main_lobe_width,
    own_settings,
    plot_chunks,
    plot_feature,
    plot_filter,
    plot_mel_scales,
    plot_window,
    plot_window_spectrum,
    side_lobe_level,
    slaney_mels,
    stft_settings,
    window_spectrum,
)
from hparams import HParams
from model import build_model
from support.errors import UserError
from training.checkpoint import read_history, write_history
from training.plots import find_wrong
from visualize import augmented, compare_windows, first_filters, main, parse, run_rows

TONE = 440.0


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def drawn_rows(ax):
    """What a picture of a feature holds: values (bins, frames), and the edges of its rows."""
    mesh = ax.collections[0]
    return mesh.get_array(), mesh.get_coordinates()[:, 0, 1]


def loudest_row(ax):
    """The edges of the row of a picture that is the loudest in its middle frame."""
    values, edges = drawn_rows(ax)
    loudest = values[:, values.shape[1] // 2].argmax()
    return edges[loudest], edges[loudest + 1]


def kinds(hparams):
    """Each picture with a frequency axis: (settings, name of the axis)."""
    return {
        "linear": (stft_settings(hparams, scale="none"), None),
        "db": (stft_settings(hparams), None),
        "log": (stft_settings(hparams), "log"),
        "mel": (own_settings(hparams, feature="log_mel"), None),
        "cqt": (audible_cqt(hparams), None),
    }


@pytest.mark.parametrize("kind", ["linear", "db", "log", "mel", "cqt"])
@pytest.mark.parametrize("rate", [RATE, 22050])
def test_a_tone_is_drawn_within_one_bin_of_its_frequency(kind, rate):
    hparams, axis = kinds(HParams(sample_rate=rate))[kind]
    ax = plot_feature(sine(TONE, 3, rate), hparams, axis=axis)
    low, high = loudest_row(ax)
    width = high - low
    assert (
        low - width / 2 <= TONE <= high + width / 2
    )  # half a bin beyond: within one of its middle
    assert ax.get_xlabel() == "time (s)"
    assert ax.get_ylabel() in ("frequency (Hz)", "note")
    assert ax.get_xlim()[1] == pytest.approx(3, abs=0.05)


def test_short_and_long_windows_show_the_tone_and_their_resolution():
    short, long = plt.subplots(1, 2)[1]
    compare_windows(sine(TONE, 5, 22050), HParams(), short, long)
    (low, high), (long_low, long_high) = loudest_row(short), loudest_row(long)
    assert low <= TONE <= high and long_low <= TONE <= long_high
    assert high - low == pytest.approx(22050 / 256)
    assert long_high - long_low == pytest.approx(22050 / 4096)
    assert short.get_xlim() == long.get_xlim() == pytest.approx((1.5, 3.5))


def test_frequencies_of_bins_are_librosas():
    mel = bin_hz(HParams())
    np.testing.assert_allclose(mel, librosa.mel_frequencies(130, fmax=11025)[1:-1], rtol=1e-6)
    cqt = bin_hz(HParams(feature="cqt"))
    np.testing.assert_allclose(
        cqt, librosa.cqt_frequencies(168, fmin=32.7031957, bins_per_octave=24)
    )
    stft = bin_hz(HParams(feature="linear_stft"))
    np.testing.assert_allclose(stft, librosa.fft_frequencies(sr=22050, n_fft=1024))
    assert bin_hz(HParams(feature="mfcc")) is None


@pytest.mark.parametrize(
    ("name", "width", "level"),
    [
        ("rectangular", 2, -13.26),
        ("Hann", 4, -31.47),
        ("Hamming", 4, -42.68),
        ("Blackman", 6, -58.11),
    ],
)
@pytest.mark.parametrize("size", [256, 1024])
def test_lobes_of_windows_are_those_of_theory(name, width, level, size):
    bins, spectrum = window_spectrum(name, size)
    assert main_lobe_width(bins, spectrum) == pytest.approx(width, abs=0.05)
    assert side_lobe_level(spectrum) == pytest.approx(level, abs=0.15)
    assert spectrum[0] == 0 and first_null(spectrum) > 0


def test_short_and_long_windows_differ_in_nothing_else():
    short, long = plt.subplots(1, 2)[1]
    compare_windows(sine(TONE, 5, 22050), HParams(), short, long)
    values = drawn_rows(long)[0]
    assert drawn_rows(short)[0].shape[1] == values.shape[1]
    times = long.collections[0].get_coordinates()[0, :-1, 0]
    shown = values[:, (times > 1.5) & (times < 3.5)]
    assert np.ptp(shown.max(axis=0)) < 0.1  # the tone goes on beyond: it does not fade at the ends


def test_names_of_many_chunks_do_not_overlap(settings):
    hparams = dataclasses.replace(settings, chunk_length=10)
    ax = plot_chunks(np.zeros((1000, hparams.num_bins)), 1000, 100, hparams)
    assert [text.get_text() for text in ax.texts] == [str(n) for n in range(1, 101, 7)]
    assert len(ax.lines) == 200


def test_silence_is_dark_and_long_features_are_thinned():
    assert colour_limits(np.zeros((2, 2)), HParams()) == (0, 1)
    assert colour_limits(np.full((2, 2), -100.0), HParams(scale="db")) == (-100, -20)
    ax = plot_feature(sine(TONE, 4, 22050), HParams(hop_size=16))
    values, _ = drawn_rows(ax)
    assert values.shape == (128, 1379)  # every fourth of 5513 frames
    assert ax.get_xlim()[1] == pytest.approx(4, abs=0.01)


def test_a_notebook_keeps_the_figures_that_it_shows():
    code = (
        "import sys, types, matplotlib; matplotlib.use('svg'); "
        "{}import audio.plots; sys.exit(matplotlib.get_backend())"
    )
    for first, backend in (("sys.modules['ipykernel'] = types; ", "svg"), ("", "agg")):
        command = [sys.executable, "-c", code.format(first)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.stderr.strip().lower() == backend


def test_the_window_shown_is_that_of_the_features():
    shape = plot_window("Hann", 1024, 22050).lines[0].get_ydata()
    np.testing.assert_allclose(shape, hann(HParams()), atol=1e-6)
    ax = plot_window_spectrum("Hann", 1024, 22050)
    assert ax.get_title() == "main lobe 4.0 bins, 86 Hz\nside lobes -31.5 dB"


def test_mel_scales_are_librosas():
    hz = np.array([0, 200, 999, 1000, 1001, 4000, 11025.0])
    np.testing.assert_allclose(formula_mels(hz), librosa.hz_to_mel(hz, htk=True))
    np.testing.assert_allclose(slaney_mels(hz), librosa.hz_to_mel(hz))
    left = plot_mel_scales(22050).lines[0]
    assert np.interp(1000, left.get_xdata(), left.get_ydata()) == pytest.approx(1000, abs=1)


def test_an_envelope_keeps_every_peak(rng):
    y = rng.standard_normal(10_007).astype(np.float32)
    low, high, starts = envelope(y, 100)
    assert len(low) == len(high) == len(starts) == 100
    assert (low.min(), high.max()) == (y.min(), y.max())
    assert len(envelope(y[:7], 100)[0]) == 7


@pytest.mark.parametrize("changed", [{}, {"feature": "mfcc"}, {"feature_length": 0}])
def test_chunks_are_those_that_a_network_gets(settings, data_set, changed):
    hparams = dataclasses.replace(settings, chunk_length=120, **changed)
    path = data_set / "jazz/jazz.00000.wav"  # 263 frames
    feature, real, counted = network_feature(path, 30, hparams)
    chunks = np.concatenate([batch for batch, _ in track_chunks(path, hparams)])
    assert counted == len(chunks) == 2
    np.testing.assert_allclose(feature[: 2 * 120].reshape(chunks.shape), chunks, atol=1e-5)
    ax = plot_chunks(feature, real, counted, hparams)
    assert [text.get_text() for text in ax.texts][:3] == ["1", "2", "left out"][: len(ax.texts)]
    borders = sorted({line.get_xdata()[0] for line in ax.lines})
    np.testing.assert_allclose(borders[:2], [0, 120 * 64 / RATE])


def test_augmented_waveforms_are_those_of_the_effects(settings, data_set):
    made = augmented(data_set / "jazz/jazz.00000.wav", 0, settings)
    original, *copies = made.values()
    assert len(copies) == 6 and len(original) == 16800
    names = [told.partition(":")[0] for told in made][1:]
    assert names == ["pitch_shift", "time_stretch", "speed", "noise", "shift", "percussive"]
    rate = float(list(made)[3].rpartition(" ")[2])
    assert len(made[list(made)[3]]) == pytest.approx(16800 / rate, abs=1)
    assert all(len(y) != 16800 or np.abs(y - original).max() > 0.01 for y in copies)


def test_of_a_long_file_only_the_first_seconds_are_read(settings, tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(TONE, 3, 2 * RATE), 2 * RATE)
    assert len(read_start(tmp_path / "a.wav", 2, settings)) == 2 * RATE
    assert len(read_start(tmp_path / "a.wav", 0, settings)) == 3 * RATE
    with pytest.raises(UserError, match="has 800 samples, too few for a page"):
        read_start(tmp_path / "a.wav", 0.1, settings)


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        ({}, (32, 16, 8)),
        ({"model": "Compact2D"}, (32, 3, 3)),
        ({"model": "SampleCNN", "feature": "waveform", "chunk_length": 3**10}, (128, 1, 3)),
    ],
)
def test_filters_are_the_weights_of_the_first_convolution(settings, changed, shape):
    if changed.get("feature"):
        changed["feature_length"] = 0
    model = build_model(dataclasses.replace(settings, **changed))
    weights = first_filters(model)
    assert weights.shape == shape
    first = next(value for name, value in model.state_dict().items() if value.ndim > 2)
    np.testing.assert_array_equal(weights.ravel(), first.numpy().ravel())


def test_a_filter_of_one_bin_is_a_line():
    line = plot_filter(np.array([[1.0, -2.0, 0.5]]), 2).lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [1, -2, 0.5])
    assert plot_filter(np.ones((3, 3)), 2).images[0].get_clim() == (-2, 2)


def test_a_matrix_of_many_genres_or_long_names_has_a_row_of_the_page():
    for genres, row in (
        (["pop"] * 10, ["matrix", "wrong"]),
        ([*"abcdefghijk"], ["matrix", "matrix"]),
        (["a name of some length"], ["matrix", "matrix"]),
    ):
        numbered = {f"{genre}{i}": {} for i, genre in enumerate(genres)}
        assert row in run_rows([], {"per_genre": numbered})[0]


def test_wrong_tracks_come_surest_first():
    rows = [("a", "x", "y", 0.6), ("b", "x", "x", 0.9), ("c", "y", "x", 0.8)]
    tracks = [
        {"track": t, "genre": g, "predicted": p, "probabilities": {p: share}}
        for t, g, p, share in rows
    ]
    assert find_wrong({"tracks": tracks}) == [
        ("c", "said x, is y", 0.8),
        ("a", "said y, is x", 0.6),
    ]
    tags = [{"track": "a", "tags": ["loud"], "probabilities": {"loud": 0.1, "slow": 0.7}}]
    assert find_wrong({"tracks": tags}) == [("a", "said no loud", 0.9), ("a", "said slow", 0.7)]


def test_history_is_read_as_it_was_written(tmp_path):
    write_history(tmp_path, HISTORY)
    assert read_history(tmp_path) == HISTORY
    assert read_history(tmp_path / "none") == []
    (tmp_path / "history.csv").write_text("epoch,train_loss\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        read_history(tmp_path)


def page(path):
    """The size of a picture, once it is sure that something is drawn."""
    picture = matplotlib.image.imread(path)
    assert picture[..., :3].std() > 0.05
    return picture.shape


def small_flags(hparams):
    names = ("sample_rate", "fft_size", "win_size", "hop_size", "num_mels", "feature_length")
    return [word for name in names for word in (f"--{name}", str(getattr(hparams, name)))]


def test_every_page_of_audio_is_drawn_alike_each_time(settings, data_set, capsys):
    track = data_set / "jazz/봄 $노래$.wav"
    (data_set / "jazz/jazz.00000.wav").rename(track)
    words = ["--windows", "--mel_filters", *small_flags(settings)]
    assert main([str(track), *words, "--out", "one"]) == 0
    words = [*words[2:], "--augment_effects", "shift", "--chunks"]
    assert main([*words, "--augment", str(track), "--out", "one"]) == 0
    shown = capsys.readouterr().out
    assert "The first 30 s of each track; --seconds 0 takes all\n" in shown
    names = [f"봄 $노래$.wav-{name}.png" for name in ("features", "chunks", "augment")]
    for name in (*names, "windows.png", "mel_filters.png"):
        assert str(Path("one", name)) in shown
        assert page(Path("one", name))[1] == 1320
    main([*words, "--out", "two", str(track)])
    assert Path("two", names[1]).read_bytes() == Path("one", names[1]).read_bytes()


def genre_report():
    rows = [{"track": "힙합/a.wav", "genre": "힙합", "predicted": "pop"}]
    return some_report() | {"tracks": [rows[0] | {"probabilities": {"힙합": 0.2, "pop": 0.8}}]}


def test_a_page_of_a_run_holds_what_there_is_of_it(weights, tmp_path, capsys, monkeypatch):
    folder = weights.parent
    monkeypatch.setattr(visualize, "MOST_FILTERS", 4)
    with pytest.raises(UserError, match=r"has neither history\.csv nor report\.json"):
        main(["--run", str(folder)])
    write_history(folder, HISTORY)
    assert main(["--run"]) == 0
    assert "has no report.json, as its training has not ended" in capsys.readouterr().out
    low = page(folder / "run.png")
    text = json.dumps(genre_report(), ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    assert main(["--run", "--filters"]) == 0
    assert page(folder / "run.png")[0] > low[0]
    assert page(folder / "filters.png")[1] == 1320
    (folder / "history.csv").unlink()
    tags = tag_report() | {"tracks": [{"track": "a", "tags": [], "probabilities": {"loud": 0.9}}]}
    (folder / "report.json").write_text(json.dumps(tags), encoding="utf-8")
    assert main(["--run", str(folder), "--out", "out"]) == 0
    assert "no learning curves" in capsys.readouterr().out
    page(tmp_path / "out/one-run.png")


def test_what_cannot_be_drawn_is_named(settings, data_set, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no music\n" * 99, encoding="utf-8")
    good = data_set / "jazz/jazz.00000.wav"
    assert main(["text.wav", str(good), "--chunks", *small_flags(settings)]) == 1
    assert "broken: text.wav cannot be read" in capsys.readouterr().err
    page(tmp_path / "jazz.00000.wav-chunks.png")
    with pytest.raises(UserError, match="has no weights"):
        main(["--filters", str(data_set)])
    with pytest.raises(UserError, match="--win_size 8: has no side lobes"):
        main(["--windows", "--win_size", "8"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name an audio file, or pass --windows"),
        (["--chunks"], "are of files: name one"),
        (["--run", "--fft_size", "2048"], "--fft_size: settings come from the run"),
        (["a.wav", "--seconds", "-1"], "--seconds -1: must be 0 (all) or more"),
        (["a.wav", "--seconds", "nan"], "--seconds nan: must be 0 (all) or more"),
        (["a.wav", "--window"], "did you mean --windows?"),
        (["a.wav", "--num_mel", "64"], "did you mean --num_mels?"),
        (["a.wav", "--fft_size", "512"], "must be at most fft_size"),
    ],
)
def test_wrong_flags_end_with_a_message(words, message, capsys):
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err


def test_files_and_settings_may_stand_in_any_order():
    args, hparams = parse(["--chunks", "a.wav", "--fft_size", "2048", "b.wav", "--seconds", "0"])
    assert (args.files, args.seconds, hparams.fft_size) == (["a.wav", "b.wav"], 0, 2048)
