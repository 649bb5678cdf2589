import dataclasses
import json

import librosa
import numpy as np
import pytest
import soundfile
from conftest import esc10, flags, rename_to_bytes, sine

import feature_extraction
from audio.chunks import resize_array
from audio.features import count_frames, extract_feature, log_mel, mel_filters, stft
from audio.reading import load_audio
from data_manager import get_dataloader
from feature_extraction import main, melspectrogram
from hparams import HParams
from support.errors import UserError
from tracks.catalog import list_tracks
from tracks.lists import choose_genres, load_list, load_lists
from tracks.manifest import read_manifest
from train_test import Runner


def librosa_log_mel(y, hparams):
    """The slide's code on float64."""
    S = librosa.stft(
        y.astype(np.float64),
        n_fft=hparams.fft_size,
        hop_length=hparams.hop_size,
        win_length=hparams.win_size,
    )
    mel_basis = librosa.filters.mel(
        sr=hparams.sample_rate, n_fft=hparams.fft_size, n_mels=hparams.num_mels, dtype=np.float64
    )
    return np.log10(1 + 10 * mel_basis @ np.abs(S)).T


def test_one_second_is_513_by_44():
    assert stft(sine(440, rate=22050), HParams()).shape == (513, 44)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"fft_size": 512, "win_size": 400, "hop_size": 160, "num_mels": 40, "sample_rate": 16000},
        {"fft_size": 2048, "win_size": 2048, "hop_size": 700, "num_mels": 96},
    ],
)
def test_log_mel_is_librosas(sizes, rng):
    hparams = HParams(**sizes)
    y = (0.1 * rng.standard_normal(30000)).astype(np.float32) + sine(440, 30000 / 22050, 22050)
    expected = librosa_log_mel(y, hparams)
    np.testing.assert_allclose(log_mel(y, hparams), expected, rtol=1e-5, atol=2e-6)
    assert log_mel(y, hparams).dtype == np.float32


def test_log_mel_of_real_recordings_is_librosas():
    for path in sorted(esc10().rglob("*.00000.ogg")):
        y = load_audio(path, HParams())
        expected = librosa_log_mel(y, HParams())
        np.testing.assert_allclose(log_mel(y, HParams()), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 65536, 66047, 66048, 66049, 200000])
@pytest.mark.parametrize("fft_size", [1024, 1023])
def test_any_length_is_librosas(samples, fft_size, rng):
    hparams = HParams(fft_size=fft_size, win_size=1000)
    y = (0.1 * rng.standard_normal(samples)).astype(np.float32)
    feature = log_mel(y, hparams)
    assert feature.shape == (count_frames(samples, hparams), 128)
    if samples:
        expected = librosa_log_mel(y, hparams)
        np.testing.assert_allclose(feature, expected, rtol=1e-5, atol=2e-6)
    assert stft(y, hparams).shape == (fft_size // 2 + 1, len(feature))


@pytest.mark.parametrize("sizes", [(22050, 1024, 128), (8000, 256, 16), (1500, 256, 20)])
def test_mel_filters_are_librosas(sizes):
    rate, fft_size, num_mels = sizes
    expected = librosa.filters.mel(sr=rate, n_fft=fft_size, n_mels=num_mels)
    np.testing.assert_allclose(mel_filters(*sizes), expected, atol=1e-7)


def librosa_mel(y):
    S = librosa.stft(y.astype(np.float64), n_fft=1024, hop_length=512)
    return librosa.filters.mel(sr=22050, n_fft=1024, n_mels=128, dtype=np.float64) @ np.abs(S)


@pytest.mark.parametrize("scale", ["tutorial", "db", "none"])
@pytest.mark.parametrize("feature", ["log_mel", "linear_stft"])
def test_scales_are_of_the_magnitude(feature, scale, rng):
    y = (0.1 * rng.standard_normal(9000)).astype(np.float32)
    magnitude = np.abs(librosa.stft(y.astype(np.float64), n_fft=1024, hop_length=512))
    if feature == "log_mel":
        magnitude = librosa_mel(y)
    expected = {
        "tutorial": np.log10(1 + 10 * magnitude),
        "db": librosa.amplitude_to_db(magnitude, top_db=None),
        "none": magnitude,
    }[scale]
    got = extract_feature(y, HParams(feature=feature, scale=scale))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.T, rtol=1e-4, atol=1e-4)


