"""The numbers behind the pictures, and that every page is drawn."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import save_run, sine
from drawings import TONE, drawn_rows, loudest_row, page
from matplotlib import pyplot as plt
from sample_reports import HISTORY, some_report, tag_report

import visualize
from audio.features import extract_feature
from audio.plots import own_settings
from hparams import HParams
from model import build_model
from support.errors import UserError
from training.checkpoint import read_history, write_history, write_settings
from visualize import augment_page, augmented, compare_windows, first_filters, main, parse


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def test_short_and_long_windows_show_the_tone_and_their_resolution():
    short, long = plt.subplots(1, 2)[1]
    compare_windows(sine(TONE, 5, 22050), HParams(), short, long)
    (low, high), (long_low, long_high) = loudest_row(short), loudest_row(long)
    assert low <= TONE <= high and long_low <= TONE <= long_high
    assert high - low == pytest.approx(22050 / 256)
    assert long_high - long_low == pytest.approx(22050 / 4096)
    assert short.get_xlim() == long.get_xlim() == pytest.approx((1.5, 3.5))


def test_short_and_long_windows_differ_in_nothing_else():
    short, long = plt.subplots(1, 2)[1]
    compare_windows(sine(TONE, 5, 22050), HParams(), short, long)
    values = drawn_rows(long)[0]
    assert drawn_rows(short)[0].shape[1] == values.shape[1]
    times = long.collections[0].get_coordinates()[0, :-1, 0]
    shown = values[:, (times > 1.5) & (times < 3.5)]
    assert np.ptp(shown.max(axis=0)) < 0.1  # the tone lasts longer, so it does not fade at the ends


def test_augmented_waveforms_are_those_of_the_effects(settings, data_set):
    made = augmented(data_set / "jazz/jazz.00000.wav", 0, settings)
    original, *copies = made.values()
    assert len(copies) == 6 and len(original) == 16800
    names = [title.partition(":")[0] for title in made][1:]
    assert names == ["pitch_shift", "time_stretch", "speed", "noise", "shift", "percussive"]
    rate = float(list(made)[3].rpartition(" ")[2])
    assert len(made[list(made)[3]]) == pytest.approx(16800 / rate, abs=1)
    assert all(len(y) != 16800 or np.abs(y - original).max() > 0.01 for y in copies)


def test_differences_are_copies_minus_the_original_over_the_frames_of_both(settings, data_set):
    path = data_set / "jazz/jazz.00000.wav"
    mel = own_settings(settings, feature="log_mel")
    original, *copies = (extract_feature(y, mel) for y in augmented(path, 0, settings).values())
    axes = [ax for ax in augment_page(path, 0, settings).axes if ax.get_label().endswith("minus")]
    assert len(axes) == len(copies) == 6
    for ax, copy in zip(axes, copies):
        frames = min(len(original), len(copy))
        drawn = ax.collections[0].get_array().T
        np.testing.assert_array_equal(drawn, copy[:frames] - original[:frames])
        low, high = ax.collections[0].get_clim()
        assert low == -high < 0
    assert axes[0].get_title() == "copy minus original\nlog10(1 + 10 magnitude)"


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
    hparams = dataclasses.replace(settings, **changed)
    model = build_model(hparams)
    weights = first_filters(model, hparams)
    assert weights.shape == shape
    first = next(value for name, value in model.state_dict().items() if value.ndim > 2)
    np.testing.assert_array_equal(weights.ravel(), first.numpy().ravel())


def test_history_is_read_as_it_was_written(tmp_path):
    write_history(tmp_path, HISTORY)
    assert read_history(tmp_path) == HISTORY
    assert read_history(tmp_path / "none") == []
    (tmp_path / "history.csv").write_text("epoch,train_loss\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        read_history(tmp_path)


def small_flags(hparams):
    names = ("sample_rate", "fft_size", "win_size", "hop_size", "num_mels", "feature_length")
    return [word for name in names for word in (f"--{name}", str(getattr(hparams, name)))]


def test_every_page_of_audio_is_drawn_the_same_each_time(settings, data_set, capsys):
    track = data_set / "jazz/봄 $노래$.wav"
    (data_set / "jazz/jazz.00000.wav").rename(track)
    words = ["--windows", "--mel_filters", *small_flags(settings)]
    assert main([str(track), *words, "--out", "one"]) == 0
    words = [*words[2:], "--chunks"]
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


def test_a_page_of_a_run_leaves_out_what_is_missing(weights, tmp_path, capsys, monkeypatch):
    folder = weights.parent
    monkeypatch.setattr(visualize, "MOST_FILTERS", 4)
    assert main(["--run", str(folder)]) == 0
    assert "has neither history.csv nor report.json: filters only" in capsys.readouterr().out
    (folder / "filters.png").unlink()
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
        (["--chunks"], "draw files: name one"),
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


def test_files_and_settings_can_be_in_any_order():
    args, hparams = parse(["--chunks", "a.wav", "--fft_size", "2048", "b.wav", "--seconds", "0"])
    assert (args.files, args.seconds, hparams.fft_size) == (["a.wav", "b.wav"], 0, 2048)


def test_the_filters_are_those_of_the_named_run(settings):
    for name in ("one", "two"):
        save_run(settings, f"runs/{name}")
    write_history(Path("runs/one"), HISTORY)
    assert main(["--run", "runs/one", "--filters"]) == 0
    assert Path("runs/one/filters.png").is_file()
    assert not Path("runs/two/filters.png").exists()


def test_settings_beside_a_run_are_not_ignored_silently(settings, data_set, capsys):
    folder = save_run(settings, "runs/one").parent
    write_history(folder, HISTORY)
    file = str(data_set / "jazz/jazz.00000.wav")
    assert main([file, "--run", "runs/one", "--num_mels", "16"]) == 0
    assert "*** --num_mels: the pages of a run show its own settings" in capsys.readouterr().out


def test_a_run_whose_last_epoch_is_the_best_is_advised_to_train_longer(settings, capsys):
    hparams = dataclasses.replace(settings, num_epochs=3)
    folder = save_run(hparams, "runs/one").parent
    write_settings(folder, hparams)
    report = genre_report() | {"num_tracks": 4}
    for best, valid_loss in ((3, 0.1), (2, 0.9)):
        write_history(folder, [*HISTORY[:2], HISTORY[2] | {"valid_loss": valid_loss}])
        text = json.dumps(report | {"best_epoch": best}, ensure_ascii=False)
        (folder / "report.json").write_text(text, encoding="utf-8")
        assert main(["--run"]) == 0
        command = f"`python train_test.py --resume {folder} --num_epochs 6`"
        line = f"*** the best epoch is the last one: more may help: {command}\n"
        assert (line in capsys.readouterr().out) == (best == 3)


def test_the_newest_page_and_filters_are_of_one_run(settings, capsys):
    folder = save_run(settings, "runs/one").parent
    write_history(folder, HISTORY)
    text = json.dumps(genre_report() | {"num_tracks": 4}, ensure_ascii=False)
    for path in (folder / "report.json", Path("runs/classic/report.json")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    os.utime(folder / "report.json", (1, 1))
    assert main(["--run", "--filters"]) == 0
    *notes, page_path, filters_path = capsys.readouterr().out.splitlines()
    assert notes == [f"*** {Path('runs/classic')} is newer, but has no weights (best.pt)"]
    assert (page_path, filters_path) == (str(folder / "run.png"), str(folder / "filters.png"))
    assert main(["--run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(Path("runs/classic/run.png"))


def test_titles_and_printed_paths_show_no_control_characters(settings, data_set, capsys):
    path = data_set / "jazz/a\x1b[2J\n\u202e.wav"
    (data_set / "jazz/jazz.00000.wav").rename(path)
    assert main([str(path), "--chunks", *small_flags(settings)]) == 0
    out, err = capsys.readouterr()
    assert out == "a\\x1b[2J\\n\\u202e.wav-chunks.png\n"
    assert err == ""


def test_the_seconds_are_printed_if_a_page_depends_on_them(settings, data_set, capsys):
    file, few = str(data_set / "jazz/jazz.00000.wav"), small_flags(settings)
    for words, printed in (
        (["--chunks"], False),
        (["--chunks", "--augment"], True),
        (["--chunks", "--feature_length", "0"], True),
    ):
        assert main([file, *few, *words]) == 0
        assert ("The first 30 s of each track" in capsys.readouterr().out) is printed
