"""Synthesizes the embedded data set, so that the pipeline runs before any download.

    python dataset/demo.py

Writes `dataset/demo`, laid out as GTZAN is: the tutorial's 8 genres, 20 tracks of 30 s each, 22,050
Hz mono 16-bit, split 12/4/4; and `tags.csv`: tempo, mode, drums and instruments of each. A genre is
a `Style`: tempo, swing, drum, bass and chord patterns, progressions and sounds to draw from. Tracks
come in artists of two, who share their draws (sounds, grooves, recording) and never cross splits.
An artist borrows now and then from another genre, and tempi overlap, so no single rule tells the
genres apart. The same seed gives the same files.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import oaconvolve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script sees its own folder only

from hparams import UserError, run_script
from manifest import write_atomic, write_text
from parallel import run_jobs
from tags import format_tags

SAMPLE_RATE = 22050
TRACKS_PER_ARTIST = 2
ARTISTS = {"train": 3, "valid": 1, "test": 1}  # for every 10 tracks of a genre
LOUDNESS = 0.1  # root mean square of every track
BORROWED = 0.05  # how often an artist takes a part from another genre
TEMPI = {"slow": 95, "medium": 120, "fast": np.inf}  # beats a minute, below which a tempo is so
MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


class Sound(NamedTuple):
    """An instrument's tone: harmonics k with levels k ** -rolloff, and how it begins and ends."""

    rolloff: float
    attack: float  # s
    decay: float = 0  # s until the first harmonic falls to 1/e; 0: sustained
    damping: float = 0  # how much faster each higher harmonic decays
    vibrato: float = 0  # depth, share of the frequency
    drive: float = 0  # distortion
    power: bool = False  # the fifth sounds with it, as in a power chord


SOUNDS = {
    "piano": Sound(1.3, 0.004, 1.2, 0.5),
    "epiano": Sound(2.2, 0.006, 1.6, 1.0),
    "guitar": Sound(1.0, 0.003, 0.5, 0.6),
    "banjo": Sound(0.6, 0.002, 0.18, 0.3),
    "strings": Sound(1.1, 0.12, vibrato=0.004),
    "fiddle": Sound(0.9, 0.05, vibrato=0.008),
    "flute": Sound(2.4, 0.06, vibrato=0.006),
    "sax": Sound(0.8, 0.03, vibrato=0.005),
    "organ": Sound(1.5, 0.01),
    "synth": Sound(0.9, 0.01, 0.6, 0.2),
    "pad": Sound(1.6, 0.2),
    "power": Sound(0.8, 0.003, drive=4, power=True),
    "overdrive": Sound(0.7, 0.01, vibrato=0.006, drive=3),
    "upright": Sound(1.5, 0.01, 0.45, 0.8),
    "electric": Sound(1.2, 0.005, 0.8, 0.4),
    "sub": Sound(3.0, 0.01, 1.2),
    "pick": Sound(0.7, 0.003, 0.6, 0.1, drive=2),
}


class Style(NamedTuple):
    """What a genre draws from. Patterns have a character a sixteenth, four a beat.

    drums: kick (k), snare (s), hat (h), open hat (o), ride (r), clap (c); one pattern a line.
    bass: root (r), third (t), fifth (f), octave (o). chords: all notes (x) or one by one (a).
    """

    tempo: tuple  # beats a minute, lowest and highest
    beats: tuple  # in a bar
    swing: float  # where in a beat its second half begins
    modes: tuple
    progressions: tuple  # degrees of the scale, one a bar
    chord_size: int
    drums: tuple
    bass: tuple
    bass_sounds: tuple
    chords: tuple
    chord_sounds: tuple
    lead: float  # how often a melody plays a note, an eighth
    lead_sounds: tuple
    levels: tuple  # of drums, bass, chords and lead in the mix


