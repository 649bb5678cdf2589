import dataclasses
import json

import numpy as np
import pytest
import soundfile
from conftest import ROOT, flags, rename_to_bytes, sine

import feature_extraction
from audio.features import extract_feature
from data_manager import get_dataloader
from feature_extraction import main, melspectrogram
from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.manifest import feature_file, read_manifest
from train_test import Runner


@pytest.mark.parametrize("feature", ["linear_stft", "mfcc", "cqt", "waveform"])
def test_each_feature_is_extracted_and_trains(settings, feature):
    changed = {"feature": feature, "num_mfcc": 10, "num_cqt_bins": 72, "feature_length": 256}
    if feature == "waveform":
        changed |= {"feature_length": 4096}
    hparams = dataclasses.replace(settings, feature_path=feature, **changed)
    assert main(flags(hparams)) == 0
    train_loader, _, _ = get_dataloader(hparams)
    rows = min(len(train_loader.dataset), 8)
    assert next(iter(train_loader))[0].shape == (rows, 128, hparams.num_bins)
    assert np.isfinite(Runner(hparams).run(train_loader, "train")[0])


def test_a_waveform_needs_lengths_in_samples(capsys):
    with pytest.raises(SystemExit):
        HParams().parse_argument(["--feature", "waveform", "--chunk_length", "512"])
    with pytest.raises(SystemExit):
        HParams().parse_argument(["--feature", "waveform"])
    advice = "--feature_length 649539 --chunk_length 59049"
    assert f"count samples, not frames: pass {advice}" in capsys.readouterr().err
    raw = HParams().parse_argument(["--feature", "waveform", *advice.split()])
    assert (raw.feature_length, raw.chunk_length) == (649539, 59049)
    recipe = HParams().parse_argument([f"@{ROOT / 'recipes/samplecnn.args'}"])
    assert (recipe.feature_length, recipe.chunk_length) == (649539, 59049)


@pytest.mark.parametrize("scale", ["tutorial", "db", "musicnn", "none"])
@pytest.mark.parametrize("feature", ["log_mel", "linear_stft", "mfcc", "waveform"])
def test_tracks_are_padded_with_silence(settings, feature, scale):
    hparams = dataclasses.replace(
        settings, feature=feature, scale=scale, chunk_length=20000, feature_length=20000
    )
    assert main(flags(hparams)) == 0
    track = read_catalog(hparams).splits["train"][0]
    chunk = np.load(feature_file(hparams, track.name))[0]
    silence = extract_feature(np.zeros(1000, np.float32), hparams)
    np.testing.assert_allclose(chunk[-1], silence[0], rtol=1e-6)
    assert not np.allclose(chunk[0], silence[0])


def test_features_are_chunked_log_mels(extracted):
    folder = extracted.feature_folder()
    manifest = read_manifest(folder)
    assert len(manifest.tracks) == 24
    for name, entry in manifest.tracks.items():
        stored = np.load(folder / f"{name}.npy")
        expected = melspectrogram(name, extracted)[:256]
        assert stored.shape == (2, 128, 16)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored.reshape(256, 16), expected)
        assert entry["frames"] == 256
        assert entry["count"] == expected.size
        assert entry["sum"] == pytest.approx(expected.sum(dtype=np.float64))


def test_manifest_names_settings_and_versions(extracted):
    text = (extracted.feature_folder() / "features.jsonl").read_text(encoding="utf-8")
    manifest = json.loads(text.splitlines()[0])
    assert manifest["settings"] == extracted.feature_settings()
    assert manifest["fingerprint"] == extracted.fingerprint()
    assert manifest["versions"]["soxr"]


