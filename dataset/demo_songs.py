"""The songs of the demo data set: artists, harmony, and five players.

A song consists of sections with fills between them. The players are drums, bass, comp (chords),
color (joins in some sections) and lead (a tune). The songs of one artist share their sounds,
grooves and recording, drawn from the `Style` of a genre.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset.demo_sounds import SAMPLE_RATE, drum_kit, note, record
from dataset.demo_styles import SECTIONS, SOUNDS, STYLES, Part

CROSSOVER = 0.4  # probability that an artist takes parts from a second genre
MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii")
ACCENTS = {"X": 1.25, "-": 0.35, "m": 0.9, "w": 0.8}  # levels in patterns; 1 for other characters
PLAYERS = ("drums", "bass", "comp", "color", "lead")

Hit = tuple[int, int, str]  # step, sixteenths to the next hit or the bar's end, character


class Artist(NamedTuple):
    """What the tracks of one artist share."""

    genre: str
    tempo: float  # beats per minute
    beats: int  # per bar
    equalizer: NDArray[np.float64]  # (5,) dB, see `record`
    room: tuple[float, float]  # level and seconds of the reverberation
    parts: dict[str, Part]  # by player, with one sound and one pattern each


def draw_artist(genre: str, rng: np.random.Generator) -> Artist:
    """Draw an artist of a genre; crossover artists take about half of their parts from another.

    Borrowed parts keep the level of the artist's own genre: classical music stays without drums.
    """
    style = STYLES[genre]
    tempo, beats = rng.uniform(*style.tempo), int(rng.choice(style.beats))
    equalizer = rng.uniform(-5, 5, 5)
    room = rng.uniform(0.05, 0.5), rng.uniform(0.2, 1.2)
    riff = int(rng.integers(12))  # patterns of bass and chords that belong together
    second = STYLES[str(rng.choice(list(STYLES)))] if rng.random() < CROSSOVER else style
    parts = {}
    for name in PLAYERS:
        own = getattr(style, name)
        part = own if rng.random() < 0.5 else getattr(second, name)
        number = riff if name in ("bass", "comp") else int(rng.integers(12))
        parts[name] = part._replace(
            sounds=str(rng.choice(part.sounds)),
            patterns=part.patterns[number % len(part.patterns)],
            level=own.level * 10 ** (rng.uniform(-5, 5) / 20),
        )
    return Artist(genre, tempo, beats, equalizer, room, parts)


def bend(scale: Sequence[int], numeral: str) -> tuple[int, list[int]]:
    """Return the degree of a chord's root (0: the tonic), and the scale (7,) adapted to the chord.

    The chord is a Roman numeral: V in minor raises the leading tone, bII flattens the root.
    """
    name = numeral.lstrip("b")
    degree, bent = NUMERALS.index(name.lower()), list(scale)
    if numeral != name:
        bent[degree] = MODES["major"][degree] - 1
    third = bent[degree] + (4 if name.isupper() else 3)
    bent[(degree + 2) % 7] = third - 12 * ((degree + 2) // 7)
    return degree, bent


class Song:
    """A song: its waveform so far, its harmony, and when its bars start."""

    def __init__(self, artist: Artist, seconds: float, rng: np.random.Generator):
        self.artist, self.rng = artist, rng
        self.style = STYLES[artist.genre]
        self.steps = 4 * artist.beats  # sixteenths per bar
        self.beat = 60 / (artist.tempo * rng.uniform(0.92, 1.08))  # s
        self.key = int(rng.integers(12))
        self.mode = str(rng.choice(list(self.style.progressions)))
        self.progression = str(rng.choice(self.style.progressions[self.mode])).split()
        self.kit = drum_kit(rng)
        self.length = int(seconds * SAMPLE_RATE)  # samples that `finish` keeps
        self.wave = np.zeros(int((seconds + 2) * SAMPLE_RATE), dtype=np.float32)
        lengths = artist.beats * self.beat * (1 + self.style.rubato * np.array((0, -1, 0, 1)))
        bars = int(np.ceil(seconds / lengths.min())) + 1
        self.starts = np.cumsum([0, *np.resize(lengths, bars)])  # s, of each bar
        self.first = 0  # first bar of the current section
        self.heard: set[str] = set()  # audible instruments
        self.note = cache(note)  # notes recur, and each takes long
        self.tune = cache(lambda section: compose_tune(rng, self.style.variety))

    def chord(self, bar: int) -> tuple[int, list[int]]:
        """Return the degree of a bar's chord, and the scale (7,) adapted to it."""
        numeral = self.progression[(bar - self.first) % len(self.progression)]
        return bend(MODES[self.mode], numeral)

    def when(self, bar: int, step: float) -> float:
        """Return the time (s) of a sixteenth of a bar, with swing."""
        swing, unit = self.style.swing
        whole, part = divmod(step / unit, 1)
        part = part * 2 * swing if part < 0.5 else swing + (part - 0.5) * 2 * (1 - swing)
        share = (whole + part) * unit / self.steps
        return self.starts[bar] + share * (self.starts[bar + 1] - self.starts[bar])

    def mix(
        self, name: str, sound: NDArray, bar: int, step: float, level: float, echo: float = 0
    ) -> None:
        """Add a sound (samples,) of an instrument; time and level vary as with human players."""
        second = max(0, self.when(bar, step) + self.rng.normal(0, 0.004))
        level *= self.rng.uniform(0.85, 1.1)
        for repeat in range(4 if echo else 1):
            start = int((second + 0.75 * repeat * self.beat) * SAMPLE_RATE)
            target, loudness = self.wave[start : start + len(sound)], level * echo**repeat
            target += np.float32(loudness) * sound[: len(target)]
            if loudness > 0 and start < self.length:
                self.heard.add(name)

    def play(
        self,
        part: Part,
        pitch: int,
        bar: int,
        step: int,
        steps: int,
        level: float,
        muted: bool = False,
    ) -> None:
        """Add a note of an artist's part that lasts `steps` sixteenths."""
        sound = SOUNDS[part.sounds]
        sound = sound._replace(cutoff=min(sound.cutoff, part.cutoff))
        wave = self.note(sound, pitch, min(4, steps * self.beat / 4 + 0.05), muted)
        if part.pump:
            beats = np.arange(len(wave)) / SAMPLE_RATE / self.beat + step / 4
            wave = wave * (1 - part.pump * np.exp(-(beats % 1) / 0.2)).astype(np.float32)
        self.mix(part.sounds, wave, bar, step, level, part.echo)


