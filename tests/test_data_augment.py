import dataclasses
import json
import os

import numpy as np
import pytest
import scipy.ndimage
import soundfile
from conftest import RATE, flags, sine

import data_augment
from audio.effects import (
    EFFECTS,
    add_noise,
    change_speed,
    draw_parameters,
    percussive,
    pitch_shift,
    running_median,
    shift,
    time_stretch,
)
from data_augment import main
from data_manager import get_dataloader
from feature_extraction import main as extract_main
from hparams import AUGMENT_EFFECTS, HParams

SPLITS = ("train", "valid", "test")


def peak_hz(y, rate=RATE):
    """The frequency of the highest peak of a waveform's spectrum, finer than a bin."""
    S = np.log(np.abs(np.fft.rfft(y * np.hanning(len(y)))) + 1e-9)
    k = int(S.argmax())
    a, b, c = S[k - 1 : k + 2]
    return (k + (a - c) / (2 * (a - 2 * b + c))) * rate / len(y)


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


def words(settings, **changed):
    return flags(settings, **{"genres": [], "augment_effects": ["pitch_shift", "noise"], **changed})


@pytest.mark.parametrize("semitones", [-2, 0.5, 1, 7])
def test_pitch_moves_by_the_semitones_and_duration_stays(semitones):
    y = sine(440, 3, 22050)
    shifted = pitch_shift(y, 22050, semitones)
    moved = 12 * np.log2(peak_hz(shifted, 22050) / 440)
    assert moved == pytest.approx(semitones, abs=0.02)
    assert shifted.shape == y.shape
    assert shifted.dtype == np.float32


@pytest.mark.parametrize("rate", [0.8, 1.07, 1.25])
def test_a_stretch_changes_duration_and_tempo_but_not_pitch(rate):
    y = sine(440, 4, 22050)
    y[::11025] += 3
    stretched = time_stretch(y, 22050, rate)
    assert len(stretched) == round(len(y) / rate)
    assert peak_hz(stretched, 22050) == pytest.approx(440, abs=0.5)
    envelope = np.abs(percussive(stretched, 22050))
    for click in range(2, 6):  # half seconds
        at = round(click * 11025 / rate)
        nearby = envelope[at - 2000 : at + 2000]
        assert abs(int(nearby.argmax()) - 2000) < 600


def test_speed_changes_duration_and_pitch_alike():
    fast = change_speed(sine(440, 3), RATE, 1.1)
    assert len(fast) == round(3 * RATE / 1.1)
    assert peak_hz(fast) == pytest.approx(484, abs=0.5)


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_noise_is_as_far_below_the_music_as_it_says(rng, snr_db):
    y = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
    noise = add_noise(y, RATE, snr_db, 1) - y
    measured = 10 * np.log10(np.mean(y**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.01)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.05  # white
    assert not np.array_equal(add_noise(y, RATE, snr_db, 1), add_noise(y, RATE, snr_db, 2))


def test_a_shift_is_of_the_seconds_and_loses_nothing(rng):
    y = rng.standard_normal(RATE).astype(np.float32)
    shifted = shift(y, RATE, 0.25)
    assert np.array_equal(shifted[RATE // 4 :], y[: -RATE // 4])
    assert np.array_equal(np.sort(shifted), np.sort(y))


def test_the_percussive_part_has_the_clicks_and_not_the_tone():
    tone, clicks = sine(440, 3, 22050), np.zeros(3 * 22050, np.float32)
    clicks[5000::11025] = 1
    part = percussive(tone + clicks, 22050)
    inner = slice(4096, -4096)  # a tone's start and end are clicks
    assert np.corrcoef(part[inner], clicks[inner])[0, 1] > 0.9
    assert np.abs(part[clicks == 0][inner]).max() < 0.1


def test_effects_have_the_values_of_librosa(rng):
    effects = pytest.importorskip("librosa").effects
    y = (0.1 * rng.standard_normal(30_000)).astype(np.float32)
    exact = y.astype(np.float64)  # its phases are sums: in float32 they lose their digits
    for ours, theirs in (
        (time_stretch(y, 22050, 0.9), effects.time_stretch(exact, rate=0.9)),
        (pitch_shift(y, 22050, 2), effects.pitch_shift(exact, sr=22050, n_steps=2)),
        (percussive(y, 22050), effects.percussive(exact)),
    ):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 7), (5, 3), (16, 4), (63, 5), (65, 2), (200, 33)])
def test_the_running_median_is_scipys(rng, shape):
    x = rng.integers(0, 50, shape).astype(np.float32)
    assert np.array_equal(running_median(x), scipy.ndimage.median_filter(x, (31, 1)))


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_effects_take_short_and_silent_tracks(effect, samples):
    parameters = draw_parameters("a/a.wav", effect, 1, 0)
    for y in (np.zeros(samples, np.float32), sine(440)[1 : samples + 1]):
        changed = EFFECTS[effect].apply(y, RATE, **parameters)
        assert len(changed) > 0
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_changes_the_signal_and_each_copy_otherwise(effect, rng):
    y = (0.1 * rng.standard_normal(2 * RATE)).astype(np.float32)
    drawn = [draw_parameters("a/a.wav", effect, number, 0) for number in (1, 2)]
    assert drawn[0] == draw_parameters("a/a.wav", effect, 1, 0)
    assert drawn[0] != draw_parameters("a/b.wav", effect, 1, 0)
    assert drawn[0] != draw_parameters("a/a.wav", effect, 1, 1)
    first, second = (EFFECTS[effect].apply(y, RATE, **parameters) for parameters in drawn)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, y)