BACKBEAT = "k:x.......x....... s:....x.......x... h:x.x.x.x.x.x.x.x."
FOUR_FLOOR = "k:x...x...x...x... s:....x.......x... o:..x...x...x...x."
STYLES = {
    "classical": Style(
        (60, 140), (3, 4), 0.5, ("major", "minor"), ((0, 3, 4, 0), (0, 5, 3, 4), (0, 1, 4, 0)), 3,
        ("",), ("r...............", "r.......f......."), ("strings", "upright"),
        ("x...............", "a.a.a.a.a.a.a.a.", "x.......x......."), ("strings", "piano"),
        0.6, ("strings", "flute", "piano"),
        (0, 0.5, 0.9, 0.8),
    ),
    "country": Style(
        (75, 150), (4,), 0.54, ("major",), ((0, 3, 0, 4), (0, 0, 3, 4), (0, 4, 3, 0)), 3,
        ("k:x.......x....... s:....x.......x... h:..xx..xx..xx..xx", BACKBEAT),
        ("r.......f.......", "r...f...r...f..."), ("upright", "electric"),
        ("....x.......x...", "..x...x...x...x.", "a.a.a.a.a.a.a.a."), ("guitar", "banjo"),
        0.5, ("fiddle", "banjo", "guitar"),
        (0.5, 0.6, 0.9, 0.7),
    ),
    "disco": Style(
        (95, 140), (4,), 0.5, ("minor", "major"), ((0, 5, 3, 4), (0, 6, 5, 6), (0, 3, 0, 3)), 4,
        (FOUR_FLOOR, FOUR_FLOOR + " c:....x.......x..."),
        ("r.o.r.o.r.o.r.o.", "r.or..o.r.or.fo."), ("electric", "pick"),
        ("..x...x...x...x.", "x..x..x...x.x..."), ("strings", "guitar", "epiano"),
        0.35, ("strings", "synth", "sax"),
        (1.0, 0.7, 0.6, 0.6),
    ),
    "hiphop": Style(
        (70, 115), (4,), 0.58, ("minor",), ((0, 0, 5, 5), (0, 3, 0, 3), (0, 0, 0, 0)), 4,
        ("k:x.....x...x..... s:....x.......x... h:x.x.x.x.x.x.x.xx",
         "k:x..x......x..x.. c:....x.......x... h:x.xxx.x.x.xxx.x."),
        ("r.....r...r.....", "r..r......f....."), ("sub", "electric"),
        ("x...............", "x.....x........."), ("epiano", "pad", "piano"),
        0.2, ("synth", "flute", "epiano"),
        (1.2, 1.3, 0.5, 0.3),
    ),
    "jazz": Style(
        (80, 180), (4, 4, 3), 0.66, ("major", "minor"), ((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4)),
        4, ("r:x...x.x.x...x.x. h:....x.......x...", "r:x...x.x.x...x.x. k:x......... s:......x.."),
        ("r...t...f...t...", "r...f...o...f..."), ("upright",),
        ("..x.......x.....", "x.....x........."), ("piano", "guitar", "epiano"),
        0.65, ("sax", "piano", "flute"),
        (0.6, 0.8, 0.5, 0.8),
    ),
    "metal": Style(
        (85, 175), (4,), 0.5, ("minor",), ((0, 0, 5, 6), (0, 5, 0, 6), (0, 1, 0, 6)), 1,
        ("k:x.x.x.x.x.x.x.x. s:....x.......x... r:x...x...x...x...",
         "k:x.xxx.xxx.xxx.xx s:....x.......x... o:x...x...x...x..."),
        ("r.r.r.r.r.r.r.r.", "r.rrr.rrr.rrr.rr"), ("pick",),
        ("x.x.x.x.x.x.x.x.", "x.xxx.xxx.xxx.xx", "x.......x......."), ("power",),
        0.3, ("overdrive",),
        (0.8, 0.7, 1.2, 0.6),
    ),
    "pop": Style(
        (80, 135), (4,), 0.5, ("major", "minor"), ((0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 5, 4)), 3,
        (BACKBEAT, FOUR_FLOOR, "k:x..x..x...x..... s:....x.......x... h:xxxxxxxxxxxxxxxx"),
        ("r.r.r.r.r.r.r.r.", "r.......r......."), ("electric", "sub"),
        ("x.......x.......", "a.a.a.a.a.a.a.a.", "x..x..x.x..x..x."), ("pad", "piano", "synth"),
        0.5, ("synth", "sax", "guitar"),
        (0.8, 0.5, 0.8, 0.8),
    ),
    "reggae": Style(
        (65, 110), (4,), 0.56, ("major", "minor"), ((0, 3, 0, 4), (0, 1, 0, 1), (0, 4, 3, 4)), 3,
        ("k:........x....... s:........x....... h:x.x.x.x.x.x.x.x.",
         "k:x.......x....... c:........x....... h:..x...x...x...x."),
        ("r..r....f..t....", "....r.t.f...r..."), ("sub", "electric"),
        ("....x.......x...", "..x...x...x...x."), ("organ", "guitar"),
        0.25, ("organ", "sax", "guitar"),
        (0.5, 1.4, 0.7, 0.4),
    ),
}  # fmt: skip


