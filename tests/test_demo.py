import numpy as np
import pytest
import soundfile

from dataset.demo import (
    ARTISTS,
    SOUNDS,
    STYLES,
    artist_rng,
    compose,
    draw_artist,
    main,
    name_tags,
    perform,
    plan,
)
from hparams import HParams, UserError
from lists import choose_genres, load_lists
from tags import choose_classes, read_tags, split_tag

TUTORIAL = ["classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo data set of 80 tracks of 1 s."""
    folder = tmp_path_factory.mktemp("demo")
    main(["--path", str(folder), "--tracks_per_genre", "10", "--seconds", "1"])
    return folder


def test_it_is_laid_out_as_gtzan(demo):
    hparams = choose_genres(HParams(dataset_path=str(demo)))
    assert hparams.genres == TUTORIAL
    lists = load_lists(hparams)
    assert {split: len(names) for split, names in lists.items()} == {
        "train": 48,
        "valid": 16,
        "test": 16,
    }
    listed = {name for names in lists.values() for name in names}
    files = {path.relative_to(demo).as_posix() for path in demo.rglob("*.wav")}
    assert listed == files
    assert "jazz/jazz.00000.wav" in lists["train"]


def test_tracks_are_16_bit_mono_of_one_loudness(demo):
    for path in demo.rglob("*.wav"):
        info = soundfile.info(path)
        sizes = (info.samplerate, info.channels, info.subtype, info.frames)
        assert sizes == (22050, 1, "PCM_16", 22050)
        y, _ = soundfile.read(path)
        assert 20 * np.log10(np.sqrt(np.mean(y**2)) / 0.1) == pytest.approx(0, abs=1)
        assert np.abs(y).max() < 1


def test_the_whole_set_is_160_tracks_and_artists_stay_in_one_split():
    tracks = plan(20)
    counts = {split: sum(row[0] == split for row in tracks) for split in ARTISTS}
    assert counts == {"train": 96, "valid": 32, "test": 32}
    splits = {}
    for split, genre, artist, _, _ in tracks:
        splits.setdefault((genre, artist), set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert len({(genre, number) for _, genre, _, _, number in tracks}) == 160


def test_the_same_seed_gives_the_same_music_and_tracks_differ():
    first = compose("jazz", 0, 0, 2, 0)
    np.testing.assert_array_equal(first, compose("jazz", 0, 0, 2, 0))
    for other in (("jazz", 0, 1, 2, 0), ("jazz", 1, 0, 2, 0), ("jazz", 0, 0, 2, 1)):
        assert np.abs(compose(*other) - first).max() > 0.01


def test_tracks_of_one_artist_share_sounds_and_groove():
    made = [draw_artist("pop", artist_rng(0, 6, artist)) for artist in (0, 0, 1)]
    same = [str(made[0]) == str(other) for other in made[1:]]
    assert same == [True, False]


@pytest.mark.parametrize(
    "arguments",
    [("--seconds", "0"), ("--seconds", "nan"), ("--seed", "-1"), ("--tracks_per_genre", "15")],
)
def test_settings_that_cannot_work_are_refused(arguments, tmp_path):
    with pytest.raises(UserError, match=f"{arguments[0]} {arguments[1]}: must be"):
        main(["--path", str(tmp_path / "new"), *arguments])
    assert not (tmp_path / "new").exists()


def test_tempi_overlap():
    slowest, fastest = (sorted(style.tempo[i] for style in STYLES.values()) for i in (0, 1))
    assert slowest[-1] < fastest[0]


def test_each_track_has_its_tags(demo):
    hparams = choose_classes(HParams(dataset_path=str(demo), task="tagging"))
    table = read_tags(hparams)
    assert set(table.tracks) == {name for names in load_lists(hparams).values() for name in names}
    for tags in table.tracks.values():
        categories = sorted(split_tag(tag)[0] for tag in tags if not tag.startswith("instrument:"))
        assert categories == ["drums", "mode", "tempo"]
    assert {"tempo:slow", "tempo:medium", "tempo:fast", "mode:major", "mode:minor"} <= table.tags
    assert {tag.split(":")[1] for tag in table.tags if "instrument:" in tag} <= set(SOUNDS)


def test_tags_tell_what_is_heard():
    classical, metal = (name_tags(perform(genre, 0, 0, 4, 0)) for genre in ("classical", "metal"))
    assert "drums:no drums" in classical  # of which the level is 0
    assert {"drums:drums", "mode:minor"} <= set(metal)
    track = perform("jazz", 0, 0, 4, 0)
    track.beat = 60 / 95
    assert "tempo:medium" in name_tags(track)
    track.beat = 60 / 94.9
    assert "tempo:slow" in name_tags(track)
    before = set(track.heard)
    track.play("organ", 0, 4, 100, 0, 4, 1.0)  # after the end
    track.play("banjo", 0, 4, 0, 0, 4, 0.0)  # too soft to be heard
    assert track.heard == before
