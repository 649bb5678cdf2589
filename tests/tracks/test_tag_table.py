"""Tags in `tags.csv`: what is read, what is an error, and which tags are learned."""

import dataclasses

import pytest
from conftest import GENRES, TAGS, listed, write_tags

from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.tags import read_tags


@pytest.mark.parametrize(
    "text",
    [
        "track,tag\njazz/jazz.00000.wav,a:b,loud\njazz/jazz.00001.wav,loud\njazz/jazz.00002.wav\n",
        "\ufeffjazz/jazz.00000.wav,a:b\r\n\r\njazz\\jazz.00000.wav, loud,\r\n"
        "jazz/jazz.00001.wav,loud,loud\r\njazz/jazz.00002.wav,\r\n",
        'Track, loud ,"a:b"\njazz/jazz.00000.wav,1,1\njazz/jazz.00001.wav, 1,0\n'
        "jazz/jazz.00002.wav,0,0",
    ],
)
def test_both_forms_tell_the_same(settings, data_set, text):
    write_tags(data_set, text)
    tags, tracks = read_tags(settings, set(listed(settings)))
    assert tags == {"a:b", "loud"}
    assert [tracks[f"jazz/jazz.0000{i}.wav"] for i in range(3)] == [
        {"a:b", "loud"},
        {"loud"},
        set(),
    ]
    assert len(tracks) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tags.csv names no track: write lines of track,tag,tag"),
        ("track,tag\n\n", "tags.csv names no track"),
        ("track,loud\n", "tags.csv names no track"),
        ("jazz/jazz.00000.wav\n", "no listed track has a tag"),
        (
            "jazz/jazz.00000.wav,a\njazz/gone.wav,a\n",
            "line 2: no list has the track 'jazz/gone.wav'",
        ),
        ("file,loud\njazz/jazz.00000.wav,1\n", "line 1: no list has the track 'file'"),
        ("jazz/jazz.00000.wav;a\n", "line 1: no list has the track 'jazz/jazz.00000.wav;a'"),
        (
            "jazz/jazz.00000.wav,0,1\n",
            "line 1: '0' cannot be a tag: .* need a first line track,tag,tag",
        ),
        ('jazz/jazz.00000.wav,"a,b"\n', "line 1: 'a,b' cannot be a tag: a tag has no comma"),
        ("track,a,\njazz/jazz.00000.wav,1,1\n", "line 1: '' cannot be a tag"),
        ("track,a,b,a\njazz/jazz.00000.wav,1,1,1\n", "line 1: repeats the tag a"),
        ("track,a,b\njazz/jazz.00000.wav,1,2\n", "line 2: b is '2', it must be 0 or 1"),
        ("track,a,b\njazz/jazz.00000.wav,1\n", "line 2: has 1 values, it must have 2, one per tag"),
        ("track,a\n" + 2 * "jazz/jazz.00000.wav,1\n", "line 3: the track .* already has a line"),
        ("track,a,b\njazz/jazz.00000.wav,1,0\n", "no listed track has b: remove that, or pass"),
        ('jazz/jazz.00000.wav,"a\n', "tags.csv is not valid CSV"),
    ],
)
def test_a_file_that_is_wrong_is_one_message(settings, data_set, text, message):
    write_tags(data_set, text)
    with pytest.raises(UserError, match=message):
        read_catalog(dataclasses.replace(settings, task="tagging"))


def test_tags_that_are_not_utf_8(settings, data_set):
    write_tags(data_set, "jazz/jazz.00000.wav,재즈\n", "cp949")
    with pytest.raises(UserError, match="tags.csv is not UTF-8 .*: save it as UTF-8"):
        read_tags(settings, set(listed(settings)))


def test_tags_are_filled_in_sorted_and_can_be_chosen(tagging):
    assert read_catalog(tagging).hparams.classes == TAGS
    some = dataclasses.replace(tagging, tags=["pitch:low", "dull"])
    assert read_catalog(some).hparams.classes == ["pitch:low", "dull"]
    with pytest.raises(UserError, match="has loud: .* pass --tags with some of dull, pitch:high"):
        read_catalog(dataclasses.replace(tagging, tags=["loud"]))
    assert read_catalog(dataclasses.replace(tagging, task="genre")).hparams.classes == list(GENRES)


def test_tags_that_no_track_in_use_has_are_left_out(tagging, capsys):
    chosen = read_catalog(dataclasses.replace(tagging, genres=["classical", "jazz"])).hparams
    assert chosen.tags == ["dull", "pitch:low", "pitch:middle"]
    assert "left out because no listed track has them: pitch:high\n" in capsys.readouterr().out


def test_tracks_without_a_line_have_no_tags_and_are_counted(settings, data_set, capsys):
    write_tags(data_set, "jazz/jazz.00000.wav,loud\n")
    read_catalog(dataclasses.replace(settings, task="tagging"))
    assert "23 of 24 tracks are not in " in capsys.readouterr().out