def artist_rng(seed, genre_number, artist_number):
    """The generator of an artist's draws, the same for all of its tracks."""
    return np.random.default_rng([seed, genre_number, artist_number])


def draw_artist(genre, rng):
    """One choice of each kind from the genre's style, some of them from another genre's."""
    style = STYLES[genre]
    drawn = {
        "genre": genre,
        "swing": style.swing,
        "chord_size": style.chord_size,
        "lead": style.lead,
    }
    drawn["levels"] = np.multiply(style.levels, 10 ** (rng.uniform(-3, 3, 4) / 20))
    drawn["tempo"] = rng.uniform(*style.tempo)
    drawn["beats"] = int(rng.choice(style.beats))
    drawn["recording"] = rng.uniform(-2.5, 2.5, 5)  # dB at the points of an equalizer
    drawn["room"] = rng.uniform(0.05, 0.5), rng.uniform(0.2, 1.2)  # level, seconds
    for part in (("drums",), ("bass", "bass_sounds"), ("chords", "chord_sounds"), ("lead_sounds",)):
        source = STYLES[str(rng.choice(list(STYLES)))] if rng.random() < BORROWED else style
        for name in part:
            drawn[name] = str(rng.choice(getattr(source, name)))
    return drawn


def note(sound, pitch, seconds):
    """A tone (samples,) of a sound at a MIDI pitch."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    t = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    depth = sound.vibrato / (2 * np.pi * 5.5)
    phase = 2 * np.pi * frequency * (t + depth * np.sin(2 * np.pi * 5.5 * t))
    wave = np.zeros_like(t)
    for k in range(1, min(12, int(0.45 * SAMPLE_RATE / frequency)) + 1):
        level = k**-sound.rolloff
        if sound.decay:
            level = level * np.exp(t * (-(1 + sound.damping * (k - 1)) / sound.decay))
        wave += level * np.sin(k * phase)
        if sound.power:
            wave += 0.8 * level * np.sin(1.5 * k * phase)
    if sound.drive:
        wave = np.tanh(sound.drive * wave)
    edge = np.minimum(t / sound.attack, (seconds - t) / 0.03)
    return wave * np.clip(edge, 0, 1)


def drum_kit(rng):
    """The sounds of a drum kit (samples,), by their letters in patterns."""
    t = np.arange(int(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.standard_normal(len(t))
    bright = np.diff(noise, n=2, prepend=[0, 0]) / 2
    low, high = rng.uniform(42, 60), rng.uniform(160, 220)
    bell = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(3000, 9000, 6))
    return {
        "k": 1.6 * np.sin(2 * np.pi * (low * t - 6 * np.exp(-t / 0.03))) * np.exp(-t / 0.12),
        "s": (0.6 * noise + np.sin(2 * np.pi * high * t)) * np.exp(-t / rng.uniform(0.05, 0.12)),
        "h": 0.3 * bright * np.exp(-t / 0.025),
        "o": 0.3 * bright * np.exp(-t / 0.12),
        "r": (0.08 * bell + 0.15 * bright) * np.exp(-t / 0.2),
        "c": 0.7 * noise * (np.exp(-t / 0.07) - np.exp(-t / 0.004)),
    }


class Track:
    """A track being composed: the waveform so far, and where its beats fall."""

    def __init__(self, artist, seconds, rng):
        self.artist = artist
        self.rng = rng
        self.beat = 60 / (artist["tempo"] * rng.uniform(0.92, 1.08))  # s
        self.key = int(rng.integers(12))
        self.mode = str(rng.choice(STYLES[artist["genre"]].modes))
        self.progression = rng.choice(STYLES[artist["genre"]].progressions)
        self.kit = drum_kit(rng)
        self.wave = np.zeros(int((seconds + 2) * SAMPLE_RATE), dtype=np.float32)
        self.length = int(seconds * SAMPLE_RATE)  # in samples, of what is kept
        self.notes = {}
        self.heard = set()

    def place(self, name, sound, bar, step, level):
        """Add a sound of an instrument at a sixteenth of a bar, a little off as players are."""
        beat, part = divmod(step / 4, 1)
        swing = self.artist["swing"]
        part = part * 2 * swing if part < 0.5 else swing + (part - 0.5) * 2 * (1 - swing)
        second = (bar * self.artist["beats"] + beat + part) * self.beat
        start = int(max(0, second + self.rng.normal(0, 0.004)) * SAMPLE_RATE)
        room = self.wave[start : start + len(sound)]
        room += (level * self.rng.uniform(0.8, 1.1) * sound[: len(room)]).astype(np.float32)
        if level > 0 and start < self.length:
            self.heard.add(name)

    def play(self, name, degree, octave, bar, step, steps, level):
        """Add a note: a degree of the scale, in an octave (4: that of middle C), for sixteenths."""
        turn, index = divmod(degree, 7)
        pitch = 12 * (octave + 1 + turn) + self.key + MODES[self.mode][index]
        key = name, pitch, steps
        if key not in self.notes:
            self.notes[key] = note(SOUNDS[name], pitch, min(4, steps * self.beat / 4 + 0.05))
        self.place(name, self.notes[key], bar, step, level)


def hits(pattern, steps):
    """The (step, sixteenths until the next, character) of a pattern in a bar of `steps`."""
    starts = [i for i, character in enumerate(pattern[:steps]) if character != "."]
    return [(i, j - i, pattern[i]) for i, j in zip(starts, [*starts[1:], steps])]


def play_drums(track, bar):
    """A bar of drums, with a fill at the end of every fourth."""
    steps, level = 4 * track.artist["beats"], track.artist["levels"][0]
    for line in track.artist["drums"].split():
        letter, pattern = line.split(":")
        for step, _, _ in hits(pattern, steps):
            track.place("drums", track.kit[letter], bar, step, level)
    if bar % 4 == 3 and track.artist["drums"]:
        for step in range(steps - 4, steps):
            track.place("drums", track.kit["s"], bar, step, 0.5 * level)


def play_bass(track, bar, degree):
    """A bar of the bass line."""
    artist = track.artist
    for step, steps, letter in hits(artist["bass"], 4 * artist["beats"]):
        tone = degree + {"r": 0, "t": 2, "f": 4, "o": 7}[letter]
        track.play(
            artist["bass_sounds"], tone, 1 + (track.key < 4), bar, step, steps, artist["levels"][1]
        )


def play_chords(track, bar, degree):
    """A bar of chords, whole or one note at a time."""
    artist = track.artist
    low = 2 if artist["chord_sounds"] == "power" else 3
    tones = [degree + 2 * i for i in range(artist["chord_size"])]
    level = artist["levels"][2] / len(tones) ** 0.5
    for step, steps, letter in hits(artist["chords"], 4 * artist["beats"]):
        for tone in tones if letter == "x" else [tones[(step // 2) % len(tones)]]:
            track.play(artist["chord_sounds"], tone, low, bar, step, steps, level)


def play_lead(track, bar, degree):
    """A bar of melody: a walk along the scale that comes home to the chord on each beat."""
    rng, artist = track.rng, track.artist
    tone = degree + int(rng.choice((0, 2, 4)))
    for step in range(0, 4 * artist["beats"], 2):
        if rng.random() < artist["lead"]:
            steps = int(rng.choice((2, 2, 4)))
            track.play(artist["lead_sounds"], tone, 4, bar, step, steps, artist["levels"][3])
        tone += int(rng.integers(-2, 3))
        if step % 4 == 2:
            tone = degree + int(rng.choice((0, 2, 4, 7)))


def record(wave, artist, rng):
    """The finished waveform: room, equalizer and noise of the artist's recording, loudness."""
    level, seconds = artist["room"]
    t = np.arange(int(1.5 * seconds * SAMPLE_RATE)) / SAMPLE_RATE
    room = level * 0.05 * rng.standard_normal(len(t)) * np.exp(-5 * t / seconds)
    room[0] = 1
    wave = oaconvolve(wave, room)[: len(wave)]
    spectrum = np.fft.rfft(wave)
    hz = np.maximum(20, np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE))
    decibel = np.interp(np.log2(hz), np.log2((60, 250, 1000, 4000, 10000)), artist["recording"])
    wave = np.fft.irfft(spectrum * 10 ** (decibel / 20), len(wave))
    wave /= np.sqrt(np.mean(wave**2))
    wave += 10 ** rng.uniform(-3, -1.7) * rng.standard_normal(len(wave))
    return np.tanh(LOUDNESS * wave)


