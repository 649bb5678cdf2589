from itertools import pairwise

import numpy as np
import pytest
import soundfile

from dataset.demo import ARTISTS, main, name_tags, plan
from dataset.demo_songs import (
    MODES,
    PLAYERS,
    Song,
    bend,
    compose,
    draw_artist,
    perform,
    play_section,
)
from dataset.demo_sounds import SAMPLE_RATE, note
from dataset.demo_styles import SOUNDS, STYLES
from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.tags import split_tag

TUTORIAL = ["classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo data set of 80 tracks of 1 s."""
    folder = tmp_path_factory.mktemp("demo")
    main(["--path", str(folder), "--tracks_per_genre", "10", "--seconds", "1"])
    return folder


def test_it_is_laid_out_as_gtzan(demo):
    catalog = read_catalog(HParams(dataset_path=str(demo)))
    assert catalog.hparams.genres == TUTORIAL
    lists = catalog.lists
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
    made = [draw_artist("pop", np.random.default_rng([0, 6, artist])) for artist in (0, 0, 1)]
    same = [str(made[0]) == str(other) for other in made[1:]]
    assert same == [True, False]


def test_most_artists_are_of_their_genre_and_others_stand_between_two():
    borrowed = [parts_of_others(genre, artist) for genre in STYLES for artist in range(20)]
    crossovers = [parts for parts in borrowed if parts]
    assert 0.2 < len(crossovers) / len(borrowed) < 0.4
    assert all(set.intersection(*parts) for parts in crossovers)  # one genre has them all
    assert max(len(parts) for parts in crossovers) > 2
    seeds = [[0, 0, artist] for artist in range(20)]
    classical = [draw_artist("classical", np.random.default_rng(seed)) for seed in seeds]
    assert {artist.parts["drums"].level for artist in classical} == {0}


def parts_of_others(genre, artist):
    """For each part that an artist borrows: the genres that have its pattern."""
    rng = np.random.default_rng([0, list(STYLES).index(genre), artist])
    found = [
        {name for name in STYLES if part.patterns in getattr(STYLES[name], player).patterns}
        for player, part in draw_artist(genre, rng).parts.items()
    ]
    return [names for names in found if genre not in names]


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
    catalog = read_catalog(HParams(dataset_path=str(demo), task="tagging"))
    assert set(catalog.tags) == {name for names in catalog.lists.values() for name in names}
    used = set().union(*catalog.tags.values())
    for tags in catalog.tags.values():
        categories = sorted(split_tag(tag)[0] for tag in tags if not tag.startswith("instrument:"))
        assert categories == ["drums", "mode", "tempo"]
    assert {"tempo:slow", "tempo:medium", "tempo:fast", "mode:major", "mode:minor"} <= used
    assert {tag.split(":")[1] for tag in used if "instrument:" in tag} <= set(SOUNDS)


def test_tags_tell_what_is_heard():
    classical, metal = (name_tags(perform(genre, 0, 0, 8, 0)) for genre in ("classical", "metal"))
    assert "drums:no drums" in classical  # their level is 0
    assert {"drums:drums", "mode:minor"} <= set(metal)
    song = perform("jazz", 0, 0, 4, 0)
    song.beat = 60 / 95
    assert "tempo:medium" in name_tags(song)
    song.beat = 60 / 94.9
    assert "tempo:slow" in name_tags(song)
    before = set(song.heard)
    guitar = STYLES["jazz"].lead._replace(sounds="overdrive")
    song.play(guitar, 60, len(song.starts) - 2, 15, 4, 1.0)  # after the end
    song.play(guitar, 60, 0, 0, 4, 0.0)  # too soft to be heard
    assert song.heard == before


def play_alone(genre, player, form="cc", **changes):
    """A `Song` of a form with one audible player, whose draws are changed."""
    artist = draw_artist(genre, np.random.default_rng(0))
    for name in PLAYERS:
        level = getattr(STYLES[genre], name).level if name == player else 0
        artist.parts[name] = artist.parts[name]._replace(level=level)
    artist.parts[player] = artist.parts[player]._replace(**changes)
    bars = 4 * len(form)
    song = Song(artist, bars * 4 * 60 / artist.tempo, np.random.default_rng(0))
    for section in form:
        play_section(song, section)
    return song


def onsets(song, low, high, beats=1):
    """Share of the onset energy between two frequencies, by twelfth of a beat."""
    frames = np.lib.stride_tricks.sliding_window_view(song.wave[: song.length], 512)[::64]
    hz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE)
    bands = np.abs(np.fft.rfft(frames * np.hanning(512)))[:, (hz >= low) & (hz <= high)]
    power = (bands**2).sum(axis=1)
    rise = np.maximum(0, np.diff(np.log10(power + 0.01 * power.max())) - 0.1)
    seconds = (np.arange(len(rise)) * 64 + 384) / SAMPLE_RATE  # where a rise is steepest
    place = np.round(12 * seconds / song.beat).astype(int) % (12 * beats)
    return np.bincount(place, rise, 12 * beats) / rise.sum()


