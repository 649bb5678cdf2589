"""Features belong to the files that they were made of: other files never pass for them."""

import dataclasses
import os
import shlex
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, flags, listed, sine, write_data_set

import train_test
from data_manager import load_dataset
from feature_extraction import main as extract_main
from feature_extraction import melspectrogram
from support.errors import UserError
from tracks.feature_files import feature_file
from tracks.manifest import read_manifest

TRACK = "jazz/jazz.00000.wav"


def train(hparams):
    """Train for an epoch through the script."""
    train_test.main(flags(hparams, num_epochs=1))


def refused(hparams):
    """The message with which training refuses a data set, and the command in it as words."""
    with pytest.raises(UserError) as error:
        train(hparams)
    words = shlex.split(str(error.value).split("`")[1])
    assert words[:2] == ["python", "feature_extraction.py"]
    return str(error.value), words[2:]


def assert_features_are_of_the_audio(hparams):
    """Every stored feature is that of the file which is on disk now."""
    for name in listed(hparams):
        stored = np.load(feature_file(hparams, name)).reshape(-1, hparams.num_bins)
        np.testing.assert_array_equal(stored, melspectrogram(name, hparams)[:256], err_msg=name)


@pytest.fixture
def twins(settings, tmp_path):
    """Settings of two data sets of one base name and equal track names, with default features."""
    made = []
    for number, parent in enumerate(("one", "two")):
        folder = tmp_path / parent / "audio"
        write_data_set(folder, seconds=2.1 + number / 10)
        made.append(dataclasses.replace(settings, dataset_path=str(folder), feature_path=""))
    return made


def test_data_sets_of_one_base_name_share_no_features(twins, capsys):
    for hparams in twins:
        assert extract_main(flags(hparams)) == 0
        assert "24 tracks extracted" in capsys.readouterr().out
    assert twins[0].feature_folder() != twins[1].feature_folder()
    for hparams in twins:
        assert extract_main(flags(hparams)) == 0
        assert "nothing to extract" in capsys.readouterr().out
        assert_features_are_of_the_audio(hparams)
        train(hparams)


def test_a_data_set_has_the_same_features_by_any_of_its_paths(twins, monkeypatch, capsys):
    extract_main(flags(twins[0]))
    capsys.readouterr()
    Path("linked").symlink_to(twins[0].dataset_path, target_is_directory=True)
    for path in ("one/audio", "./one/../one/audio/", "linked"):
        assert extract_main(flags(twins[0], dataset_path=path)) == 0
        assert "nothing to extract" in capsys.readouterr().out


@pytest.mark.parametrize("skip", [False, True])
def test_a_data_set_without_audio_trains_on_no_other_features(twins, skip, capsys):
    one, two = (dataclasses.replace(h, skip_broken=skip) for h in twins)
    extract_main(flags(one))
    for path in Path(two.dataset_path).rglob("*.wav"):
        path.unlink()
    _, command = refused(two)
    capsys.readouterr()
    assert extract_main(command) == (0 if skip else 1)
    errors = capsys.readouterr().err
    for name in listed(two):
        assert f"{two.dataset_path}/{name} is missing: put it there or remove" in errors
    if skip:
        with pytest.raises(UserError, match="every track of the train split was skipped"):
            train(two)
    else:
        assert "classical.00000.wav is missing" in refused(two)[0]  # training gives the reason too
    train(one)


def test_one_feature_path_for_two_data_sets_is_refused(twins, capsys):
    one, two = (dataclasses.replace(h, feature_path="shared") for h in twins)
    extract_main(flags(one))
    before = Path("shared/features.jsonl").read_bytes()
    owner = f"the features at shared are of the data set {one.dataset_path}: leave out --feature_p"
    with pytest.raises(UserError, match=owner):
        extract_main(flags(two))
    message, command = refused(two)
    assert message.startswith(owner)
    assert Path("shared/features.jsonl").read_bytes() == before
    assert extract_main(command) == 0
    train(dataclasses.replace(two, feature_path=""))
    train(one)


