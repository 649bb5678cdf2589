"""The lists of a data set: what is read, what is an error, and which file a name means."""

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.lists import LINE, SPLITS, load_list, source_path


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


WORD = st.text(
    st.sampled_from("aé\u0301öäüçñ\u0327ếÅ가각\u1100\u1161\u11a8 ß"), min_size=1, max_size=5
)
FORM = st.sampled_from(["NFC", "NFD", "as it is"])


def in_form(form, text):
    """Text in a Unicode form."""
    return text if form == "as it is" else unicodedata.normalize(form, text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(WORD, min_size=6, max_size=6), st.lists(FORM, min_size=16, max_size=16), st.data())
def test_names_mean_the_same_files_in_any_unicode_form(tmp_path_factory, words, forms, data):
    folder, forms = tmp_path_factory.mktemp("data"), iter(forms)
    genres = [f"g{word}".rstrip() for word in words[:2]]
    names = [f"{genre}/t{word}.wav" for genre in genres for word in words[2:5]]
    assume(len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 6)
    assert all(map(LINE.fullmatch, names))
    for name in names:
        path = folder / in_form(next(forms), name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(unicodedata.normalize("NFC", name), encoding="utf-8")
    lines = [in_form(next(forms), name) for name in names]
    for number, split in enumerate(SPLITS):
        text = "".join(f"{line}\n" for line in lines[number::3])
        (folder / f"{split}_list.txt").write_text(text, encoding="utf-8")
    tag = in_form(next(forms), words[5])
    (folder / "tags.csv").write_text(f"{in_form(next(forms), names[0])},t{tag}", encoding="utf-8")
    hparams = HParams(
        dataset_path=str(folder),
        genres=[in_form(next(forms), genre) for genre in genres],
        task="tagging",
        tags=[f"t{in_form(data.draw(FORM), words[5])}".strip()],
    )
    catalog = read_catalog(hparams)
    assert sorted(name for listed in catalog.lists.values() for name in listed) == sorted(
        unicodedata.normalize("NFC", name) for name in names
    )
    for name in (name for listed in catalog.lists.values() for name in listed):
        assert source_path(hparams, name).read_text(encoding="utf-8") == name
    assert len(catalog.tags[unicodedata.normalize("NFC", names[0])]) == 1


def test_a_name_in_no_unicode_form_on_disk_is_the_name_that_was_listed(tmp_path):
    hparams = HParams(dataset_path=str(tmp_path))
    assert source_path(hparams, "né/é.wav") == tmp_path / "né/é.wav"