def perform(genre, artist_number, track_number, seconds, seed):
    """A `Track` with all its parts, as it sounds before it is recorded."""
    genre_number = list(STYLES).index(genre)
    artist = draw_artist(genre, artist_rng(seed, genre_number, artist_number))
    rng = np.random.default_rng([seed, genre_number, artist_number, 1 + track_number])
    track = Track(artist, seconds, rng)
    parts = ()
    for bar in range(int(np.ceil(seconds / (track.beat * artist["beats"])))):
        if bar % 4 == 0:  # a new section: who plays
            likely = {play_drums: 0.9, play_bass: 0.9, play_chords: 0.95, play_lead: 0.65}
            parts = [part for part, chance in likely.items() if rng.random() < chance]
            parts = parts or [play_chords]
        degree = int(track.progression[bar % 4])
        for part in parts:
            part(track, bar, degree) if part is not play_drums else part(track, bar)
    return track


def compose(genre, artist_number, track_number, seconds, seed):
    """The waveform (samples,) of a track: float64 in [-1, 1]."""
    return finish(perform(genre, artist_number, track_number, seconds, seed))


def finish(track):
    """The recorded waveform (samples,) of a `Track`."""
    return record(track.wave[: track.length], track.artist, track.rng)


def name_tags(track):
    """The tags of a `Track`: tempo, mode, drums or none, and each instrument that is heard."""
    tempo = next(name for name, most in TEMPI.items() if 60 / track.beat < most)
    drums = "drums" if "drums" in track.heard else "no drums"
    instruments = sorted(track.heard - {"drums"})
    own = [f"tempo:{tempo}", f"mode:{track.mode}", f"drums:{drums}"]
    return own + [f"instrument:{name}" for name in instruments]