def test_a_data_set_that_was_moved_keeps_the_features_of_equal_files(twins, capsys):
    one = dataclasses.replace(twins[0], feature_path="mine")
    extract_main(flags(one))
    Path("one").rename("moved")
    moved = dataclasses.replace(one, dataset_path="moved/audio")
    y = sine(700, 2.1)
    soundfile.write(f"moved/audio/{TRACK}", y, RATE)
    message, command = refused(moved)
    assert f"are of {one.dataset_path}, which is gone" in message
    capsys.readouterr()
    assert extract_main(command) == 0
    assert "1 tracks extracted" in capsys.readouterr().out
    assert_features_are_of_the_audio(moved)
    train(moved)


def convert(hparams, name, listed=True):
    """Convert a track from WAV to FLAC, and change its name in the lists too if `listed`."""
    path = Path(hparams.dataset_path, name)
    y, rate = soundfile.read(path)
    soundfile.write(path.with_suffix(".flac"), y[::-1], rate)
    path.unlink()
    for text in Path(hparams.dataset_path).glob("*_list.txt") if listed else ():
        text.write_text(text.read_text().replace(name, name.replace(".wav", ".flac")))


def test_a_converted_track_is_extracted_again(extracted, capsys):
    convert(extracted, TRACK)
    message, command = refused(extracted)
    assert "no features of jazz/jazz.00000.flac" in message
    capsys.readouterr()
    assert extract_main(command) == 0
    assert "1 tracks extracted" in capsys.readouterr().out
    assert_features_are_of_the_audio(extracted)
    train(extracted)


def test_a_track_converted_without_its_list_is_named_with_the_new_file(extracted, capsys):
    convert(extracted, TRACK, listed=False)
    assert extract_main(flags(extracted)) == 1
    errors = capsys.readouterr().err
    assert "jazz.00000.wav is missing: put it there or remove" in errors
    assert "or list jazz.00000.flac, which is there; its features are kept" in errors


def test_a_renamed_track_is_extracted_again(extracted, data_set, capsys):
    (data_set / TRACK).rename(data_set / "jazz/new.wav")
    path = data_set / "train_list.txt"
    path.write_text(path.read_text().replace(TRACK, "jazz/new.wav"))
    _, command = refused(extracted)
    capsys.readouterr()
    assert extract_main(command) == 0
    assert "1 tracks extracted" in capsys.readouterr().out
    assert_features_are_of_the_audio(extracted)


def replace_alike(path, y):
    """Replace a file by other audio of equal size and times."""
    state = path.stat()
    soundfile.write(path, y, RATE)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)


def test_audio_replaced_with_equal_size_and_time_is_extracted_again(extracted, data_set, capsys):
    replace_alike(data_set / TRACK, sine(2000, 2.1))
    message, command = refused(extracted)
    assert f"{TRACK} has changed since it was extracted" in message
    capsys.readouterr()
    assert extract_main(command) == 0
    assert "1 tracks extracted" in capsys.readouterr().out
    assert_features_are_of_the_audio(extracted)
    train(extracted)


def test_two_tracks_that_change_places_are_extracted_again(extracted, data_set, capsys):
    other, between = data_set / "jazz/jazz.00001.wav", data_set / "between"
    os.utime(other, ns=((data_set / TRACK).stat().st_mtime_ns,) * 2)
    assert extract_main(flags(extracted)) == 0
    for source, target in (((data_set / TRACK), between), (other, data_set / TRACK)):
        source.rename(target)
    between.rename(other)
    assert extract_main(flags(extracted)) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 tracks extracted")
    assert_features_are_of_the_audio(extracted)


def test_audio_that_is_gone_is_named_and_its_features_are_used(extracted, data_set, capsys):
    x, _ = load_dataset("train", extracted)
    (data_set / TRACK).unlink()
    before = read_manifest(extracted.feature_folder())
    assert extract_main(flags(extracted)) == 1
    assert f"{TRACK} is missing: put it there" in capsys.readouterr().err
    assert extract_main(flags(extracted, skip_broken=True)) == 0
    assert "its features are kept" in capsys.readouterr().err
    assert read_manifest(extracted.feature_folder()) == before
    np.testing.assert_array_equal(load_dataset("train", extracted)[0], x)


