import os
import re
import shlex
import subprocess
import unicodedata

import pytest
import soundfile
from conftest import sine

from audio.formats import READ_SUFFIXES
from dataset import make_lists
from dataset.make_lists import main
from feature_extraction import main as extract_main
from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.lists import genre_of
from train_test import main as train_main


def write_folder(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def lists_of(folder):
    return read_catalog(HParams(dataset_path=str(folder))).lists


def test_classes_keep_their_proportions(tmp_path):
    names = [f"재즈/{i}.mp3" for i in range(20)] + [f"pop/{i}.flac" for i in range(10)]
    write_folder(tmp_path, names)
    main([str(tmp_path)])
    lists = lists_of(tmp_path)
    assert sorted(name for listed in lists.values() for name in listed) == sorted(names)
    for genre, expected in (("재즈", (12, 4, 4)), ("pop", (6, 2, 2))):
        found = tuple(sum(genre_of(n) == genre for n in listed) for listed in lists.values())
        assert found == expected


def test_the_seed_decides(tmp_path):
    write_folder(tmp_path, [f"a/{i}.wav" for i in range(20)])
    drawn = []
    for seed in ("1", "1", "2"):
        main([str(tmp_path), "--seed", seed, "--force"])
        drawn.append(lists_of(tmp_path))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("expression", [r"/(.+?) - ", r"artist\d"])
def test_groups_stay_in_one_split(tmp_path, expression):
    names = [f"{g}/artist{i % 6} - {g}{i}.wav" for g in ("jazz", "pop") for i in range(30)]
    write_folder(tmp_path, names)
    main([str(tmp_path), "--group_by", expression])
    splits = {}
    for split, listed in lists_of(tmp_path).items():
        assert len(listed) >= 10
        for name in listed:
            splits.setdefault(name.split("/")[1].split(" - ")[0], set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 6


STYLES = {  # names of tracks by number, artist and title; None: they do not show an artist
    "{artist} - {title}.mp3": "/(.+?) - ",
    "{number:02d} - {artist} - {title}.mp3": r"/(?:\d+[ ._-]+)?(.+?) - ",
    "{artist}_-_{title}.mp3": "/(.+?)_-_",
    "{artist}_{title}_{number}.wav": "/(.+?)[-_]",
    "{title}.mp3": None,
    "{number:02d} - {title}.mp3": None,
    "{genre}.{number:05d}.wav": None,
    "{genre}_{number:05d}.wav": None,
    "track_{number}.wav": None,
    "{fold}-{number}-A-7.ogg": None,
    "2024-01-{number:02d}_take.wav": None,
}


@pytest.mark.parametrize("style", STYLES)
def test_artists_in_names_are_noticed_and_numbers_are_not(tmp_path, style, capsys):
    for genre in ("jazz", "pop"):
        for number in range(40):
            values = {"artist": f"the{genre}band{number % 8}", "title": f"song{number}"}
            values |= {"genre": genre, "number": number, "fold": number % 5}
            write_folder(tmp_path, [f"{genre}/{style.format(**values)}"])
    main([str(tmp_path)])
    command = capsys.readouterr().out.partition("keep each of 16 in one split, run `")[2]
    if STYLES[style] is None:
        assert not command
        return
    words = shlex.split(command.strip().removesuffix("`"))
    assert words[:2] == ["python", "dataset/make_lists.py"]
    assert words[words.index("--group_by") + 1] == STYLES[style]
    main(words[2:])
    splits = {}
    for split, listed in lists_of(tmp_path).items():
        for name in listed:
            splits.setdefault(re.search(r"the\w+?band\d", name).group(), set()).add(split)
    assert len(splits) == 16 and all(len(found) == 1 for found in splits.values())
    assert "look like artists" not in capsys.readouterr().out


def test_artists_are_noticed_though_some_names_lack_them(tmp_path, capsys):
    names = [f"jazz/artist{i % 5} - song{i}.mp3" for i in range(20)]
    write_folder(tmp_path, [*names, "jazz/anthem.mp3", "jazz/hymn.mp3"])
    main([str(tmp_path)])
    command = capsys.readouterr().out.partition("to keep each of 7 in one split, run `")[2]
    main(shlex.split(command.strip().removesuffix("`"))[2:])
    assert "7 groups" in capsys.readouterr().out


def test_one_name_in_two_unicode_forms_is_a_message(tmp_path):
    forms = [unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD")]
    write_folder(tmp_path, [f"a/{name}" for name in (*forms, "x.wav")])
    match = r"'a/e\\u0301.wav' and 'a/\\xe9.wav' would share one feature file"
    with pytest.raises(UserError, match=match):
        main([str(tmp_path)])


def test_what_is_no_track_is_left_out(tmp_path, capsys):
    write_folder(tmp_path, [f"a/{i}.wav" for i in range(5)])
    write_folder(tmp_path, ["a/._0.wav", "a/cover.jpg", ".git/b.wav", "top.wav", "a/album/b.wav"])
    main([str(tmp_path)])
    assert sum(map(len, lists_of(tmp_path).values())) == 5
    out = capsys.readouterr().out
    assert "left out: 3 files" in out
    assert "'a/album/b.wav', 'a/cover.jpg', 'top.wav'" in out


def test_classes_may_be_links(tmp_path, capsys):
    write_folder(tmp_path / "disk", [f"{i}.wav" for i in range(5)])
    write_folder(tmp_path / "disk", ["cover.jpg"])
    write_folder(tmp_path / "data", [f"pop/{i}.wav" for i in range(5)])
    (tmp_path / "data/jazz").symlink_to(tmp_path / "disk")
    main([str(tmp_path / "data")])
    assert sum(map(len, lists_of(tmp_path / "data").values())) == 10
    assert "left out: 1 files" in capsys.readouterr().out


def test_groups_across_classes_are_placed_where_they_can(tmp_path):
    sizes = {"g0": (1, 4), "g1": (1, 1), "g2": (2, 1), "g3": (0, 4)}
    for group, (first, second) in sizes.items():
        names = [f"a/{group}-{i}.wav" for i in range(first)]
        write_folder(tmp_path, names + [f"b/{group}-{i}.wav" for i in range(second)])
    main([str(tmp_path), "--group_by", r"/(g\d)"])
    assert all(len({genre_of(n) for n in listed}) == 2 for listed in lists_of(tmp_path).values())


def test_formats_of_one_name_are_different_tracks(tmp_path):
    write_folder(tmp_path, ["a/x.mp3", "a/x.wav", "a/z.wav"])
    main([str(tmp_path)])
    assert sum(map(len, lists_of(tmp_path).values())) == 3


def test_lists_are_not_replaced_without_force(tmp_path):
    write_folder(tmp_path, [f"a/{i}.wav" for i in range(20)])
    main([str(tmp_path)])
    before = lists_of(tmp_path)
    main([str(tmp_path)])  # the same again is no change
    with pytest.raises(UserError, match="exists and differs: pass --force"):
        main([str(tmp_path), "--seed", "1"])
    assert lists_of(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        ([], [], "has no audio in class folders"),
        (["a/x.wav", "a/y.wav"], [], "test would have no track of a"),
        (["a/X.wav", "a/x.wav", "a/z.wav"], [], "a/X.wav and a/x.wav would share one feature file"),
        (["a,b/x.wav"], [], "rename it without commas"),
        ([" a/x.wav"], [], "rename it without commas"),
        (["a/x\ny.wav"], [], "rename it without commas"),
        (["a/x\udcff.wav"], [], r"'a/x\udcff.wav' in"),
        (["a/x\udcff.wav"], [], "bytes that are not UTF-8"),
        (["a/x.wav"], ["--group_by", "/(artist)?x"], "matches nothing in a/x.wav"),
        (["a/x.wav"], ["--group_by", "("], "not a regular expression"),
        (["a/x.wav"], ["--group_by", "artist"], "matches nothing in a/x.wav"),
        (["a/x.wav"], ["--seed", "-1"], "--seed -1: must be 0 or more"),
    ],
)
def test_folders_that_make_no_lists(tmp_path, names, words, message):
    write_folder(tmp_path, names)
    with pytest.raises(UserError, match=re.escape(message)):
        main([str(tmp_path), *words])
    assert not list(tmp_path.glob("*_list.txt"))
    with pytest.raises(UserError, match="no folder at"):
        main([str(tmp_path / "nowhere")])


def test_made_lists_can_be_extracted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for genre in ("가요", "국악"):
        (tmp_path / "음악" / genre).mkdir(parents=True)
        for i in range(5):
            soundfile.write(
                tmp_path / "음악" / genre / f"{i}번.wav",
                sine(300 + 10 * i + 100 * len(genre.encode()) + ord(genre[0]) % 89),
                8000,
            )
    main(["음악"])
    words = ["--dataset_path", "음악", "--feature_length", "128", "--device", "cpu"]
    assert extract_main([*words, "--num_workers", "1"]) == 0
    train_main([*words, "--num_epochs", "1"])
    assert len(list(tmp_path.glob("runs/음악-Baseline-*/report.json"))) == 1


def test_existing_lists_can_be_kept(tmp_path, capsys):
    folder = write_folder(
        tmp_path, [f"{genre}/{i}.wav" for genre in ("jazz", "pop") for i in range(5)]
    )
    main([str(folder), "--keep"])
    lists = {path: path.read_bytes() for path in folder.glob("*_list.txt")}
    assert len(lists) == 3
    (folder / "jazz/new.wav").touch()
    main([str(folder), "--keep"])
    assert "keeps its lists of 10 tracks; 1 others are in no list" in capsys.readouterr().out
    assert lists == {path: path.read_bytes() for path in folder.glob("*_list.txt")}
    with pytest.raises(UserError, match="exists and differs: pass --force"):
        main([str(folder)])
    (folder / "valid_list.txt").unlink()
    with pytest.raises(UserError, match="exists and differs: pass --force"):
        main([str(folder), "--keep"])


@pytest.fixture
def no_ffmpeg(monkeypatch):
    """Only what libsndfile reads are tracks, whether ffmpeg is installed or not."""
    monkeypatch.setattr(make_lists, "SUFFIXES", READ_SUFFIXES)


@pytest.mark.skipif(os.name == "nt", reason="the command is for a Unix shell")
@pytest.mark.parametrize("name", ["music", "-x", 'it\'s $(touch owned) `touch owned`; "*"'])
def test_the_command_that_converts_what_ffmpeg_reads_works(tmp_path, monkeypatch, no_ffmpeg, name):
    monkeypatch.chdir(tmp_path)
    names = ["jazz/a b.m4a", "jazz/-n.M4A", "jazz/c.d.wma", "pop/$x.m4a", "pop/done.m4a"]
    folder = write_folder(tmp_path / name, [*names, "jazz/e.mp4a", "pop/top/f.m4a"])
    with pytest.raises(UserError, match="has no audio in class folders that can be read") as error:
        main(["--", name])
    write_folder(folder, ["pop/done.wav"])
    tool = tmp_path / "bin/ffmpeg"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ -e "$4" ] || cp -- "$3" "$4"\n', encoding="utf-8")
    tool.chmod(0o755)
    command = str(error.value).partition("convert it with `")[2].removesuffix("`")
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", command], check=True, env={**os.environ, "PATH": path})
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")}
    assert made == {"jazz/a b.wav", "jazz/-n.wav", "jazz/c.d.wav", "pop/$x.wav", "pop/done.wav"}
    assert not list(tmp_path.rglob("owned"))


def test_what_could_be_converted_is_named_once_it_is_not(tmp_path, no_ffmpeg, capsys):
    write_folder(tmp_path, [f"a/{i}.wav" for i in range(5)] + ["a/0.m4a", "a/x.wma"])
    main([str(tmp_path)])
    shown = capsys.readouterr().out.partition("to convert what ffmpeg reads: ")[2]
    assert "/*/*.wma; do ffmpeg" in shown and "m4a" not in shown


def test_unreadable_folders_are_named_and_the_others_listed(tmp_path, deny, capsys):
    write_folder(tmp_path, [f"{genre}/{i}.wav" for genre in ("a", "b", "c") for i in range(5)])
    deny(tmp_path / "b")
    deny(tmp_path / "c").chmod(0o444)  # names without what they are
    assert main([str(tmp_path)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(" cannot be read (Permission denied): ")[0] for line in errors] == [
        *(f"broken: {tmp_path / name}" for name in ("b", "c")),
    ]
    assert {genre_of(n) for names in lists_of(tmp_path).values() for n in names} == {"a"}
    with pytest.raises(UserError, match=r"b cannot be read \(Permission denied\)"):
        main([str(tmp_path / "b")])
