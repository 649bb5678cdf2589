import numpy as np
import pytest
import soundfile
from conftest import flags, sine

from dataset.check_leaks import main
from dataset.demo_songs import compose
from feature_extraction import main as extract_main
from support.errors import UserError
from train_test import main as train_main

RATE = 22050


@pytest.fixture(scope="module")
def music():
    """Eight pieces of 10 s, one an artist."""
    genres = ["jazz", "pop", "metal", "disco", "country", "hiphop", "classical", "reggae"]
    return [compose(genre, 0, 0, 10, 0) for genre in genres]


@pytest.fixture
def collection(tmp_path, music):
    """A data set of one class with a piece a track: 4 train, 2 valid, 2 test."""
    (tmp_path / "data/a").mkdir(parents=True)
    for i, y in enumerate(music):
        soundfile.write(tmp_path / f"data/a/{i}.wav", y, RATE)
    write_lists(tmp_path / "data", [[0, 1, 2, 3], [4, 5], [6, 7]])
    return tmp_path / "data"


def write_lists(folder, numbers, extra=""):
    for split, listed in zip(("train", "valid", "test"), numbers):
        text = "".join(f"a/{i}.wav\n" for i in listed) + (extra if split == "test" else "")
        (folder / f"{split}_list.txt").write_text(text, encoding="utf-8")


def check(folder, capsys):
    status = main([str(folder), "--num_workers", "1"])
    return status, capsys.readouterr().out


def test_different_music_is_no_leak(collection, capsys):
    status, out = check(collection, capsys)
    assert status == 0
    assert out == "8 tracks, 0 duplicates and 0 near-duplicates in splits\n"


def test_an_exact_duplicate_is_one_whatever_its_format(collection, music, capsys):
    y, _ = soundfile.read(collection / "a/2.wav", dtype="int16")
    soundfile.write(collection / "a/again.flac", y, RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "a/again.flac\n")
    status, out = check(collection, capsys)
    assert status == 1
    assert "duplicate: train/a/2.wav and test/a/again.flac are the same recording" in out
    assert "1 duplicates and 0 near-duplicates" in out


