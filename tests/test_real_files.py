"""Files that people really have: every stage reads the same samples, or names the same file.

The files are in `../shared/cases`; without them these tests are skipped.
"""

import dataclasses
import json
import re

import numpy as np
import pytest
import soundfile
from conftest import ROOT, flags, save_run, sine

import data_augment
import feature_extraction
import predict
import retrieve
from audio.chunks import track_chunks
from audio.features import count_frames
from audio.reading import load_audio, read_audio, stream_audio
from dataset import check_leaks
from hparams import HParams
from support.errors import UserError
from tracks.manifest import read_manifest

CASES = ROOT.parent / "shared" / "cases"
RIGHT = {  # sample rate, channels, samples per channel
    "g_chained.ogg": (44100, 2, 242678),
    "m_cbr_noxing_ape_cover.mp3": (44100, 1, 354816),
    "m_concat.mp3": (44100, 2, 309935),
    "m_junk_front.mp3": (44100, 2, 155520),
    "m_vbr_noxing_loudfirst.mp3": (44100, 2, 531072),
    "m_xing_frames0.mp3": (44100, 1, 353711),
    "piped.flac": (44100, 1, 66150),
    "w_1sample_192k.wav": (192000, 1, 1),
    "w_gsm.wav": (8000, 1, 77440),
    "w_size0.wav": (22050, 1, 77175),
    "w_size_plus16.wav": (22050, 1, 77175),
}
REFUSED = {"x_m4a.mp3": r"AAC in MP4, under the name \.mp3.*ffmpeg"}
# samples that decoders may keep or drop at the ends of an MP3; an Ogg states where its last block
# is cut, by 128 samples here, which that decoder kept
TOLERANCE = {".mp3": 2400, ".ogg": 128}
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_has_the_samples_that_another_decoder_reads(name):
    samples, rate = read_audio(CASES / name)
    expected_rate, channels, count = RIGHT[name]
    assert rate == expected_rate
    assert samples.shape[1] == channels
    assert abs(len(samples) - count) <= TOLERANCE.get(name[-4:], 0)


@pytest.mark.parametrize("name", RIGHT)
def test_whole_and_streamed_reading_give_the_same_samples(name):
    hparams = HParams(sample_rate=RIGHT[name][0])
    y = load_audio(CASES / name, hparams)
    assert np.array_equal(np.concatenate(list(stream_audio(CASES / name, hparams))), y)


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Settings for a data set of these files, all in the train split, and tones."""
    monkeypatch.chdir(tmp_path)
    names = [f"real/{path.name}" for path in sorted(CASES.glob("*.*")) if path.suffix != ".md"]
    (tmp_path / "music/tone").mkdir(parents=True)
    (tmp_path / "music/real").mkdir()
    for name in names:
        (tmp_path / "music" / name).write_bytes((CASES / name.partition("/")[2]).read_bytes())
    for number in range(3):
        soundfile.write(tmp_path / f"music/tone/{number}.wav", sine(300 + 9 * number), 8000)
    lists = {"train": [*names, "tone/0.wav"], "valid": ["tone/1.wav"], "test": ["tone/2.wav"]}
    for split, listed in lists.items():
        (tmp_path / f"music/{split}_list.txt").write_text("\n".join(listed), encoding="utf-8")
    short = {"num_mels": 16, "feature_length": 0, "chunk_length": 120, "device": "cpu"}
    return HParams(dataset_path="music", feature_path="features", genres=["real", "tone"], **short)


def broken_files(printed):
    """The names of the files in lines of broken files."""
    lines = re.findall(r"^broken: (.*)$", printed, re.MULTILINE)
    assert not [line for line in lines if "unexpected" in line]
    return {name for name in (*RIGHT, *REFUSED) for line in lines if f"real/{name}" in line}


def test_every_stage_reads_or_names_the_same_files(music, capsys):
    files = [f"music/real/{name}" for name in (*RIGHT, *REFUSED)]
    save_run(music, "runs/one")
    stages = {
        "extraction": (feature_extraction.main, flags(music, skip_broken=True)),
        "predict": (predict.main, [*files, "--run", "runs/one"]),
        "predict --whole": (predict.main, [*files, "--run", "runs/one", "--whole"]),
        "index": (retrieve.main, ["--index", "music", "--run", "runs/one"]),
        "augmentation": (
            data_augment.main,
            ["--dataset_path", "music", "--augment_effects", "noise", "--skip_broken"],
        ),
        "leak search": (check_leaks.main, ["music"]),
    }
    named = {}
    for stage, (main, words) in stages.items():
        main(words)
        named[stage] = broken_files(capsys.readouterr().err)
    assert named == {stage: set(REFUSED) for stage in stages}


def test_extraction_and_prediction_have_the_rows_of_all_samples(music):
    feature_extraction.main(flags(music, skip_broken=True))
    manifest = read_manifest(music.feature_folder())
    for name in RIGHT:
        y = load_audio(CASES / name, music)
        rows = manifest.tracks[f"real/{name}"]["frames"]
        assert rows == count_frames(len(y), music)
        counted = sum(real for _, real in track_chunks(CASES / name, music))
        assert rows - music.chunk_length / 2 < counted <= rows  # less than half a chunk is left out


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_another_format_is_named_with_the_line_that_converts_it(name, monkeypatch):
    with pytest.raises(UserError, match=REFUSED[name]):
        read_audio(CASES / name)


@pytest.mark.parametrize("feature", ["log_mel", "linear_stft", "mfcc", "cqt", "waveform"])
@pytest.mark.parametrize("scale", ["tutorial", "db", "musicnn", "none"])
def test_one_sample_is_warned_of_with_every_feature(music, feature, scale, capsys):
    name = "real/w_1sample_192k.wav"
    for split, listed in (("train", f"{name}\ntone/0.wav"),):
        with open(f"music/{split}_list.txt", "w", encoding="utf-8") as file:
            file.write(listed)
    hparams = dataclasses.replace(music, feature=feature, scale=scale, feature_path="")
    assert feature_extraction.main(flags(hparams)) == 0
    assert "w_1sample_192k.wav is shorter than one frame" in capsys.readouterr().err
    entry = read_manifest(hparams.feature_folder()).tracks[name]
    assert np.isfinite(entry["sum"])
    assert json.dumps(entry)