def test_audio_that_cannot_be_read_is_named_and_the_rest_is_extracted(
    extracted, data_set, monkeypatch, capsys
):
    def refuse(path, _):
        if str(path).endswith(TRACK):
            raise PermissionError(13, "Permission denied", str(path))
        return not str(path).endswith("jazz.00001.wav")

    monkeypatch.setattr("tracks.manifest.is_unchanged", refuse)
    assert extract_main(flags(extracted)) == 1
    captured = capsys.readouterr()
    assert "1 tracks extracted" in captured.out
    assert "jazz.00000.wav cannot be read (Permission denied): check its perm" in captured.err
    assert "its features are kept" in captured.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
@pytest.mark.parametrize("name", ["jazz", TRACK])
def test_a_locked_folder_or_file_is_named_and_the_rest_is_extracted(
    settings, data_set, name, capsys
):
    (data_set / name).chmod(0)
    try:
        assert extract_main(flags(settings)) == 1
    finally:
        (data_set / name).chmod(0o700)
    captured = capsys.readouterr()
    assert f"{TRACK} cannot be read (Permission denied)" in captured.err
    assert f"{16 if name == 'jazz' else 23} tracks extracted" in captured.out


def test_features_of_an_older_manifest_are_extracted_again_with_one_line(extracted, capsys):
    path = extracted.feature_folder() / "features.jsonl"
    whole = path.read_bytes()
    first, *rest = whole.decode().splitlines()
    first = first.partition(', "line_crc32')[0].replace(
        f'"place": "{extracted.dataset_path}", ', ""
    )
    path.write_text("\n".join([first + "}", *rest, ""]))
    message, command = refused(extracted)
    assert "the features at features are of an older version" in message
    capsys.readouterr()
    assert extract_main(command) == 0
    out = capsys.readouterr().out
    assert "features has features of an older version: all tracks are extracted again" in out
    assert out.count("older version") == 1
    assert path.read_bytes() == whole


FORMS = ("NFC", "NFD")


def accented(folder, forms):
    """Rename one genre of a data set to `café`, and its tracks to `né...`, in these forms."""
    root, form, file_form = folder, *forms
    genre = root / unicodedata.normalize(form, "café")
    (root / "jazz").rename(genre)
    for number, path in enumerate(sorted(genre.iterdir())):
        name = unicodedata.normalize(FORMS[number % 2] if file_form == "mixed" else file_form, "né")
        path.rename(path.with_name(f"{name}.{number}.wav"))
    return root


@pytest.mark.parametrize("forms", [(a, b) for a in FORMS for b in (*FORMS, "mixed")])
@pytest.mark.parametrize("form", FORMS)
def test_names_compare_in_one_unicode_form(settings, data_set, forms, form, capsys):
    accented(data_set, forms)
    for path in data_set.glob("*_list.txt"):
        text = path.read_text(encoding="utf-8").replace("jazz/jazz.0000", "café/né.")
        path.write_text(unicodedata.normalize(form, text), encoding="utf-8")
    genres = [unicodedata.normalize(form, "café"), "metal"]
    hparams = dataclasses.replace(settings, genres=genres)
    assert extract_main(flags(hparams)) == 0
    assert "16 tracks extracted" in capsys.readouterr().out
    assert sorted(read_manifest(hparams.feature_folder()).tracks)[0] == "café/né.0.wav"
    x, y = load_dataset("train", hparams)
    assert len(x) == 16
    assert set(y) == {0, 1}
    train(hparams)


def test_both_forms_of_a_genre_on_disk_are_one_genre(settings, data_set):
    nfc, nfd = (data_set / unicodedata.normalize(form, "café") for form in FORMS)
    (data_set / "jazz").rename(nfc)
    try:
        nfd.mkdir()
    except FileExistsError:
        pytest.skip("this file system keeps one form")
    for number, path in enumerate(sorted(nfc.iterdir())):
        if number % 2:
            shutil.move(path, nfd / path.name)
    for path in data_set.glob("*_list.txt"):
        path.write_text(path.read_text().replace("jazz/", "café/"), encoding="utf-8")
    hparams = dataclasses.replace(settings, genres=[])
    assert extract_main(flags(hparams)) == 0
    assert len(read_manifest(hparams.feature_folder()).tracks) == 24
    assert np.bincount(load_dataset("train", hparams)[1]).tolist() == [8, 8, 8]