def test_short_tracks_are_padded_and_long_kept_whole(settings):
    padded = dataclasses.replace(settings, feature_length=512, feature_path="padded")
    whole = dataclasses.replace(settings, feature_length=0, feature_path="whole")
    for hparams, chunks in ((padded, 4), (whole, 3)):
        assert main(flags(hparams)) == 0
        stored = np.load(hparams.feature_folder() / "jazz/jazz.00000.wav.npy")
        assert stored.shape == (chunks, 128, 16)
        assert not stored.reshape(-1, 16)[263:].any()
        entries = read_manifest(hparams.feature_folder()).tracks.values()
        assert {entry["frames"] for entry in entries} == {263}


def test_a_length_that_is_no_multiple_is_said(settings, capsys):
    assert main(flags(settings, feature_length=300)) == 0
    assert "44 frames are dropped" in capsys.readouterr().out


def test_padding_is_said_once_for_all_tracks(settings, data_set, capsys):
    assert main(flags(settings, feature_length=512)) == 0
    out = capsys.readouterr().out
    assert out.count("padded") == 1
    assert "24 tracks of 2.1 s are padded to 4.1 s: pass --feature_length 0 for whole tr" in out
    soundfile.write(data_set / "jazz/jazz.00000.wav", sine(440, 0.5), 8000)
    soundfile.write(data_set / "jazz/jazz.00001.wav", sine(440, 1.5), 8000)
    main(flags(settings, feature_length=512))
    assert "2 tracks of 0.5 to 1.5 s are padded to 4.1 s" in capsys.readouterr().out
    main(flags(settings, feature_length=0))
    assert "padded" not in capsys.readouterr().out


def test_space_is_said_before_and_work_after(settings, capsys):
    main(flags(settings))
    out = capsys.readouterr().out
    assert out.startswith("Extracting Feature\n")
    assert "24 tracks to extract, 0.4 MB on disk" in out
    assert "24 tracks extracted" in out.splitlines()[-1]


def test_a_folder_whose_name_is_no_utf_8_is_extracted(settings, data_set, capsys):
    folder = str(rename_to_bytes(data_set))
    words = flags(settings, dataset_path=folder, feature_length=0)
    assert feature_extraction.main(words) == 0
    out = capsys.readouterr().out
    assert "24 tracks to extract, 0.6 MB on disk" in out  # its lengths are known before
    assert "24 tracks extracted" in out


def test_a_full_disk_stops_it_before_it_starts(settings, monkeypatch):
    usage = feature_extraction.shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(feature_extraction.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="MB free"):
        main(flags(settings))
    assert not (settings.feature_folder() / "features.jsonl").exists()


def test_a_second_run_extracts_only_what_changed(extracted, data_set, capsys):
    capsys.readouterr()
    main(flags(extracted))
    out = capsys.readouterr().out
    assert "nothing to extract" in out
    assert "0 tracks extracted" in out
    soundfile.write(data_set / "jazz/jazz.00000.wav", sine(1000, 2.1), 8000)
    main(flags(extracted))
    assert "1 tracks extracted" in capsys.readouterr().out


def test_extracting_some_genres_keeps_the_features_of_others(extracted, capsys):
    capsys.readouterr()
    main(flags(extracted, genres=["jazz"]))
    main(flags(extracted))
    assert capsys.readouterr().out.count("0 tracks extracted") == 2


def test_other_settings_in_one_folder_replace_its_features(extracted, capsys):
    main(flags(extracted, num_mels=20))
    assert "features with other settings: they are replaced" in capsys.readouterr().out
    assert np.load(extracted.feature_folder() / "jazz/jazz.00006.wav.npy").shape == (2, 128, 20)


def test_features_do_not_depend_on_num_workers(extracted):
    two = dataclasses.replace(extracted, num_workers=2, feature_path="two")
    assert main(flags(two)) == 0
    one, other = (read_manifest(h.feature_folder()).tracks for h in (extracted, two))
    assert one == other


def test_empty_mel_bands_are_said(settings, capsys):
    main(flags(settings, num_mels=200))
    assert "of 200 mel bands are empty" in capsys.readouterr().out