def test_the_effects_are_those_of_the_flag():
    assert tuple(EFFECTS) == AUGMENT_EFFECTS


def test_only_the_train_list_is_augmented_and_the_source_stays(settings, data_set):
    before = contents(data_set)
    assert main(words(settings, augment_effects=[])) == 0
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
    every = words(settings, augment_effects=[], augment_path="one")
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


def test_what_is_gone_is_made_again(settings, data_set):
    main(words(settings))
    new = data_set.with_name("data-augmented")
    before = bytes_of(new)
    for name in ("jazz/jazz.00000.noise.1.wav", "jazz/jazz.00001.wav", "valid_list.txt"):
        (new / name).unlink()
    assert main(words(settings)) == 0
    assert bytes_of(new) == before


def test_a_changed_source_is_done_again_and_no_other(settings, data_set):
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
    assert main(words(settings, augment_effects=["noise"], augment_copies=2)) == 0
    after = contents(new)
    assert not [name for name in after if "pitch_shift" in name]
    kept = [name for name in after if name.endswith("noise.1.wav")]
    assert all(after[name] == before[name] for name in kept)
    assert len(listed(new, "train")) == 12 + 24
    assert main(words(settings, augment_effects=["noise"], seed=7)) == 0
    assert all(bytes_of(new)[name] != before[name][0] for name in kept)


def test_a_broken_track_is_named_and_the_rest_done(settings, data_set, capsys):
    path = data_set / "jazz" / "jazz.00002.wav"
    whole = path.read_bytes()
    path.write_bytes(b"no audio")
    (data_set / "jazz" / "jazz.00003.wav").rename(data_set / "elsewhere.wav")
    assert main(words(settings)) == 1
    told = capsys.readouterr().err
    assert "jazz.00002.wav cannot be read" in told
    assert "jazz.00003.wav is missing" in told
    new = data_set.with_name("data-augmented")
    assert len(listed(new, "train")) == 12 + 20
    path.write_bytes(whole)
    (data_set / "elsewhere.wav").rename(data_set / "jazz" / "jazz.00003.wav")
    assert main(words(settings)) == 0
    assert len(listed(new, "train")) == 12 + 24


def test_copies_are_mono_at_the_tracks_own_rate_and_do_not_clip(settings, data_set):
    y = np.stack([sine(440, 2, 44100, 1.0), sine(440, 2, 44100, 1.0)], axis=1)
    soundfile.write(data_set / "jazz" / "jazz.00000.wav", y, 44100)
    main(words(settings, augment_effects=["noise"]))
    copy = data_set.with_name("data-augmented") / "jazz" / "jazz.00000.noise.1.wav"
    info = soundfile.info(copy)
    assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")
    copied, _ = soundfile.read(copy)
    assert (np.abs(copied) > 0.9999).sum() <= 2  # the peak itself, and none cut off
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


def test_where_links_do_not_reach_files_are_copied(settings, data_set, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    assert main(words(settings)) == 0
    copy = data_set.with_name("data-augmented") / "jazz" / "jazz.00001.wav"
    source = data_set / "jazz" / "jazz.00001.wav"
    assert copy.read_bytes() == source.read_bytes()
    assert not copy.samefile(source)


def test_what_cannot_be_augmented_is_told(settings, data_set, tmp_path):
    def refused(match, **changed):
        with pytest.raises(data_augment.UserError, match=match):
            main(words(settings, **changed))

    before = contents(data_set)
    refused("must be apart from", augment_path="data")
    refused("must be apart from", augment_path="data/more")
    refused("must be apart from", augment_path=".")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    refused("holds thesis.txt and is no augmented", augment_path="full")
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


def test_a_track_named_as_a_copy_is_told(settings, data_set):
    named = "jazz/jazz.00000.Noise.1.wav"
    (data_set / "jazz" / "jazz.00007.wav").rename(data_set / named)
    path = data_set / "test_list.txt"
    text = path.read_text(encoding="utf-8").replace("jazz/jazz.00007.wav", named)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(data_augment.UserError, match="the name that a copy of jazz/jazz.00000.wav"):
        main(words(settings))


def test_flags_are_checked(capsys):
    for arguments, message in (
        (["--augment_effects", "echo"], "echo: must be of pitch_shift, time_stretch"),
        (["--augment_effects", "noise,noise"], "names one twice"),
        (["--augment_copies", "0"], "must be 1 or more"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "expected"),
    [("dataset/demo", "dataset/demo-augmented"), ("dataset/demo/", "dataset/demo-augmented")],
)
def test_the_new_data_set_stands_beside_the_old(path, expected, tmp_path, monkeypatch):
    assert HParams(dataset_path=path).augment_folder().as_posix() == expected
    monkeypatch.chdir(tmp_path)
    folder = dataclasses.replace(HParams(), dataset_path=".").augment_folder()
    assert folder == tmp_path.with_name(f"{tmp_path.name}-augmented")