def hits(pattern: str, bar: int, steps: int) -> list[Hit]:
    """List the hits of a pattern in a bar of `steps` sixteenths."""
    first = 16 * (bar % max(1, len(pattern) // 16))
    pattern = pattern[first : first + steps]
    starts = [i for i, character in enumerate(pattern) if character != "."]
    return [(i, j - i, pattern[i]) for i, j in zip(starts, [*starts[1:], steps])]


def drum_hits(lines: str, bar: int, steps: int) -> list[tuple[str, float, str]]:
    """List (drum, step, character) for a drum pattern in a bar of `steps` sixteenths."""
    return [
        (drum, step + stroke, accent)
        for drum, pattern in (line.split(":") for line in lines.split())
        for step, _, accent in hits(pattern, bar, steps)
        for stroke in ((0, 0.5) if accent == "w" else (0,))
    ]


def play_drums(song: Song, bar: int, gain: float, fill: str) -> None:
    """Play a bar of drums: a crash if a section starts, the groove, then a fill ("": none)."""
    part = song.artist.parts["drums"]
    last = drum_hits(fill, 0, song.steps)
    until = min((step for _, step, _ in last), default=song.steps)
    groove = drum_hits(part.patterns, bar - song.first, song.steps)
    kept = [hit for hit in groove if hit[1] < until or hit[0] in "hor"]  # cymbals continue
    for letter, step, accent in kept + last:
        echo = part.echo if step >= until else 0
        level = part.level * gain * ACCENTS.get(accent, 1)
        song.mix("drums", song.kit[letter], bar, step, level, echo)
    if bar == song.first:
        song.mix("drums", song.kit["z"], bar, 0, gain * part.level)


def raise_to(low: int, pitch: int) -> int:
    """Move a pitch by octaves to the first one at or above `low`."""
    return low + (pitch - low) % 12


def pitches(song: Song, part: Part, bar: int, letter: str) -> list[int]:
    """Return the MIDI pitches for a character of a pattern."""
    degree, scale = song.chord(bar)
    upwards = [song.key + scale[i % 7] + 12 * (i // 7) for i in range(degree, degree + 9)]
    root = raise_to(part.low, upwards[0])
    if letter in "xX-" and SOUNDS[part.sounds].power:
        return [root]
    if letter in "xX-":  # all notes in one register, so that successive chords stay close
        return sorted(raise_to(part.low, upwards[int(number) - 1]) for number in part.voicing)
    if letter == "a":
        degree, scale = song.chord(bar + 1)
        return [raise_to(part.low, song.key + scale[degree]) + int(song.rng.choice((-1, 1)))]
    if letter.isdigit():
        return [root + upwards[int(letter) - 1] - upwards[0]]
    return [root + {"m": 0, "b": 1, "t": 6}[letter]]


def play_part(song: Song, name: str, bar: int, gain: float) -> None:
    """Play a bar of bass, comp or color: the pattern on the bar's chord."""
    part = song.artist.parts[name]
    for step, steps, letter in hits(part.patterns, bar - song.first, song.steps):
        tones = pitches(song, part, bar, letter)
        level = part.level * gain * ACCENTS.get(letter, 1) / len(tones) ** 0.5
        for pitch in tones:
            song.play(part, pitch, bar, step, min(steps, part.hold), level, letter in "m-")


def compose_tune(rng: np.random.Generator, variety: float) -> list[list[int]]:
    """Compose four bars of a tune, 16 degrees of the scale each: a motif and its variations."""
    bars: list[list[int]] = []
    for _ in range(4):
        if not bars or rng.random() < variety:
            motif = rng.choice((0, 2, 4)) + np.cumsum(rng.choice((-2, -1, -1, 0, 1, 1, 2), 16))
        bars.append(np.clip(motif, -3, 8).tolist())
    return bars


def harmonize(tones: Sequence[int], rhythm: list[Hit], degree: int) -> list[int]:
    """Move the long and the accented tones of a tune into the chord on `degree`."""
    line = []
    for tone, (step, steps, _) in zip(tones, rhythm):
        if step % 8 == 0 or steps >= 4:
            near = sorted(range(tone - 2, tone + 3), key=lambda other: abs(other - tone))
            tone = next(other for other in near if (other - degree) % 7 in (0, 2, 4))
        line.append(tone)
    return line


def tune_pitches(song: Song, section: str, bar: int, rhythm: list[Hit]) -> list[int]:
    """Return the MIDI pitches of a section's tune, the same whenever it returns."""
    tune = song.tune(section)[(bar - song.first) % 4]
    tones = [tone + 2 * (section == "c") for tone in tune]  # a chorus is higher
    degree, scale = song.chord(bar)
    tonic = raise_to(song.artist.parts["lead"].low, song.key)
    return [tonic + scale[i % 7] + 12 * (i // 7) for i in harmonize(tones, rhythm, degree)]


def play_lead(song: Song, section: str, bar: int, gain: float) -> None:
    """Play a bar of a section's tune."""
    part, number = song.artist.parts["lead"], (bar - song.first) % 4
    pattern = part.patterns
    if number == 3:  # the tune ends with a long note
        pattern = pattern[16 * (len(pattern) > 16) :][:8] + "x......."
    rhythm = hits(pattern, number, song.steps)
    line = tune_pitches(song, section, bar, rhythm)
    for i, (step, steps, _) in enumerate(rhythm):
        leads = steps < 4 and i + 1 < len(line) and song.rng.random() < song.style.chromatic
        pitch = line[i + 1] - 1 if leads else line[i]
        level = gain * part.level * (0.85 if step % 4 else 1.15)
        song.play(part, pitch, bar, step, min(steps, part.hold), level)


def play_section(song: Song, section: str) -> None:
    """Play a section of a song, which starts at bar `song.first`, with a fill at its end."""
    bars, gains = SECTIONS[section]
    swell = song.style.dynamics * song.rng.choice((-1, 1))  # dB
    fill = str(song.rng.choice(song.style.fills or ("",)))
    for number in range(min(bars, len(song.starts) - 1 - song.first)):
        bar, louder = song.first + number, 10 ** (swell * (number / (bars - 1) - 0.5) / 20)
        for name, gain in gains.items():
            if name == "drums":
                play_drums(song, bar, gain * louder, fill if number == bars - 1 else "")
            elif name == "lead":
                play_lead(song, section, bar, gain * louder)
            else:
                play_part(song, name, bar, gain * louder)
    song.first += bars


def perform(genre: str, artist_number: int, track_number: int, seconds: float, seed: int) -> Song:
    """Perform a song of an artist: the mix in `wave` and the instruments in `heard`.

    Numbers count the artists of the genre and the songs of the artist. The same arguments give the
    same song.
    """
    genre_number = list(STYLES).index(genre)
    artist = draw_artist(genre, np.random.default_rng([seed, genre_number, artist_number]))
    rng = np.random.default_rng([seed, genre_number, artist_number, 1 + track_number])
    song = Song(artist, seconds, rng)
    sections = itertools.cycle(str(rng.choice(song.style.forms)))
    while song.first < len(song.starts) - 1:
        play_section(song, next(sections))
    return song


def compose(
    genre: str, artist_number: int, track_number: int, seconds: float, seed: int
) -> NDArray[np.float32]:
    """Synthesize a track of the demo data set: (samples,) at 22,050 Hz, in [-1, 1].

    >>> compose("jazz", artist_number=0, track_number=0, seconds=2, seed=0).shape
    (44100,)
    """
    return finish(perform(genre, artist_number, track_number, seconds, seed))


def finish(song: Song) -> NDArray[np.float32]:
    """Return the recording (samples,) of a song."""
    room, equalizer = song.artist.room, song.artist.equalizer
    return record(song.wave[: song.length], room, equalizer, song.rng)