def near(shares, place):
    """The share at a place and its two neighbours."""
    return shares[[place - 1, place, (place + 1) % len(shares)]].sum()


@pytest.mark.parametrize("number", range(3))
def test_jazz_swings_and_disco_has_four_on_the_floor_and_hats_between(number):
    ride = STYLES["jazz"].drums.patterns[number]
    jazz = onsets(play_alone("jazz", "drums", patterns=ride), 5000, 11025)
    assert near(jazz, 8) > 0.1  # two thirds of a beat
    assert near(jazz, 6) < 0.05
    song = play_alone("disco", "drums", patterns=STYLES["disco"].drums.patterns[number])
    assert near(onsets(song, 5000, 11025), 6) > 0.4
    kick = next(line for line in song.artist.parts["drums"].patterns.split() if line[0] == "k")
    kicks = onsets(play_alone("disco", "drums", patterns=kick), 0, 100, beats=4)
    assert all(near(kicks, place) > 0.1 for place in (0, 12, 24, 36))


@pytest.mark.parametrize("pattern", STYLES["reggae"].comp.patterns)
def test_the_skank_of_reggae_is_off_the_beat_and_short(pattern):
    song = play_alone("reggae", "comp", patterns=pattern, echo=0, sounds="clean")
    skank = onsets(song, 1000, 5000)
    assert near(skank, 7) > 0.6
    assert near(skank, 0) < 0.05
    wave = np.abs(song.wave[: song.length])
    assert np.mean(wave > 0.05 * wave.max()) < 0.6


@pytest.fixture
def played(monkeypatch):
    """(bar, step, pitch, muted) of each audible note that a `Song` is given to play."""
    notes = []

    def play(song, part, pitch, bar, step, steps, level, muted=False):
        if level > 0:
            notes.append((bar, step, pitch, muted))

    monkeypatch.setattr(Song, "play", play)
    return notes


@pytest.mark.parametrize("pattern", STYLES["jazz"].bass.patterns)
def test_the_bass_of_jazz_walks_to_the_next_chord_by_a_semitone(pattern, played):
    play_alone("jazz", "bass", patterns=pattern)
    assert [hit[:2] for hit in played] == [
        (bar, step) for bar in range(8) for step in (0, 4, 8, 12)
    ]
    pitches = [pitch for _, _, pitch, _ in played]
    assert all((pitches[i] - pitches[i - 1]) % 12 in (1, 11) for i in range(4, 32, 4))


def test_a_chorus_comes_back_with_its_tune(played):
    play_alone("pop", "lead", "cvc")
    verse = [(bar - 4, *rest) for bar, *rest in played if 4 <= bar < 8]
    first = [hit for hit in played if hit[0] < 4]
    assert first == [(bar - 8, *rest) for bar, *rest in played if bar >= 8]
    assert first != verse


