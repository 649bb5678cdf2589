"""What goes wrong for users: one message with the next step, and what is there stays whole."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
import soundfile
from conftest import flags

import model
import train_test
from data_manager import get_dataloader, load_dataset
from feature_extraction import main as extract_main
from hparams import HParams
from support.errors import UserError
from tracks.lists import choose_genres


def test_no_data_set(tmp_path):
    with pytest.raises(UserError, match=r'dataset/demo.py.*section "GTZAN" of README.md'):
        choose_genres(HParams(dataset_path=str(tmp_path / "nowhere")))


def test_a_missing_list(settings, data_set):
    (data_set / "valid_list.txt").unlink()
    with pytest.raises(UserError, match="valid_list.txt is missing: it names the tracks"):
        choose_genres(settings)


def test_an_empty_list(settings, data_set):
    (data_set / "test_list.txt").write_text("\ufeff\n \n", encoding="utf-8")
    with pytest.raises(UserError, match="test_list.txt is empty"):
        choose_genres(settings)


def test_a_list_that_is_not_utf_8(settings, data_set):
    (data_set / "test_list.txt").write_bytes("재즈/a.wav".encode("cp949"))
    with pytest.raises(UserError, match="is not UTF-8"):
        choose_genres(settings)


@pytest.mark.parametrize(
    "line",
    ["a.wav", "a/b/c.wav", "../a.wav", "a/..", "/a.wav", "C:/a.wav"]
    + ["./a.wav", "a,b/c.wav", "-a/b.wav"],
)
def test_a_line_of_another_form(settings, data_set, line):
    (data_set / "train_list.txt").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match="is not of the form genre/track.wav"):
        choose_genres(settings)


@pytest.mark.parametrize(
    ("list_name", "line"),
    [
        ("test_list.txt", "jazz/jazz.00000.wav"),
        ("valid_list.txt", "jazz/JAZZ.00000.WAV"),
        ("train_list.txt", "jazz/jazz.00000.mp3"),
    ],
)
def test_a_track_twice(settings, data_set, list_name, line):
    with open(data_set / list_name, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(
        UserError, match=r"(?i)jazz.00000.wav \(train_list.txt\) and jazz/jazz.00000"
    ):
        choose_genres(settings)


def test_genres_that_no_train_track_has(settings):
    unknown = dataclasses.replace(settings, genres=["blues", "jazz", "rock"])
    with pytest.raises(UserError, match="no track of blues, rock .* it has classical, jazz, metal"):
        choose_genres(unknown)


def test_a_genre_without_a_train_track(settings, data_set):
    with open(data_set / "test_list.txt", "a", encoding="utf-8") as file:
        file.write("rock/rock.00000.wav\n")
    with pytest.raises(UserError, match="no track of rock in"):
        choose_genres(dataclasses.replace(settings, genres=[]))


def test_a_split_without_a_track_of_the_genres(settings, data_set):
    (data_set / "valid_list.txt").write_text("jazz/jazz.00004.wav\n", encoding="utf-8")
    with pytest.raises(UserError, match="valid_list.txt has no track of metal"):
        choose_genres(dataclasses.replace(settings, genres=["metal"]))


def test_broken_tracks_are_all_named_and_the_others_extracted(settings, data_set, capfd):
    (data_set / "jazz/jazz.00000.wav").unlink()
    (data_set / "jazz/jazz.00001.wav").write_text("no sound", encoding="utf-8")
    (data_set / "metal/metal.00000.wav").write_bytes(b"")
    assert extract_main(flags(settings, num_workers=2)) == 1
    captured = capfd.readouterr()
    assert "jazz.00000.wav is missing: put it there or take its line out" in captured.err
    assert "jazz.00001.wav cannot be read (" in captured.err
    assert "metal.00000.wav cannot be read (" in captured.err
    assert "the same command extracts what is left" in captured.err
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
        "nan.wav holds samples that are no numbers",
        "empty.wav holds no sample",
        "bare.raw cannot be read (",
        "longlong.wav cannot be read (File name too long)",
        "jazz.00000x.wav is missing",
    ):
        assert reason in captured.err
    assert "24 tracks extracted" in captured.out


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


def test_a_split_of_broken_tracks_alone(settings, data_set):
    for path in data_set.glob("*/*.0000[67].wav"):
        path.write_bytes(b"")
    assert extract_main(flags(settings, skip_broken=True)) == 0
    with pytest.raises(UserError, match="every track of the test split was skipped"):
        get_dataloader(settings)


def test_a_format_that_is_not_read_gets_the_line_that_converts_it(settings, data_set, capsys):
    (data_set / "jazz/my song.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    with open(data_set / "train_list.txt", "a", encoding="utf-8") as file:
        file.write("jazz/my song.m4a\n")
    assert extract_main(flags(settings)) == 1
    song = data_set / "jazz" / "my song"
    assert f'`ffmpeg -i "{song}.m4a" "{song}.wav"`' in capsys.readouterr().err


def test_no_features_yet(settings):
    named = dataclasses.replace(settings, feature_path="")
    with pytest.raises(UserError) as error:
        get_dataloader(named)
    message = str(error.value)
    assert message.startswith("no features at dataset")
    assert "--genres" not in message  # they are all there are
    assert "run `python feature_extraction.py --dataset_path " in message
    assert "--num_mels 16" in message
    assert "--batch_size" not in message


def test_features_of_other_settings(extracted):
    other = dataclasses.replace(extracted, num_mels=20, hop_size=80)
    with pytest.raises(UserError, match=r"hop_size 64 \(now 80\), num_mels 16 \(now 20\)") as error:
        get_dataloader(other)
    assert "--num_mels 20" in str(error.value)


def test_audio_newer_than_its_features(extracted, data_set):
    with open(data_set / "metal/metal.00003.wav", "ab") as file:
        file.write(b"\0\0")
    with pytest.raises(UserError, match="metal.00003.wav has changed since its features"):
        get_dataloader(extracted)


def test_features_of_another_file_of_that_name(extracted, data_set):
    text = (data_set / "train_list.txt").read_text(encoding="utf-8")
    text = text.replace("jazz.00000.wav", "jazz.00000.flac")
    (data_set / "train_list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="no features of jazz/jazz.00000.flac"):
        get_dataloader(extracted)


def test_features_can_be_used_without_the_audio(extracted, data_set):
    for path in data_set.rglob("*.wav"):
        path.unlink()
    assert len(get_dataloader(extracted)[0].dataset) == 24


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"settings": null, "skipped": [], "tracks": {}}']
    + ['{"settings": {}, "skipped": [], "tracks": []}']
    + ['{"settings": {}, "skipped": [], "tracks": {"a": {"source": "b"}}}'],
)
def test_a_damaged_manifest(extracted, content):
    (extracted.feature_folder() / "features.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="features.json is damaged: delete it"):
        get_dataloader(extracted)
    with pytest.raises(UserError, match="features.json is damaged: delete it"):
        extract_main(flags(extracted))


def test_a_damaged_feature_file(extracted):
    path = extracted.feature_folder() / "train/jazz/jazz.00000.npy"
    whole = path.read_bytes()
    for content in (whole[:1000], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"jazz.00000.npy is damaged .*delete it"):
            get_dataloader(extracted)
    np.save(path, np.zeros((2, 128, 3), np.float32))
    with pytest.raises(
        UserError, match=r"float32 \(2, 128, 3\) is not float32 \(2 or more, 128, 16\)"
    ):
        get_dataloader(extracted)
    other = extracted.feature_folder() / "test/metal/metal.00006.npy"
    path.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match="does not hold the features that were extracted"):
        get_dataloader(extracted)


def test_an_unknown_model(extracted):
    with pytest.raises(UserError, match="model.py has no Basline, only Baseline"):
        train_test.main(flags(extracted, model="Basline"))


def test_a_chunk_too_short_for_the_model(settings):
    short = dataclasses.replace(settings, chunk_length=64)
    extract_main(flags(short))
    with pytest.raises(UserError, match="Baseline takes chunks of 115 frames or more, not 64"):
        train_test.main(flags(short))


def test_features_that_the_model_does_not_take(extracted):
    with pytest.raises(UserError, match="takes no log_mel: pass --feature waveform"):
        train_test.main(flags(extracted, model="SampleCNN"))
    with pytest.raises(UserError, match="FCN4 takes 24 bins or more, not 16: raise --num_mels"):
        train_test.main(flags(extracted, model="FCN4"))


def test_a_model_that_gives_no_logits(extracted, monkeypatch):
    class Mine(model.Baseline):
        def forward(self, x):
            return self.embed(x)

    monkeypatch.setattr(Mine, "__module__", "model")
    monkeypatch.setattr(model, "Mine", Mine, raising=False)
    with pytest.raises(UserError, match=r"2 chunks gives .*64.*, it must give logits \(2, 3\)"):
        train_test.main(flags(extracted, model="Mine"))


def test_a_run_folder_in_use_is_left_as_it_is(extracted, tmp_path):
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps("mine"), encoding="utf-8")
    with pytest.raises(UserError, match="is not empty: pass another, delete it, or go") as error:
        train_test.main(flags(extracted, run_path=str(folder)))
    assert f"`python train_test.py --resume {shlex.quote(str(folder))}`" in str(error.value)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == "mine"