def write_track(job):
    """Compose one track into its file, (path, arguments of `perform`); returns its tags."""
    path, arguments = job
    track = perform(*arguments)
    wave = finish(track)
    write_atomic(
        path, lambda file: soundfile.write(file, wave, SAMPLE_RATE, "PCM_16", format="WAV")
    )
    return name_tags(track)


def plan(tracks_per_genre):
    """Every track as (split, genre, artist, number within artist, number within genre)."""
    tens, rest = divmod(tracks_per_genre, 10)
    if rest or tens < 1:
        raise UserError(f"--tracks_per_genre {tracks_per_genre}: must be 10, 20, 30 ...")
    artists = [split for split, count in ARTISTS.items() for _ in range(count * tens)]
    return [
        (split, genre, artist, track, artist * TRACKS_PER_ARTIST + track)
        for genre in STYLES
        for artist, split in enumerate(artists)
        for track in range(TRACKS_PER_ARTIST)
    ]


def parse(argv):
    """The command line's settings."""
    parser = argparse.ArgumentParser(
        description="Synthesize the demo data set.", allow_abbrev=False
    )
    parser.add_argument("--path", default="dataset/demo", help="folder to write [dataset/demo]")
    parser.add_argument("--tracks_per_genre", type=int, default=20, help="10, 20, 30 ... [20]")
    parser.add_argument("--seconds", type=float, default=30, help="length of a track [30]")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other music [0]")
    parser.add_argument("--num_workers", type=int, default=0, help="threads (0: one a core) [0]")
    return parser.parse_args(argv)


def main(argv=None):
    """Write the tracks, their tags, then the lists that name them."""
    args = parse(argv)
    if not 1 <= args.seconds <= 600:
        raise UserError(f"--seconds {args.seconds:g}: must be 1 to 600")
    for name in ("seed", "num_workers"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name} {getattr(args, name)}: must be 0 or more")
    tracks = plan(args.tracks_per_genre)
    names = [f"{genre}/{genre}.{number:05d}.wav" for _, genre, _, _, number in tracks]
    jobs = [
        (Path(args.path, name), (genre, artist, track, args.seconds, args.seed))
        for name, (_, genre, artist, track, _) in zip(names, tracks)
    ]
    tags = list(run_jobs(write_track, jobs, args.num_workers, "Compose"))
    write_text(Path(args.path, "tags.csv"), format_tags(dict(zip(names, tags))))
    for split in ARTISTS:
        lines = [f"{name}\n" for name, row in zip(names, tracks) if row[0] == split]
        text = "".join(lines).encode()
        write_atomic(Path(args.path, f"{split}_list.txt"), lambda file, text=text: file.write(text))
        print(f"{split}: {len(lines)} tracks")
    print(f"{args.path}: {len(tracks)} tracks of {args.seconds:g} s, {len(STYLES)} genres")


if __name__ == "__main__":
    run_script(main)