def test_a_chorus_is_higher_than_a_verse(played, monkeypatch):
    monkeypatch.setattr("dataset.demo_songs.compose_tune", lambda rng, variety: [[0] * 16] * 4)
    play_alone("pop", "lead", "vc")
    verse, chorus = ([hit[2] for hit in played if hit[0] // 4 == part] for part in (0, 1))
    assert np.mean(chorus) > np.mean(verse) + 2


def test_a_section_begins_with_a_crash_and_ends_with_a_fill():
    groove = STYLES["pop"].drums.patterns[0]
    song = play_alone("pop", "drums", patterns=groove)
    start, end = (int(song.when(bar, 0) * SAMPLE_RATE) for bar in (4, 5))
    bars = song.wave[: 8 * (end - start)].reshape(8, -1)
    bright = (np.diff(bars, n=2)[:, (end - start) // 16 : (end - start) // 8] ** 2).mean(axis=1)
    assert bright[[0, 4]].min() > 3 * np.median(bright)
    loud = (bars[:, -(end - start) // 8 :] ** 2).mean(axis=1)
    assert loud[[3, 7]].min() > 3 * np.median(loud)


def test_metal_is_distorted_and_mutes_its_strings(played):
    power = SOUNDS["power"]
    shares = []
    for sound in (power, power._replace(drive=0)):
        wave = note(sound, 40, 1.0)[: SAMPLE_RATE // 2]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        hz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
        shares.append([spectrum[band].sum() / spectrum.sum() for band in (hz < 60, hz > 1000)])
    distorted, clean = shares
    assert distorted[0] > 0.01 > 100 * clean[0]  # root and fifth, distorted together, beat
    assert distorted[1] > 1.5 * clean[1]
    assert (note(power, 40, 1, muted=True) ** 2).sum() < 0.2 * (note(power, 40, 1) ** 2).sum()
    play_alone("metal", "comp", patterns="m.mmx...m.mm1.x.", sounds="power")
    assert {muted for *_, muted in played} == {True, False}
    assert len({hit[:2] for hit in played}) == len(played)  # a power chord, not a chord of them


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_in_tune_and_does_not_click_or_alias(name):
    sound = SOUNDS[name]._replace(slide=0, vibrato=0, players=1, decay=0)
    for pitch in (33, 83):
        wave = note(SOUNDS[name], pitch, 0.5)
        assert np.isfinite(wave).all()
        assert np.abs(wave[[0, -1]]).max() < 0.01
        assert abs(wave.mean()) < 0.01
        frequency = 440 * 2 ** ((pitch - 69) / 12) / (1 + sound.power)
        steady = note(sound, pitch, 2)[SAMPLE_RATE // 2 :][: int(40 / frequency * SAMPLE_RATE)]
        spectrum = np.abs(np.fft.rfft(steady * np.blackman(len(steady)))) ** 2
        beside = np.arange(len(spectrum)) % 40
        harmonic = spectrum[(beside < 4) | (beside > 36)].sum()
        assert spectrum.sum() - harmonic < 1e-4 * harmonic  # -40 dB


def test_chords_bend_the_scale():
    assert bend(MODES["minor"], "V") == (4, [0, 2, 3, 5, 7, 8, 11])
    assert bend(MODES["minor"], "bII") == (1, [0, 1, 3, 5, 7, 8, 10])
    assert bend(MODES["major"], "VI") == (5, [1, 2, 4, 5, 7, 9, 11])
    for style in STYLES.values():
        for mode, progressions in style.progressions.items():
            for numeral in " ".join(progressions).split():
                degree, scale = bend(MODES[mode], numeral)
                third = (scale[(degree + 2) % 7] - scale[degree]) % 12
                assert third == (4 if numeral.lstrip("b").isupper() else 3)


def test_classical_swells_and_breathes():
    song = play_alone("classical", "comp", patterns="x...............", sounds="strings")
    bars = np.diff(song.starts)
    assert bars.max() > 1.1 * bars.min()
    edges = (song.starts[:5] * SAMPLE_RATE).astype(int)
    loud = [np.sqrt(np.mean(song.wave[a:b] ** 2)) for a, b in pairwise(edges)]
    assert max(loud[3] / loud[0], loud[0] / loud[3]) > 2
