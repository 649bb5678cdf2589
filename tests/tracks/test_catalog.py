"""The data set as one object: its genres, splits, labels, features and errors."""

import dataclasses
import shlex

import numpy as np
import pytest
from conftest import GENRES, TAGS, flags, listed, save_run

import retrieve
from data_manager import get_dataloader, load_dataset
from feature_extraction import main as extract_main
from hparams import HParams
from support.errors import UserError
from tracks.catalog import fit_normalizer, get_label, read_catalog
from tracks.lists import load_lists


def test_genres_default_to_the_folders_sorted(settings):
    unset = dataclasses.replace(settings, genres=[])
    assert read_catalog(unset).hparams.genres == ["classical", "jazz", "metal"]


def test_given_genres_keep_their_order_and_leave_out_the_rest(settings, capsys):
    chosen = read_catalog(dataclasses.replace(settings, genres=["metal", "jazz"]))
    assert chosen.hparams.genres == ["metal", "jazz"]
    assert "leaves out 8 tracks" in capsys.readouterr().out
    assert len(chosen.lists["train"]) == 8


def test_genres_that_no_train_track_has(settings):
    unknown = dataclasses.replace(settings, genres=["blues", "jazz", "rock"])
    with pytest.raises(UserError, match="no track of blues, rock .* it has classical, jazz, metal"):
        read_catalog(unknown)


def test_a_genre_without_a_train_track(settings, data_set):
    with open(data_set / "test_list.txt", "a", encoding="utf-8") as file:
        file.write("rock/rock.00000.wav\n")
    with pytest.raises(UserError, match="no track of rock in"):
        read_catalog(dataclasses.replace(settings, genres=[]))


def test_a_split_without_a_track_of_the_genres(settings, data_set):
    (data_set / "valid_list.txt").write_text("jazz/jazz.00004.wav\n", encoding="utf-8")
    with pytest.raises(UserError, match="valid_list.txt has no track of metal"):
        read_catalog(dataclasses.replace(settings, genres=["metal"]))


def test_a_split_with_only_broken_tracks(settings, data_set):
    for path in data_set.glob("*/*.0000[67].wav"):
        path.write_bytes(b"")
    assert extract_main(flags(settings, skip_broken=True)) == 0
    with pytest.raises(UserError, match="every track of the test split was skipped"):
        get_dataloader(settings)


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
    with pytest.raises(UserError, match="metal.00003.wav has changed since it was extracted"):
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


def test_a_damaged_feature_file(extracted):
    path = extracted.feature_folder() / "jazz/jazz.00000.wav.npy"
    whole = path.read_bytes()
    for content in (whole[:1000], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"jazz.00000.wav.npy is damaged .*delete it"):
            get_dataloader(extracted)
    np.save(path, np.zeros((2, 128, 3), np.float32))
    with pytest.raises(UserError, match="it has 3200 bytes instead of 16512"):
        get_dataloader(extracted)
    for other in (np.zeros((2, 16, 128), np.float32), np.zeros((2, 128, 16), np.int32)):
        np.save(path, other)  # equally large
        with pytest.raises(UserError, match=r"header is not that of float32 \(2, 128, 16\)"):
            get_dataloader(extracted)
    other = extracted.feature_folder() / "metal/metal.00006.wav.npy"
    path.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match="does not hold the features that were extracted"):
        get_dataloader(extracted)


def test_tagging_allows_a_folder_in_one_split_only(tagging, data_set):
    for split, genre in zip(("train", "valid", "test"), GENRES):
        text = "".join(f"{name}\n" for name in listed(tagging) if name.startswith(genre))
        (data_set / f"new_{split}.txt").write_text(text, encoding="utf-8")
    for split in ("train", "valid", "test"):
        (data_set / f"new_{split}.txt").replace(data_set / f"{split}_list.txt")
    assert read_catalog(dataclasses.replace(tagging, genres=[])).hparams.tags == TAGS


def test_neither_task_nor_tags_change_the_features(tagging):
    assert (
        read_catalog(tagging).hparams.fingerprint()
        == HParams(**tagging.feature_settings()).fingerprint()
    )


def test_the_extraction_command_is_for_tagging(tagging, data_set, capsys):
    lists = load_lists(tagging)
    for split, text in (
        ("train", "\n".join(name for name in lists["train"] if "metal" not in name)),
        ("valid", "\n".join(lists["valid"] + [n for n in lists["train"] if "metal" in n])),
    ):
        (data_set / f"{split}_list.txt").write_text(text, encoding="utf-8")
    hparams = read_catalog(dataclasses.replace(tagging, genres=[])).hparams
    with pytest.raises(UserError) as caught:
        get_dataloader(hparams)
    asked = str(caught.value).split("`")[1]
    words = shlex.split(asked)
    assert words[:2] == ["python", "feature_extraction.py"]
    assert extract_main(words[2:]) == 0
    assert "--tags" not in words
    save_run(hparams, "runs/one")
    (data_set.parent / "features").rename("gone")
    assert retrieve.main(["--evaluate"]) == 1
    assert asked in capsys.readouterr().err


def test_the_folder_is_the_label():
    hparams = HParams(genres=["jazz", "pop"])
    assert get_label("pop/jazz.00001.wav", hparams) == 1
    with pytest.raises(UserError, match="rock is not one of the genres"):
        get_label("rock/rock.00001.wav", hparams)


def test_normalization_counts_no_padding(settings):
    padded = dataclasses.replace(settings, feature_length=1024)
    whole = dataclasses.replace(settings, feature_length=0, feature_path="whole")
    for hparams in (padded, whole):
        extract_main(flags(hparams))
    assert fit_normalizer(read_catalog(padded).splits["train"]) == pytest.approx(
        fit_normalizer(read_catalog(whole).splits["train"])
    )


def test_normalization_of_some_genres_is_theirs(extracted):
    one = dataclasses.replace(extracted, genres=["jazz"])
    x, _ = load_dataset("train", one)
    assert fit_normalizer(read_catalog(one).splits["train"])[0] == pytest.approx(
        x.mean(dtype=np.float64)
    )
