"""The lists of a data set: what is read and what is an error."""

import pytest

from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.lists import load_list


def test_no_data_set(tmp_path):
    with pytest.raises(UserError, match=r"dataset/demo.py.*docs/data-sets.md for GTZAN"):
        read_catalog(HParams(dataset_path=str(tmp_path / "nowhere")))


def test_a_missing_list(settings, data_set):
    (data_set / "valid_list.txt").unlink()
    with pytest.raises(UserError, match="valid_list.txt is missing: it lists the tracks"):
        read_catalog(settings)


def test_an_empty_list(settings, data_set):
    (data_set / "test_list.txt").write_text("\ufeff\n \n", encoding="utf-8")
    with pytest.raises(UserError, match="test_list.txt is empty"):
        read_catalog(settings)


def test_a_list_that_is_not_utf_8(settings, data_set):
    (data_set / "test_list.txt").write_bytes("재즈/a.wav".encode("cp949"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read_catalog(settings)


@pytest.mark.parametrize(
    "line",
    ["a.wav", "a/b/c.wav", "../a.wav", "a/..", "/a.wav", "C:/a.wav"]
    + ["./a.wav", "a,b/c.wav", "-a/b.wav"],
)
def test_a_line_of_another_form(settings, data_set, line):
    (data_set / "train_list.txt").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match="must have the form genre/track.wav"):
        read_catalog(settings)


@pytest.mark.parametrize(
    ("list_name", "line"),
    [
        ("test_list.txt", "jazz/jazz.00000.wav"),
        ("valid_list.txt", "jazz/JAZZ.00000.WAV"),
        ("train_list.txt", "jazz/jazz.00000.wav"),
    ],
)
def test_a_track_twice(settings, data_set, list_name, line):
    with open(data_set / list_name, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(
        UserError, match=r"(?i)jazz.00000.wav \(train_list.txt\) and jazz/jazz.00000"
    ):
        read_catalog(settings)


def test_a_track_in_two_formats_is_two_tracks(settings, data_set):
    with open(data_set / "train_list.txt", "a", encoding="utf-8") as file:
        file.write("jazz/jazz.00000.mp3\n")
    assert len(read_catalog(settings).lists["train"]) == 13


def test_load_list_takes_lists_as_people_write_them(data_set, settings):
    text = "\ufeffjazz/jazz.00000.wav\r\n\r\n  jazz\\jazz.00001.wav \r\n"
    (data_set / "train_list.txt").write_bytes(text.encode("utf-8"))
    expected = ["jazz/jazz.00000.wav", "jazz/jazz.00001.wav"]
    assert load_list("train_list.txt", settings) == expected
