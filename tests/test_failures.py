"""What goes wrong for users: one message with the next step, and what is there stays whole."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import flags

import classic
import compare
import feature_extraction
import train_test
from data_manager import get_dataloader, load_dataset
from feature_extraction import main as extract_main
from hparams import CLASSICAL
from support.errors import UserError, run_script
from support.flags import command_line
from tracks.feature_files import feature_file
from tracks.manifest import json_line, read_manifest


def test_broken_tracks_are_all_named_and_the_others_extracted(settings, data_set, capfd):
    (data_set / "jazz/jazz.00000.wav").unlink()
    (data_set / "jazz/jazz.00001.wav").write_text("no sound", encoding="utf-8")
    (data_set / "metal/metal.00000.wav").write_bytes(b"")
    assert extract_main(flags(settings, num_workers=2)) == 1
    captured = capfd.readouterr()
    assert "jazz.00000.wav is missing: put it there or remove its line" in captured.err
    assert "jazz.00001.wav cannot be read (" in captured.err
    assert "metal.00000.wav cannot be read (" in captured.err
    assert "run the same command again: it extracts only what is missing" in captured.err
    assert "21 tracks extracted" in captured.out
    assert "3 broken" in captured.out
    assert len(list(settings.feature_folder().rglob("*.npy"))) == 21
    with pytest.raises(UserError, match="no features of jazz/jazz.00000.wav"):
        get_dataloader(settings)


def test_odd_files_are_broken_tracks_too(settings, data_set, capsys):
    loud = np.full(20000, 1e38, np.float32)
    soundfile.write(data_set / "jazz/loud.wav", loud, 8000, "FLOAT")
    soundfile.write(data_set / "jazz/nan.wav", loud * np.float32("nan"), 8000, "FLOAT")
    soundfile.write(data_set / "jazz/empty.wav", loud[:0], 8000, "FLOAT")
    (data_set / "jazz/bare.raw").write_bytes(b"\0" * 1000)
    with open(data_set / "train_list.txt", "a", encoding="utf-8") as file:
        file.write("jazz/loud.wav\njazz/nan.wav\njazz/empty.wav\njazz/bare.raw\n")
        file.write(f"jazz/{'long' * 70}.wav\njazz/jazz.00000x.wav\n")
    assert extract_main(flags(settings, feature_length=0)) == 1
    captured = capsys.readouterr()
    for reason in (
        "loud.wav holds values too large for a spectrum",
        "nan.wav holds samples that are not numbers",
        "empty.wav holds no sample",
        "bare.raw cannot be read (",
        "longlong.wav cannot be read (File name too long)",
        "jazz.00000x.wav is missing",
    ):
        assert reason in captured.err
    assert "24 tracks extracted" in captured.out


@pytest.mark.parametrize("workers", [1, 2])
def test_any_error_of_one_track_is_that_tracks(settings, monkeypatch, workers, capsys):
    errors = [
        *(ValueError("odd header"), PermissionError(13, "Permission denied"), MemoryError()),
        *(ZeroDivisionError("in the decoder"), UserError("jazz.00004.wav is cut short")),
    ]
    load = feature_extraction.load_track

    def fail(path, *others):
        if path.parent.name == "jazz" and int(path.stem[-1]) < len(errors):
            raise errors[int(path.stem[-1])]
        return load(path, *others)

    monkeypatch.setattr(feature_extraction, "load_track", fail)
    assert extract_main(flags(settings, num_workers=workers)) == 1
    captured = capsys.readouterr()
    for said in (
        "jazz.00000.wav: unexpected ValueError at test_failures.py:",
        "jazz.00001.wav cannot be read (Permission denied): check its permissions and disk",
        "jazz.00002.wav does not fit into memory: lower --num_workers, or cut it",
        "jazz.00003.wav: unexpected ZeroDivisionError at test_failures.py:",
        "broken: jazz.00004.wav is cut short",
    ):
        assert said in captured.err
    assert "19 tracks extracted" in captured.out
    log = Path("errors.log").read_text(encoding="utf-8")
    assert log.count("Traceback") == 2
    assert "ZeroDivisionError: in the decoder" in log
    monkeypatch.setattr(feature_extraction, "load_track", load)
    assert extract_main(flags(settings)) == 0
    assert "5 tracks extracted" in capsys.readouterr().out


def test_odd_tracks_are_kept_with_a_warning(settings, data_set, capsys):
    soundfile.write(data_set / "jazz/jazz.00000.wav", np.zeros(20000), 8000)
    soundfile.write(data_set / "jazz/jazz.00001.wav", np.full(100, 0.1), 8000)
    soundfile.write(data_set / "jazz/jazz.00002.wav", np.ones(1), 192000)
    eight = np.random.default_rng(0).uniform(-0.1, 0.1, (20000, 8))
    soundfile.write(data_set / "jazz/jazz.00003.wav", eight, 192000)
    assert extract_main(flags(settings)) == 0
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "jazz.00000.wav is silent" in errors[0]
    for line in errors[1:]:
        assert "is shorter than one frame: it is padded with zeros" in line
    x, _ = load_dataset("train", settings)
    assert np.isfinite(x).all()
    assert len(x) == 24 - 1 - 1 - 1  # three tracks have but one chunk that counts


def test_text_named_mp3_is_a_broken_track(settings, data_set, capsys):
    (data_set / "jazz/song.mp3").write_text("la la la", encoding="utf-8")
    with open(data_set / "valid_list.txt", "a", encoding="utf-8") as file:
        file.write("jazz/song.mp3\n")
    assert extract_main(flags(settings)) == 1
    assert "song.mp3 cannot be read (" in capsys.readouterr().err


def test_settings_that_leave_every_mel_band_empty(settings):
    with pytest.raises(UserError, match="16 of 16 mel bands are empty"):
        extract_main(flags(settings, fft_size=2, win_size=2))


def test_broken_tracks_can_be_skipped(settings, data_set, tmp_path, capsys):
    (data_set / "jazz/jazz.00001.wav").write_text("no sound", encoding="utf-8")
    assert extract_main(flags(settings, skip_broken=True)) == 0
    captured = capsys.readouterr()
    assert "jazz.00001.wav cannot be read" in captured.err
    assert "train: 1 of 12 tracks left out\nvalid: 0 of 6" in captured.out
    train_test.main(flags(settings, num_epochs=1, run_path=str(tmp_path / "run")))
    assert "Train: 11 tracks (1 skipped as broken), 22 chunks" in capsys.readouterr().out
    assert extract_main(flags(settings)) == 1  # without the flag it is an error again


def test_a_format_that_is_not_read_gets_the_line_that_converts_it(
    settings, data_set, capsys, monkeypatch
):
    (data_set / "jazz/my song.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    with open(data_set / "train_list.txt", "a", encoding="utf-8") as file:
        file.write("jazz/my song.m4a\n")
    assert extract_main(flags(settings)) == 1
    song = data_set / "jazz" / "my song"
    line = command_line("ffmpeg", "-i", f"{song}.m4a", f"{song}.wav")
    assert f"MP4): `{line}` converts it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [b"", b"{\n", b"[]\n", b"{}\n", b"[" * 10**5 + b"\n", b"\xff\n"]
    + [json_line({"settings": None, "place": "a"}), json_line({"settings": {}})],
)
def test_a_manifest_with_a_damaged_first_line_is_made_again(extracted, content, capsys):
    path = extracted.feature_folder() / "features.jsonl"
    whole = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"features.jsonl is damaged \(line 1\): run `python feat"):
        get_dataloader(extracted)
    assert extract_main(flags(extracted)) == 0
    assert "damaged (line 1): all tracks are extracted again" in capsys.readouterr().out
    assert path.read_bytes() == whole


TRACK = "jazz/jazz.00000.wav"


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 10**5 + b"\n"]
    + [json_line({"track": TRACK}), json_line({"track": 1, "broken": "a", "skipped": True})]
    + [json_line({"track": "a", "broken": "a", "skipped": 1}), json_line({"broken": "a"})]
    + [{"frames": 0}, {"frames": -5}, {"frames": 10**300}, {"frames": 1.0}, {"frames": True}]
    + [{"sum": 1e300}, {"sum": 0}, {"sum": None}, {"sum_of_squares": -1.0}, {"count": 0}],
)
def test_a_damaged_line_of_a_manifest_is_dropped(extracted, line, capsys):
    path = extracted.feature_folder() / "features.jsonl"
    whole = path.read_bytes()
    if isinstance(line, dict):  # a line that is whole, of values that no track has
        entry = read_manifest(path.parent).tracks[TRACK]
        line = json_line({"track": TRACK, **entry, **line})
    path.write_bytes(whole + line)
    with pytest.raises(UserError, match=r"features.jsonl is damaged \(line 26\): run `python feat"):
        get_dataloader(extracted)
    capsys.readouterr()
    assert extract_main(flags(extracted)) == 0
    assert "damaged (line 26): their tracks are extracted again" in capsys.readouterr().out
    assert path.read_bytes() == whole


@pytest.mark.parametrize("changed", [{"size": 10**3000}, {"mtime_ns": -1}, {"crc32": -(10**9)}])
def test_a_line_with_wrong_numbers_is_an_error_and_replaced(extracted, changed):
    path = extracted.feature_folder() / "features.jsonl"
    entry = read_manifest(path.parent).tracks[TRACK]
    with open(path, "ab") as file:
        file.write(json_line({"track": TRACK, **entry, **changed}))
    with pytest.raises(UserError, match=r"run `python feature_extraction.py"):
        get_dataloader(extracted)
    feature_file(extracted, TRACK).unlink()  # as the message for a wrong checksum says
    assert extract_main(flags(extracted)) == 0
    assert read_manifest(path.parent).tracks[TRACK] == entry
    get_dataloader(extracted)


def test_a_run_folder_in_use_is_left_as_it_is(extracted, tmp_path):
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps("mine"), encoding="utf-8")
    with pytest.raises(UserError, match="is not empty: pass another, delete it, or cont") as error:
        train_test.main(flags(extracted, run_path=str(folder)))
    assert f"`python train_test.py --resume {shlex.quote(str(folder))}`" in str(error.value)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == "mine"


def test_missing_tags_end_training_with_status_1(settings, capsys):
    words = flags(settings, task="tagging")
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: train_test.main(words))
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert "tags.csv is missing" in message
    assert "`python dataset/demo.py` writes it for the demo" in message


def test_baselines_and_comparisons_refuse_tags(tagging, tmp_path):
    with pytest.raises(UserError, match="--task tagging: classic.py classifies genres only"):
        classic.main(flags(tagging, *CLASSICAL))
    (tmp_path / "a.args").write_text("--task tagging", encoding="utf-8")
    with pytest.raises(UserError, match="a: --task tagging has no accuracies to compare"):
        compare.main(["--dataset_path", tagging.dataset_path, "--recipes", "a.args"])