@pytest.mark.parametrize("kind", ["ogg", "mp3"])
def test_another_encoding_gain_and_start_are_warned_of(collection, music, kind, capsys):
    shifted = 10 ** (-3 / 20) * music[1][int(0.05 * RATE) :]
    soundfile.write(collection / f"a/again.{kind}", shifted, RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], f"a/again.{kind}\n")
    status, out = check(collection, capsys)
    assert status == 0
    warned = [line for line in out.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert f"train/a/1.wav and test/a/again.{kind} sound the same" in warned[0]


def test_a_later_excerpt_is_aligned(collection, music, capsys):
    soundfile.write(collection / "a/part.wav", music[0][3 * RATE : 8 * RATE], RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "a/part.wav\n")
    _, out = check(collection, capsys)
    assert "train/a/0.wav and test/a/part.wav sound the same" in out
    assert "shifted by -3.0" in out


def test_duplicates_within_a_split_are_no_leak(collection, music, capsys):
    soundfile.write(collection / "a/again.wav", music[6], RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "a/again.wav\n")
    assert "0 duplicates and 0 near-duplicates" in check(collection, capsys)[1]


def test_silence_and_noise_are_no_leak(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        soundfile.write(tmp_path / f"a/{i}.wav", 0.1 * rng.standard_normal(5 * RATE), RATE)
    for i in range(4, 8):
        soundfile.write(tmp_path / f"a/{i}.wav", np.zeros(5 * RATE), RATE)
    write_lists(tmp_path, [[0, 1, 4, 5], [2, 6], [3, 7]])
    assert check(tmp_path, capsys) == (
        0,
        "8 tracks, 0 duplicates and 0 near-duplicates in splits\n",
    )


def test_a_broken_track_is_named_and_the_others_compared(collection, capsys):
    (collection / "a/0.wav").write_bytes(b"")
    assert main([str(collection), "--num_workers", "1"]) == 1
    captured = capsys.readouterr()
    reason = "no audio: empty, under the name .wav"
    assert f"0.wav cannot be read ({reason}): copy it again" in captured.err
    assert captured.out.startswith("7 tracks")


def test_training_stops_at_an_exact_duplicate(settings, data_set):
    copied = (data_set / "jazz/jazz.00000.wav").read_bytes()
    (data_set / "jazz/jazz.00006.wav").write_bytes(copied)
    extract_main(flags(settings))
    names = r"jazz.00000.wav \(train_list.txt\) and jazz/jazz.00006.wav \(test_list.txt\)"
    with pytest.raises(UserError, match=f"{names} are the same recording"):
        train_main(flags(settings))


def test_training_takes_silence_in_two_splits(settings, data_set, tmp_path):
    for number in (0, 6):
        soundfile.write(data_set / f"jazz/jazz.0000{number}.wav", 0 * sine(100, 2.1), 8000)
    extract_main(flags(settings))
    train_main(flags(settings, num_epochs=1, run_path=str(tmp_path / "run")))


def test_one_recording_under_two_labels_in_one_split_is_named(collection, music, capsys):
    (collection / "b").mkdir()
    soundfile.write(collection / "b/same.wav", music[6], RATE)
    soundfile.write(collection / "b/again.mp3", music[7], RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "b/same.wav\nb/again.mp3\n")
    status, out = check(collection, capsys)
    same, near, total = out.splitlines()
    assert status == 0
    assert same == (
        "warning: test/a/6.wav and test/b/same.wav are the same recording under two labels"
    )
    assert near.startswith(
        "warning: test/a/7.wav and test/b/again.mp3 sound the same under two labels: "
    )
    assert total == "10 tracks, 0 duplicates and 0 near-duplicates in splits"


def test_each_copy_of_a_recording_is_named(collection, music, capsys):
    (collection / "b").mkdir()
    for name in ("a/x.wav", "b/y.wav", "a/z.wav"):
        soundfile.write(collection / name, music[0], RATE)
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "a/x.wav\nb/y.wav\na/z.wav\n")
    status, out = check(collection, capsys)
    assert status == 1
    for name in ("a/x.wav", "b/y.wav", "a/z.wav"):
        assert f"duplicate: train/a/0.wav and test/{name} are the same recording\n" in out
    assert "warning: test/a/x.wav and test/b/y.wav are the same recording under two labels" in out
    assert "11 tracks, 3 duplicates" in out


def test_a_copy_of_high_tones_is_one_though_nothing_of_it_is_in_the_fingerprint(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    for i in range(4):
        soundfile.write(tmp_path / f"a/{i}.wav", sine(6000 + 500 * min(i, 2), 3, RATE), RATE)
    write_lists(tmp_path, [[0, 1], [2], [3]])
    status, out = check(tmp_path, capsys)
    assert status == 1
    assert "duplicate: valid/a/2.wav and test/a/3.wav are the same recording" in out
    assert "4 tracks, 1 duplicates and 0 near-duplicates" in out


def test_values_too_large_for_a_spectrum_are_named(collection, music, capsys):
    y = np.stack([music[0], music[0]], axis=1).astype(np.float32)
    soundfile.write(collection / "a/0.wav", y / abs(y).max() * np.float32(3e38), RATE, "FLOAT")
    assert main([str(collection), "--num_workers", "1"]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1  # without warnings
    assert captured.err.count("0.wav holds values too large for a spectrum: copy it again") == 1
    assert captured.out == "7 tracks, 0 duplicates and 0 near-duplicates in splits\n"


@pytest.mark.parametrize("gain", [1e-3, 1e20, 1e37])
def test_a_copy_of_any_level_is_found(collection, music, gain, capsys):
    soundfile.write(collection / "a/loud.wav", np.float32(gain) * music[0], RATE, "FLOAT")
    write_lists(collection, [[0, 1, 2, 3], [4, 5], [6, 7]], "a/loud.wav\n")
    status, out = check(collection, capsys)
    assert status == 0
    assert "train/a/0.wav and test/a/loud.wav sound the same: 0% of" in out
