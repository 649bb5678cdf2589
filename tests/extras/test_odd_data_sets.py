"""Folders as people have them, and silences of all kinds."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import check_leaks, make_lists
from hparams import HParams
from tracks.lists import load_lists

RATE = 22050


def write_files(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


TRACKS = ("x.wav", "Ünder.FLAC", "a - b.mp3", "재즈.ogg")  # of several kinds
OTHERS = {  # names of what is no track, and what it is
    "folder": ("live.wav", "Notes.mp3", "재즈.flac"),
    "file": ("notes.raw", "._x.wav", ".hidden.mp3", "cover.jpg", "x.wav.part", "wav", "x.cue"),
    "pipe": ("pipe.wav",),
    "broken link": ("gone.wav",),
}


def make_other(path, kind):
    """Make something that is no track."""
    if kind == "folder":
        write_files(path, ["inside.wav"])
    elif kind == "file":
        path.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.parent / "nowhere")


@pytest.mark.skipif(os.name == "nt", reason="Windows lacks pipes and, often, links")
@settings(max_examples=200, deadline=None, database=None)
@given(data=st.data())
def test_lists_hold_each_track_once_whatever_else_is_there(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("music")
    expected = set()
    for genre in data.draw(
        st.sets(st.sampled_from(["café", "재즈", "live.wav", "a b"]), min_size=1)
    ):
        forms = data.draw(st.sets(st.sampled_from(["NFC", "NFD"]), min_size=1))
        for number, form in enumerate(sorted(forms)):  # both forms of a class can exist
            for i, track in enumerate(TRACKS):
                name = f"{genre}/{number}{i}{track}"
                expected.add(unicodedata.normalize("NFC", name))
                write_files(folder, [unicodedata.normalize(form, name)])
    places = list(folder.iterdir())
    for kind, names in OTHERS.items():
        for name in data.draw(st.sets(st.sampled_from(names))):
            make_other(data.draw(st.sampled_from(places)) / name, kind)
    for name in data.draw(st.sets(st.sampled_from([".git", "empty", "notes.txt", "top.wav"]))):
        make_other(folder / name, "file") if "." in name[1:] else (folder / name).mkdir()
    assert make_lists.main([str(folder), "--seed", str(data.draw(st.integers(0, 9)))]) == 0
    names = [
        name for listed in load_lists(HParams(dataset_path=str(folder))).values() for name in listed
    ]
    assert sorted(names) == sorted(expected)
    shutil.rmtree(folder)


def quiet(kind, level, rng):
    """A silent file's samples (samples, channels), whose peak in mono is below -80 dBFS."""
    length = int(rng.integers(1, 2 * RATE))
    noise = rng.uniform(-1, 1, length)
    tone = np.sin(rng.uniform(0.001, 3) * np.arange(length))
    if kind == "stereo that cancels out":
        y = rng.choice([noise, tone]) * rng.uniform(0.1, 1)
        return np.stack([y, -y], axis=1)
    y = {"noise": noise, "tone": tone, "offset": np.ones(length), "zeros": np.zeros(length)}[kind]
    return (level * y)[:, np.newaxis]


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["noise", "tone", "offset", "zeros", "stereo that cancels out"]),
            st.floats(0, 0.9e-4),
            st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
        ),
        min_size=2,
        max_size=4,
    ),
    st.integers(0, 99),
)
def test_silence_is_no_duplicate_whatever_its_kind(tmp_path_factory, silences, seed):
    path = tmp_path_factory.mktemp("silence") / "a.wav"
    prints = {}
    for i, (kind, level, subtype) in enumerate(silences):
        y = quiet(kind, level, np.random.default_rng(seed))  # often the same samples
        soundfile.write(path, y, RATE, subtype)
        made = check_leaks.fingerprint(path)
        assert not isinstance(made, str), made
        assert not made.audible.any() and made.exact == ""
        prints[f"{('train', 'valid', 'test')[i % 3]}/{'ab'[i % 2]}/{i}.wav"] = made
    assert check_leaks.find_exact(prints) == check_leaks.find_matches(prints) == []
    path.unlink()