def test_mfcc_is_librosas_of_the_mel_spectrogram_in_db(rng):
    y = (0.1 * rng.standard_normal(9000)).astype(np.float32)
    expected = librosa.feature.mfcc(
        S=librosa.amplitude_to_db(librosa_mel(y), top_db=None), n_mfcc=20
    )
    got = extract_feature(y, HParams(feature="mfcc", num_mfcc=20))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.T, atol=1e-3)


@pytest.mark.parametrize("hz", [65.41, 440, 1760])
def test_a_sine_lands_in_its_cqt_bin(hz):
    feature = extract_feature(sine(hz, 3, 22050), HParams(feature="cqt"))
    assert feature.shape == (1 + 3 * 22050 // 512, 168)
    assert feature.dtype == np.float32
    assert feature[60].argmax() == round(24 * np.log2(hz / 32.703))


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


def test_lengths_of_a_waveform_are_its_own_unless_given():
    parse = HParams().parse_argument
    raw = parse(["--feature", "waveform"])
    assert (raw.feature_length, raw.chunk_length) == (649539, 59049)
    some = parse(["--feature", "waveform", "--feature_length", "1024", "--chunk_length", "729"])
    assert (some.feature_length, some.chunk_length) == (1024, 729)
    assert parse(["--feature", "mfcc"]).chunk_length == 128
    assert parse(["--feature", "waveform"]).parse_argument([]) == raw


@pytest.mark.parametrize("hz", [220, 440, 1000, 3000])
def test_a_sine_lands_in_its_mel_bin(hz):
    hparams = HParams()
    centres = librosa.mel_frequencies(hparams.num_mels + 2, fmin=0, fmax=11025)[1:-1]
    loudest = log_mel(sine(hz, rate=22050), hparams)[20].argmax()
    assert abs(loudest - np.abs(centres - hz).argmin()) <= 1


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("samples", [0, 1, 100, 1023, 1024])
@pytest.mark.parametrize("fft_size", [1024, 1023])
def test_short_waveforms_give_a_frame(samples, fft_size):
    hparams = HParams(fft_size=fft_size, win_size=fft_size)
    feature = log_mel(np.ones(samples, dtype=np.float32), hparams)
    assert feature.shape[1] == 128
    assert 1 <= len(feature) <= 3
    assert np.isfinite(feature).all()


@pytest.mark.parametrize("scale", ["tutorial", "db", "none"])
@pytest.mark.parametrize("feature", ["log_mel", "linear_stft", "mfcc", "waveform"])
def test_tracks_are_padded_with_silence(settings, feature, scale):
    hparams = dataclasses.replace(
        settings, feature=feature, scale=scale, chunk_length=20000, feature_length=20000
    )
    assert main(flags(hparams)) == 0
    track = list_tracks("train", hparams)[0]
    chunk = np.load(track.path)[0]
    silence = extract_feature(np.zeros(1000, np.float32), hparams)
    np.testing.assert_allclose(chunk[-1], silence[0], rtol=1e-6)
    assert not np.allclose(chunk[0], silence[0])


def test_resize_array_crops_pads_and_keeps_type():
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(resize_array(array, 2), array[:2])
    np.testing.assert_array_equal(resize_array(array, 4), [*array, [0, 0]])
    assert resize_array(array, 4).dtype == np.float32
    assert resize_array(np.ones(3), 5).shape == (5,)


def test_load_audio_mixes_down_and_resamples(tmp_path):
    tone = sine(500, 1.0, 44100)
    soundfile.write(tmp_path / "a.flac", np.stack([tone, 0 * tone], axis=1), 44100)
    y = load_audio(tmp_path / "a.flac", HParams())
    assert y.shape == (22050,)
    assert y.dtype == np.float32
    middle = slice(2000, -2000)
    np.testing.assert_allclose(y[middle], sine(500, 1.0, 22050, 0.25)[middle], atol=1e-3)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_formats(tmp_path, kind):
    path = tmp_path / f"한글 tone.{kind}"
    soundfile.write(path, sine(440, 1.0, 22050), 22050)
    y = load_audio(path, HParams())
    loudest = np.abs(np.fft.rfft(y)).argmax() * 22050 / len(y)
    assert abs(loudest - 440) < 2


def test_load_list_takes_lists_as_people_write_them(data_set, settings):
    text = "\ufeffjazz/jazz.00000.wav\r\n\r\n  jazz\\jazz.00001.wav \r\n"
    (data_set / "train_list.txt").write_bytes(text.encode("utf-8"))
    expected = ["jazz/jazz.00000.wav", "jazz/jazz.00001.wav"]
    assert load_list("train_list.txt", settings) == expected


def test_genres_default_to_the_folders_sorted(settings):
    unset = dataclasses.replace(settings, genres=[])
    assert choose_genres(unset).genres == ["classical", "jazz", "metal"]


def test_given_genres_keep_their_order_and_leave_out_the_rest(settings, capsys):
    chosen = choose_genres(dataclasses.replace(settings, genres=["metal", "jazz"]))
    assert chosen.genres == ["metal", "jazz"]
    assert "leaves out 8 tracks" in capsys.readouterr().out
    assert len(load_lists(chosen)["train"]) == 8


def test_features_are_chunked_log_mels(extracted):
    folder = extracted.feature_folder()
    manifest = read_manifest(folder)
    assert len(manifest["tracks"]) == 24
    for key, entry in manifest["tracks"].items():
        stored = np.load(folder / key)
        expected = melspectrogram(entry["source"], extracted)[:256]
        assert stored.shape == (2, 128, 16)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored.reshape(256, 16), expected)
        assert entry["frames"] == 256
        assert entry["count"] == expected.size
        assert entry["sum"] == pytest.approx(expected.sum(dtype=np.float64))


