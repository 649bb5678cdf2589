import dataclasses
import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, flags, peak_hz, sine

import data_augment
from audio.effects import EFFECTS
from data_augment import main
from data_manager import get_dataloader
from feature_extraction import main as extract_main
from hparams import in_group
from support.flags import flag_words
from tracks.catalog import read_catalog
from tracks.tags import format_tags

SPLITS = ("train", "valid", "test")


def contents(folder):
    """Bytes and modification times of all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def bytes_of(folder):
    return {name: content for name, (content, _) in contents(folder).items()}


def listed(folder, split):
    return (folder / f"{split}_list.txt").read_text(encoding="utf-8").splitlines()


def words(settings, effects=("pitch_shift", "noise"), **changed):
    """Settings of the data set and of the copies as a command line."""
    groups = [f.name for f in in_group("data", "task")]
    values = {name: getattr(settings, name) for name in groups}
    values |= {"genres": [], "augment_effects": list(effects), **changed}
    return [word for name, value in values.items() for word in flag_words(name, value)]


def test_the_help_names_the_effects(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(EFFECTS)} (unset: all)" in shown


def test_only_the_train_list_is_augmented_and_the_source_stays(settings, data_set):
    before = contents(data_set)
    assert main(words(settings, effects=())) == 0
    assert contents(data_set) == before
    new = data_set.with_name("data-augmented")
    for split in ("valid", "test"):
        assert (new / f"{split}_list.txt").read_bytes() == before[f"{split}_list.txt"][0]
    train = listed(data_set, "train")
    expected = [
        f"{name.removesuffix('.wav')}.{effect}.1.wav" for name in train for effect in EFFECTS
    ]
    assert listed(new, "train") == train + expected
    audio = sorted(path.relative_to(new).as_posix() for path in new.rglob("*.wav"))
    assert audio == sorted(name for split in SPLITS for name in listed(new, split))
    assert all(bytes_of(new)[name] == before[name][0] for name in before if "list" not in name)


def test_extraction_and_loading_take_the_augmented_data_set(settings, data_set, capsys):
    assert main(words(settings)) == 0
    new = dataclasses.replace(settings, dataset_path="data-augmented")
    assert extract_main(flags(new)) == 0
    assert "48 tracks extracted" in capsys.readouterr().out
    train, valid, test = get_dataloader(new)
    sizes = [len(loader.dataset) for loader in (train, valid, test)]
    assert sizes == [72, 12, 12]  # two chunks a track


def test_a_second_run_writes_nothing(settings, data_set, capsys):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = contents(new)
    assert main(words(settings)) == 0
    assert contents(new) == before
    assert "nothing to augment" in capsys.readouterr().out


def test_copies_depend_neither_on_workers_nor_on_other_tracks(settings, data_set, tmp_path):
    every = words(settings, effects=(), augment_path="one")
    main(every)
    main([*every, "--augment_path", "two", "--num_workers", "2"])
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    lines = listed(data_set, "train")
    (data_set / "train_list.txt").write_text("\n".join(lines[::-1][:6]), encoding="utf-8")
    main([*every, "--augment_path", "three", "--genres", "metal,jazz"])
    one, three = bytes_of(tmp_path / "one"), bytes_of(tmp_path / "three")
    copies = [name for name in three if name.endswith(".1.wav")]
    assert len(copies) == 36
    assert all(one[name] == three[name] for name in copies)


def test_a_killed_run_leaves_no_lists_and_is_continued(settings, data_set, monkeypatch):
    main(words(settings, augment_path="whole"))
    made = []

    def kill(path, *arguments):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(path)
        write_audio(path, *arguments)

    write_audio = data_augment.write_audio
    with monkeypatch.context() as patch:
        patch.setattr(data_augment, "write_audio", kill)
        with pytest.raises(KeyboardInterrupt):
            main(words(settings))
    new = data_set.with_name("data-augmented")
    assert not list(new.glob("*_list.txt"))
    (made[0].parent / "1-2.part").write_bytes(b"half")
    times = {path: path.stat().st_mtime_ns for path in made}
    assert len(times) == 5
    assert main(words(settings)) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == times
    assert bytes_of(new) == bytes_of(data_set.with_name("whole"))


def test_missing_files_are_made_again(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = bytes_of(new)
    for name in ("jazz/jazz.00000.noise.1.wav", "jazz/jazz.00001.wav", "valid_list.txt"):
        (new / name).unlink()
    assert main(words(settings)) == 0
    assert bytes_of(new) == before


def test_only_copies_of_a_changed_source_are_made_again(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = contents(new)
    changed = data_set / "jazz" / "jazz.00001.wav"
    changed.unlink()
    soundfile.write(changed, sine(1000, 2), RATE)
    assert main(words(settings)) == 0
    after = contents(new)
    again = {name for name in after if name.endswith(".wav") and after[name] != before[name]}
    stem = "jazz/jazz.00001"
    assert again == {f"{stem}.wav", f"{stem}.noise.1.wav", f"{stem}.pitch_shift.1.wav"}
    assert after[f"{stem}.wav"][0] == changed.read_bytes()


def test_other_settings_replace_what_they_change(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = contents(new)
    assert main(words(settings, effects=["noise"], augment_copies=2)) == 0
    after = contents(new)
    assert not [name for name in after if "pitch_shift" in name]
    kept = [name for name in after if name.endswith("noise.1.wav")]
    assert all(after[name] == before[name] for name in kept)
    assert len(listed(new, "train")) == 12 + 24
    assert main(words(settings, effects=["noise"], seed=7)) == 0
    assert all(bytes_of(new)[name] != before[name][0] for name in kept)


def test_a_broken_track_is_named_and_the_rest_is_augmented(settings, data_set, capsys):
    path = data_set / "jazz" / "jazz.00002.wav"
    whole = path.read_bytes()
    path.write_bytes(b"no audio")
    (data_set / "jazz" / "jazz.00003.wav").rename(data_set / "elsewhere.wav")
    assert main(words(settings)) == 1
    errors = capsys.readouterr().err
    assert "jazz.00002.wav cannot be read (no audio: text, under the name .wav)" in errors
    assert "jazz.00003.wav is missing" in errors
    new = data_set.with_name("data-augmented")
    assert len(listed(new, "train")) == 12 + 20
    path.write_bytes(whole)
    (data_set / "elsewhere.wav").rename(data_set / "jazz" / "jazz.00003.wav")
    assert main(words(settings)) == 0
    assert len(listed(new, "train")) == 12 + 24


def test_copies_are_mono_at_the_tracks_own_rate_and_do_not_clip(settings, data_set):
    y = np.stack([sine(440, 2, 44100, 1.0), sine(440, 2, 44100, 1.0)], axis=1)
    soundfile.write(data_set / "jazz" / "jazz.00000.wav", y, 44100)
    main(words(settings, effects=["noise"]))
    copy = data_set.with_name("data-augmented") / "jazz" / "jazz.00000.noise.1.wav"
    info = soundfile.info(copy)
    assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")
    copied, _ = soundfile.read(copy)
    assert (np.abs(copied) > 0.9999).sum() <= 2  # only the peak itself: nothing is clipped
    assert np.diff(np.sort(np.abs(copied))[-3:]).max() > 0


def test_the_record_says_how_each_file_is_made(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    record = json.loads((new / "augmentation.json").read_text(encoding="utf-8"))
    made = record["files"]["metal/metal.00001.pitch_shift.1.wav"]
    source = data_set / "metal" / "metal.00001.wav"
    assert made["source"] == "metal/metal.00001.wav"
    assert made["size"] == source.stat().st_size
    original = peak_hz(soundfile.read(source)[0])
    copy, _ = soundfile.read(new / "metal" / "metal.00001.pitch_shift.1.wav")
    moved = 12 * np.log2(peak_hz(copy) / original)
    assert moved == pytest.approx(made["parameters"]["semitones"], abs=0.05)


def test_if_links_are_impossible_files_are_copied(settings, data_set, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    assert main(words(settings)) == 0
    copy = data_set.with_name("data-augmented") / "jazz" / "jazz.00001.wav"
    source = data_set / "jazz" / "jazz.00001.wav"
    assert copy.read_bytes() == source.read_bytes()
    assert not copy.samefile(source)


def test_folders_that_cannot_be_augmented_are_messages(settings, data_set, tmp_path):
    def refused(match, **changed):
        with pytest.raises(data_augment.UserError, match=match):
            main(words(settings, **changed))

    before = contents(data_set)
    refused("must be separate from", augment_path="data")
    refused("must be separate from", augment_path="data/more")
    refused("must be separate from", augment_path=".")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    refused("holds thesis.txt and is not an augmented", augment_path="full")
    refused("is a file", augment_path="full/thesis.txt")
    assert contents(data_set) == before
    main(words(settings))
    refused("is an augmented data set", dataset_path="data-augmented")
    record = tmp_path / "data-augmented" / "augmentation.json"
    for text in ("{", '{"dataset": "data", "files": {"../x.wav": {}}}'):
        record.write_text(text, encoding="utf-8")
        refused("damaged")
    record.write_text('{"dataset": "other", "files": {}}', encoding="utf-8")
    refused("of the data set other")


def test_a_track_with_the_name_of_a_copy_is_a_message(settings, data_set):
    named = "jazz/jazz.00000.Noise.1.wav"
    (data_set / "jazz" / "jazz.00007.wav").rename(data_set / named)
    path = data_set / "test_list.txt"
    text = path.read_text(encoding="utf-8").replace("jazz/jazz.00007.wav", named)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        data_augment.UserError,
        match=f"a copy of jazz/jazz.00000.wav would have the name of {named} ",
    ):
        main(words(settings))


def test_copies_of_two_tracks_do_not_share_a_name(settings, data_set):
    (data_set / "jazz/jazz.00001.wav").rename(data_set / "jazz/jazz.00000.flac")
    path = data_set / "train_list.txt"
    text = path.read_text(encoding="utf-8").replace("jazz/jazz.00001.wav", "jazz/jazz.00000.flac")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(data_augment.UserError, match=r"or of one of its copies: rename jazz/jazz"):
        main(words(settings))


def test_flags_are_checked(capsys):
    for arguments, message in (
        (["--augment_effects", "echo"], "echo: must be among pitch_shift, time_stretch"),
        (["--augment_effects", "noise,noise"], "repeats a name"),
        (["--augment_copies", "0"], "must be 1 or more"),
        (["--num_mels", "64"], "unknown argument --num_mels"),
        (["--num_epochs", "3"], "unknown argument --num_epochs"),
        (["--mixup", "0.2"], "unknown argument --mixup"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "expected"),
    [("dataset/demo", "dataset/demo-augmented"), ("dataset/demo/", "dataset/demo-augmented")],
)
def test_the_new_data_set_is_next_to_the_old(path, expected, tmp_path, monkeypatch):
    assert data_augment.Copies().folder(path).as_posix() == expected
    monkeypatch.chdir(tmp_path)
    folder = data_augment.Copies().folder(".")
    assert folder == tmp_path.with_name(f"{tmp_path.name}-augmented")


TONES = {"classical": ["pitch:low"], "jazz": ["pitch:middle", "dull"], "metal": ["dull"]}


@pytest.fixture
def tagging(settings, data_set):
    """Settings for tagging; a track has the tags of its genre."""
    names = [name for split in SPLITS for name in listed(data_set, split)]
    write_tags(data_set, {name: TONES[name.split("/")[0]] for name in names})
    return dataclasses.replace(settings, task="tagging")


def write_tags(folder, tracks):
    (folder / "tags.csv").write_text(format_tags(tracks), encoding="utf-8")


def test_copies_have_the_tags_of_their_tracks(tagging, data_set):
    arguments = words(tagging, ["noise", "time_stretch"], augment_path="more")
    assert main(arguments) == 0
    more = read_catalog(dataclasses.replace(tagging, dataset_path="more"))
    assert more.hparams.tags == ["dull", "pitch:low", "pitch:middle"]
    assert set(more.tags) == {name for names in more.lists.values() for name in names}
    assert more.tags["jazz/jazz.00002.noise.1.wav"] == set(TONES["jazz"])
    (data_set.parent / "more/tags.csv").unlink()
    main(arguments)
    assert read_catalog(more.hparams).tags == more.tags


def test_copies_that_would_make_tags_wrong_are_not_made(tagging, data_set, capsys):
    text = (data_set / "tags.csv").read_text(encoding="utf-8")
    (data_set / "tags.csv").write_text(text.replace("dull", "tempo:slow"), encoding="utf-8")
    match = "time_stretch: makes tags of tempo wrong; leave it"
    with pytest.raises(data_augment.UserError, match=match):
        main(words(tagging, ["noise", "time_stretch"]))
    assert not data_set.with_name("data-augmented").exists()
    assert main(words(tagging, [])) == 0
    kept = "Effects that keep the tags correct: pitch_shift, noise, shift, percussive\n"
    assert kept in capsys.readouterr().out
    names = listed(data_set.with_name("data-augmented"), "train")
    copies = {name.split(".")[-3] for name in names if ".1.wav" in name}
    assert copies == {"pitch_shift", "noise", "shift", "percussive"}


def test_without_tagging_an_augmented_data_set_has_no_tags(tagging):
    for task in ("genre", "tagging", "genre"):
        main(words(tagging, ["noise"], augment_path="more", task=task))
        assert Path("more/tags.csv").exists() == (task == "tagging")
    match = "data_augment.py --task tagging for an augmented data set"
    with pytest.raises(data_augment.UserError, match=match):
        read_catalog(dataclasses.replace(tagging, dataset_path="more"))


def test_a_folder_called_tags_csv_is_a_message(tagging, data_set):
    arguments = words(tagging, ["noise"], augment_path="more")
    main(arguments)
    Path("more/tags.csv").unlink()
    Path("more/tags.csv").mkdir()
    for task in ("genre", "tagging"):
        match = r"more/tags.csv cannot be replaced \(.*\): move it away"
        with pytest.raises(data_augment.UserError, match=match):
            main([*arguments, "--task", task])
    (data_set / "tags.csv").unlink()
    (data_set / "tags.csv").mkdir()
    match = r"tags.csv cannot be read \(.*\): make it a readable file"
    with pytest.raises(data_augment.UserError, match=match):
        main(arguments)


def test_a_link_to_the_source_costs_no_original(settings, data_set, capsys):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    shutil.rmtree(new / "jazz")
    (new / "jazz").symlink_to(data_set / "jazz")
    before = contents(data_set)
    for effects in (["noise"], ["pitch_shift", "noise"], ["shift"]):
        with pytest.raises(data_augment.UserError, match="jazz leads out of .*: remove that link"):
            main(words(settings, effects=effects))
        assert contents(data_set) == before
    (new / "jazz").unlink()
    assert main(words(settings)) == 0
    assert contents(data_set) == before


def test_what_the_record_does_not_name_is_not_deleted(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    (new / "jazz/mine.noise.1.wav").write_bytes(b"mine")
    (new / "notes.part").write_bytes(b"mine")
    assert main(words(settings, effects=["shift"])) == 0
    assert (new / "jazz/mine.noise.1.wav").read_bytes() == b"mine"
    assert (new / "notes.part").read_bytes() == b"mine"
    assert not list(new.rglob("*.pitch_shift.1.wav"))


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_kept(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = contents(data_set)
    copy = new / "jazz/jazz.00000.noise.1.wav"
    copy.unlink()
    copy.symlink_to(data_set / "jazz/jazz.00003.wav")
    assert main(words(settings, seed=5)) == 0
    assert contents(data_set) == before
    assert not copy.is_symlink()


def test_two_data_sets_of_one_name_do_not_share_copies(settings, data_set, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copytree(data_set, tmp_path / "other/data")
    main(words(settings, augment_path="copies"))
    with pytest.raises(data_augment.UserError, match="holds copies of the data set /.*/data; name"):
        main(words(settings, augment_path="copies", dataset_path="other/data"))


def test_a_moved_data_set_keeps_its_copies(settings, data_set, tmp_path, capsys):
    main(words(settings))
    (tmp_path / "disk").mkdir()
    for name in ("data", "data-augmented"):
        (tmp_path / name).rename(tmp_path / "disk" / name)
    assert main(words(settings, dataset_path="disk/data")) == 0
    assert "nothing to augment" in capsys.readouterr().out


def test_another_file_of_equal_size_and_time_is_noticed(settings, data_set):
    main(words(settings))
    new, source = data_set.with_name("data-augmented"), data_set / "jazz/jazz.00001.wav"
    before, status = contents(new), source.stat()
    changed = bytearray(source.read_bytes())
    changed[1000:1100] = bytes(100)
    source.unlink()
    source.write_bytes(changed)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert main(words(settings)) == 0
    again = {name for name, content in contents(new).items() if content[0] != before[name][0]}
    stem = "jazz/jazz.00001"
    wanted = {f"{stem}.wav", f"{stem}.noise.1.wav", f"{stem}.pitch_shift.1.wav"}
    assert again == wanted | {"augmentation.json"}


def test_no_source_is_read_again_if_nothing_changed(settings, data_set, monkeypatch):
    main(words(settings))
    monkeypatch.setattr("support.files.hash_ends", lambda *_: pytest.fail("a source was read"))
    assert main(words(settings)) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "deep", "list", "huge", "empty", "shape"])
def test_a_damaged_record_is_named_with_its_repair(settings, data_set, damage):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    path, before = new / "augmentation.json", contents(new)
    text = path.read_text(encoding="utf-8")
    damaged = {
        "flip": text.replace('"effect": "noise"', '"effect": "noisd"', 1),
        "cut": text[: len(text) // 2],
        "deep": "[" * 100_000,
        "list": "[1]",
        "huge": f'{{"dataset": {"9" * 5000}, "files": {{}}}}',
        "empty": "",
        "shape": '{"dataset": "data", "files": {"jazz/x.wav": 1}}',
    }
    path.write_text(damaged[damage], encoding="utf-8")
    match = r"augmentation.json is damaged \(.*\): delete .*data-augmented and augment again"
    with pytest.raises(data_augment.UserError, match=match):
        main(words(settings))
    after = contents(new)
    assert {k: v for k, v in after.items() if k != "augmentation.json"} == {
        k: v for k, v in before.items() if k != "augmentation.json"
    }


def test_a_record_of_version_1_0_is_read(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    record = json.loads((new / "augmentation.json").read_text(encoding="utf-8"))
    del record["sha256"]
    for made in record["files"].values():
        del made["ends"]
    text = json.dumps(record | {"dataset": "data"})
    (new / "augmentation.json").write_text(text, encoding="utf-8")
    before = bytes_of(new)
    assert main(words(settings)) == 0
    after = bytes_of(new)
    assert {n for n in after if after[n] != before[n]} == {"augmentation.json"}


def test_any_error_of_a_track_is_that_tracks(settings, data_set, deny, monkeypatch, capsys):
    deny(data_set / "jazz/jazz.00000.wav")
    deny(data_set / "metal")
    soundfile.write(
        data_set / "jazz/jazz.00001.wav", np.full(9000, 1e38, np.float32), RATE, "FLOAT"
    )
    (data_set / "jazz/jazz.00002.wav").unlink()
    (data_set / "jazz/jazz.00002.wav").mkdir()
    soundfile.write(data_set / "jazz/jazz.00003.wav", np.ones(1), RATE)
    real = data_augment.read_audio

    def read(path):
        if path.name == "classical.00000.wav":
            raise ZeroDivisionError("odd")
        return real(path)

    monkeypatch.setattr(data_augment, "read_audio", read)
    assert main(words(settings, effects=())) == 1
    errors = capsys.readouterr().err
    assert "jazz.00000.wav cannot be read (Permission denied)" in errors
    assert errors.count("metal") >= 8
    assert "jazz.00001.wav holds values too large for a spectrum" in errors
    assert "jazz.00002.wav" in errors
    assert "jazz.00003.wav" not in errors
    assert "classical.00000.wav: unexpected ZeroDivisionError at test_data_augment.py" in errors
    assert "ZeroDivisionError: odd" in Path("errors.log").read_text(encoding="utf-8")
    new = data_set.with_name("data-augmented")
    copies = [name for name in listed(new, "train") if ".1.wav" in name]
    assert len(copies) == len(EFFECTS) * 4  # three classical tracks, and the one of one sample


def test_a_name_too_long_for_a_copy_is_that_tracks_fault(settings, data_set, capsys):
    long = f"{'라' * 82}.wav"  # 250 bytes
    (data_set / "jazz/jazz.00000.wav").rename(data_set / "jazz" / long)
    text = (data_set / "train_list.txt").read_text(encoding="utf-8")
    text = text.replace("jazz/jazz.00000.wav", f"jazz/{long}")
    (data_set / "train_list.txt").write_text(text, encoding="utf-8")
    for _ in range(2):  # the second time all others are there
        assert main(words(settings)) == 1
        error = "라.wav has a long name, and a copy's name would have more than 255 bytes: rename"
        assert capsys.readouterr().err.count(error) == 1
    names = listed(data_set.with_name("data-augmented"), "train")
    assert len(names) == 12 + 11 * 2 and f"jazz/{long}" in names


def test_names_of_another_unicode_form_are_copied(settings, data_set):
    accents = unicodedata.normalize("NFD", "jazz/café.wav")
    (data_set / "jazz/jazz.00000.wav").rename(data_set / accents)
    text = (data_set / "train_list.txt").read_text(encoding="utf-8")
    text = text.replace("jazz/jazz.00000.wav", unicodedata.normalize("NFC", accents))
    (data_set / "train_list.txt").write_text(text, encoding="utf-8")
    assert main(words(settings)) == 0
    names = listed(data_set.with_name("data-augmented"), "train")
    assert unicodedata.normalize("NFC", "jazz/café.noise.1.wav") in names