def test_manifest_names_settings_and_versions(extracted):
    text = (extracted.feature_folder() / "features.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert manifest["settings"] == extracted.feature_settings()
    assert manifest["fingerprint"] == extracted.fingerprint()
    assert manifest["versions"]["soxr"]


def test_short_tracks_are_padded_and_long_kept_whole(settings):
    padded = dataclasses.replace(settings, feature_length=512, feature_path="padded")
    whole = dataclasses.replace(settings, feature_length=0, feature_path="whole")
    for hparams, chunks in ((padded, 4), (whole, 3)):
        assert main(flags(hparams)) == 0
        stored = np.load(hparams.feature_folder() / "train/jazz/jazz.00000.npy")
        assert stored.shape == (chunks, 128, 16)
        assert not stored.reshape(-1, 16)[263:].any()
        entries = read_manifest(hparams.feature_folder())["tracks"].values()
        assert {entry["frames"] for entry in entries} == {263}


def test_a_length_that_is_no_multiple_is_said(settings, capsys):
    assert main(flags(settings, feature_length=300)) == 0
    assert "44 frames are dropped" in capsys.readouterr().out


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
    assert not (settings.feature_folder() / "features.json").exists()


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
    assert "features of other settings: they are replaced" in capsys.readouterr().out
    assert np.load(extracted.feature_folder() / "test/jazz/jazz.00006.npy").shape == (2, 128, 20)


def test_features_do_not_depend_on_num_workers(extracted):
    two = dataclasses.replace(extracted, num_workers=2, feature_path="two")
    assert main(flags(two)) == 0
    one, other = (read_manifest(h.feature_folder())["tracks"] for h in (extracted, two))
    assert one == other


def test_empty_mel_bands_are_said(settings, capsys):
    main(flags(settings, num_mels=200))
    assert "of 200 mel bands are empty" in capsys.readouterr().out
