"""Synthesizes the embedded data set, so that the pipeline runs before any download.

    python dataset/demo.py

Writes `dataset/demo`, laid out as GTZAN is: the tutorial's 8 genres, 20 tracks of 30 s each, 22,050
Hz mono 16-bit, split 12/4/4; and `tags.csv`: tempo, mode, drums and instruments of each. A genre is
a `Style` of `demo_styles.py`: grooves, bass lines, chords, tunes and sounds to draw from. A track
is a song in sections, with fills between them, of five players: drums, bass, chords (comp), what
joins them (color) and a tune (lead). Tracks come in artists of two, who share their draws (sounds,
grooves, recording) and never cross splits. Some artists stand between two genres, genres share
instruments and their tempi overlap, so no single rule tells them apart. The same seed gives the
same files.
"""

import argparse
import itertools
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import oaconvolve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script sees its own folder only

from dataset.demo_styles import SECTIONS, SOUNDS, STYLES
from support.errors import UserError, run_script
from support.files import write_atomic, write_text
from support.parallel import run_jobs
from tracks.tags import format_tags

SAMPLE_RATE = 22050
TRACKS_PER_ARTIST = 2
ARTISTS = {"train": 3, "valid": 1, "test": 1}  # for every 10 tracks of a genre
LOUDNESS = 0.1  # root mean square of every track
CROSSOVER = 0.4  # share of artists who take each part by a toss from a second genre
TEMPI = {"slow": 95, "medium": 120, "fast": np.inf}  # beats a minute, below which a tempo is so
MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii")
ACCENTS = {"X": 1.25, "-": 0.35, "m": 0.9, "w": 0.8}  # levels in patterns; of others 1
PLAYERS = ("drums", "bass", "comp", "color", "lead")
PERIOD = 4096  # samples of a wave table


def artist_rng(seed, genre_number, artist_number):
    """The generator of an artist's draws, the same for all of its tracks."""
    return np.random.default_rng([seed, genre_number, artist_number])


def draw_artist(genre, rng):
    """One choice of each kind from the genre's style; of a crossover artist some from another's.

    A part keeps its own genre's level: who has no drums takes none.
    """
    style = STYLES[genre]
    drawn = {"genre": genre, "tempo": rng.uniform(*style.tempo)}
    drawn["beats"] = int(rng.choice(style.beats))
    drawn["recording"] = rng.uniform(-5, 5, 5)  # dB at the points of an equalizer
    drawn["room"] = rng.uniform(0.05, 0.5), rng.uniform(0.2, 1.2)  # level, seconds
    riff = int(rng.integers(12))  # the n-th patterns of bass and chords go together
    second = STYLES[str(rng.choice(list(STYLES)))] if rng.random() < CROSSOVER else style
    for name in PLAYERS:
        own = getattr(style, name)
        part = own if rng.random() < 0.5 else getattr(second, name)
        number = riff if name in ("bass", "comp") else int(rng.integers(12))
        drawn[name] = part._replace(
            sounds=str(rng.choice(part.sounds)),
            patterns=part.patterns[number % len(part.patterns)],
            level=own.level * 10 ** (rng.uniform(-5, 5) / 20),
        )
    return drawn


@lru_cache(1024)
def wave_tables(sound, frequency):
    """A period of a sound's harmonics up to the third, and of those above: two (PERIOD,) arrays.

    A power chord's is two periods of its root. Distortion comes before the low-pass, as in an
    amplifier, and nothing is left above the Nyquist frequency to alias.
    """
    k = np.arange(1, 41)
    spectrum = np.zeros(PERIOD // 2 + 1, complex)
    for ratio in (2, 3, 4) if sound.power else (1,):
        np.add.at(spectrum, ratio * k, -1j * k**-sound.rolloff)
    if sound.drive:
        wave = np.fft.irfft(spectrum)
        spectrum = np.fft.rfft(np.tanh(sound.drive * wave / np.abs(wave).max()))
    hz = np.arange(len(spectrum)) * frequency / (1 + sound.power)
    spectrum /= 1 + (hz / sound.cutoff) ** 2
    if sound.formant:
        octaves = np.log2(np.maximum(hz, 1) / sound.formant)
        spectrum *= 1 + 4 * np.exp(-((octaves / 0.6) ** 2))
    spectrum[hz > 0.45 * SAMPLE_RATE] = 0
    spectrum[0] = 0
    low = spectrum * (hz < 3.5 * frequency)
    tables = np.fft.irfft([low, spectrum - low])
    return (0.4 * tables / np.sqrt(np.mean(tables.sum(0) ** 2))).astype(np.float32)


def note(sound, pitch, seconds, muted=False):
    """A tone (samples,) of a sound at a MIDI pitch, muted by the player's hand or not."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    low, high = wave_tables(sound, frequency)
    t = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    vibrato = sound.vibrato * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.3)
    glide = np.exp2((sound.slide * np.exp(-t / 0.05) + vibrato) / 12)
    samples = np.cumsum(glide, dtype=np.float64) * (frequency / SAMPLE_RATE / (1 + sound.power))
    rate = 1 / 0.07 if muted else 1 / sound.decay if sound.decay else 0
    damped = np.exp(-rate * (sound.damping + muted) * t)
    wave = 0
    for player in range(sound.players):
        tuned = PERIOD * (1 + 0.004 * (player - (sound.players - 1) / 2))
        index = (samples * tuned + 0.38 * PERIOD * player).astype(np.int32) % PERIOD
        wave = wave + (low[index] + high[index] * damped if rate else (low + high)[index])
    release = max(0.03, min(sound.attack, seconds / 3))
    edge = np.clip(np.minimum(t / sound.attack, (seconds - t) / release), 0, 1)
    return wave * edge * np.exp(-rate * t) / np.float32(sound.players**0.5)


def drum_kit(rng):
    """The sounds of a drum kit (samples,), by their letters in patterns.

    Kicks (k; b booms, d clicks), snare, rim shot (i), hat, open hat, ride, crash (z), clap, toms.
    """
    t = np.arange(int(1.2 * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    noise = rng.standard_normal(len(t))
    bright = np.diff(noise, n=2, prepend=[0, 0]) / 2
    low, high = rng.uniform(42, 60), rng.uniform(160, 220)
    bell = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(3000, 9000, 6))
    thump = 1.6 * np.sin(2 * np.pi * (low * t - 6 * np.exp(-t / 0.03)))
    burst = np.exp(-(t % 0.011) / 0.004) * (t < 0.033) + np.exp(-t / 0.07) * (t >= 0.033)
    strike = 0.3 * noise * np.exp(-t / 0.02)
    fall = 2 * np.exp(-t / 0.04)
    kit = {
        "k": thump * np.exp(-t / 0.12),
        "b": thump * np.exp(-t / 0.35),
        "d": thump * np.exp(-t / 0.07) + 0.5 * bright * np.exp(-t / 0.006),
        "s": (0.6 * noise + np.sin(2 * np.pi * high * t)) * np.exp(-t / rng.uniform(0.05, 0.12)),
        "i": (np.sin(2 * np.pi * 1700 * t) + 0.6 * noise) * np.exp(-t / 0.015),
        "h": 0.3 * bright * np.exp(-t / 0.025),
        "o": 0.3 * bright * np.exp(-t / 0.12),
        "r": (0.08 * bell + 0.15 * bright) * np.exp(-t / 0.2),
        "z": (0.05 * bell + 0.35 * bright) * np.exp(-t / 0.45),
        "c": 0.7 * noise * burst,
        "t": strike + np.sin(2 * np.pi * (high * 0.8 * t - fall)) * np.exp(-t / 0.15),
        "u": strike + np.sin(2 * np.pi * (high * 0.5 * t - fall)) * np.exp(-t / 0.2),
    }
    fade = np.minimum(1, (t[-1] - t) / 0.05)
    return {name: (fade * wave).astype(np.float32) for name, wave in kit.items()}


def bend(scale, numeral):
    """The degree of a chord's root, 0 the key's, and the scale (7,) bent to its Roman numeral.

    V in minor has the leading tone, bII a flat root.
    """
    name = numeral.lstrip("b")
    degree, scale = NUMERALS.index(name.lower()), list(scale)
    if numeral != name:
        scale[degree] = MODES["major"][degree] - 1
    third = scale[degree] + (4 if name.isupper() else 3)
    scale[(degree + 2) % 7] = third - 12 * ((degree + 2) // 7)
    return degree, scale


class Track:
    """A track being composed: the waveform so far, its harmony, and where its bars fall."""

    def __init__(self, artist, seconds, rng):
        self.artist, self.rng = artist, rng
        self.style = STYLES[artist["genre"]]
        self.steps = 4 * artist["beats"]  # sixteenths in a bar
        self.beat = 60 / (artist["tempo"] * rng.uniform(0.92, 1.08))  # s
        self.key = int(rng.integers(12))
        self.mode = str(rng.choice(list(self.style.progressions)))
        self.progression = str(rng.choice(self.style.progressions[self.mode])).split()
        self.kit = drum_kit(rng)
        self.wave = np.zeros(int((seconds + 2) * SAMPLE_RATE), dtype=np.float32)
        self.length = int(seconds * SAMPLE_RATE)  # in samples, of what is kept
        lengths = artist["beats"] * self.beat * (1 + self.style.rubato * np.array((0, -1, 0, 1)))
        bars = int(np.ceil(seconds / lengths.min())) + 1
        self.starts = np.cumsum([0, *np.resize(lengths, bars)])  # s, of each bar
        self.first = 0  # bar of the section
        self.notes, self.tunes, self.heard = {}, {}, set()

    def chord(self, bar):
        """The degree of a bar's chord, and its scale."""
        numeral = self.progression[(bar - self.first) % len(self.progression)]
        return bend(MODES[self.mode], numeral)

    def when(self, bar, step):
        """Seconds at which a sixteenth of a bar falls, with swing."""
        swing, unit = self.style.swing
        whole, part = divmod(step / unit, 1)
        part = part * 2 * swing if part < 0.5 else swing + (part - 0.5) * 2 * (1 - swing)
        share = (whole + part) * unit / self.steps
        return self.starts[bar] + share * (self.starts[bar + 1] - self.starts[bar])

    def place(self, name, sound, bar, step, level, echo=0):
        """Add a sound of an instrument, a little early or late, soft or loud, as players are."""
        second = max(0, self.when(bar, step) + self.rng.normal(0, 0.004))
        level *= self.rng.uniform(0.85, 1.1)
        for time in range(4 if echo else 1):
            self.mix(name, sound, second + 0.75 * time * self.beat, level * echo**time)

    def mix(self, name, sound, second, level):
        """Add a sound (samples,) of an instrument at a level, from a second on."""
        start = int(second * SAMPLE_RATE)
        room = self.wave[start : start + len(sound)]
        room += np.float32(level) * sound[: len(room)]
        if level > 0 and start < self.length:
            self.heard.add(name)

    def play(self, part, pitch, bar, step, steps, level, muted=False):
        """Add a note of a drawn `Part`, for sixteenths."""
        key = part.sounds, pitch, steps, muted, part.cutoff
        if key not in self.notes:
            sound = SOUNDS[part.sounds]
            sound = sound._replace(cutoff=min(sound.cutoff, part.cutoff))
            seconds = min(4, steps * self.beat / 4 + 0.05)
            self.notes[key] = note(sound, pitch, seconds, muted)
        sound = self.notes[key]
        if part.pump:
            beats = np.arange(len(sound)) / SAMPLE_RATE / self.beat + step / 4
            sound = sound * (1 - part.pump * np.exp(-(beats % 1) / 0.2)).astype(np.float32)
        self.place(part.sounds, sound, bar, step, level, part.echo)


def hits(pattern, bar, steps):
    """The (step, sixteenths until the next, character) of a pattern in a bar of `steps`."""
    first = 16 * (bar % max(1, len(pattern) // 16))
    pattern = pattern[first : first + steps]
    starts = [i for i, character in enumerate(pattern) if character != "."]
    return [(i, j - i, pattern[i]) for i, j in zip(starts, [*starts[1:], steps])]


def play_drums(track, bar, gain, fill):
    """A bar of drums, the end of which a fill, a drum pattern or "", takes over."""
    part = track.artist["drums"]
    last = drum_hits(fill, 0, track.steps)
    until = min((step for _, step, _ in last), default=track.steps)
    groove = drum_hits(part.patterns, bar - track.first, track.steps)
    kept = [hit for hit in groove if hit[1] < until or hit[0] in "hor"]  # cymbals go on
    for letter, step, accent in kept + last:
        echo = part.echo if step >= until else 0
        level = part.level * gain * ACCENTS.get(accent, 1)
        track.place("drums", track.kit[letter], bar, step, level, echo)


def drum_hits(lines, bar, steps):
    """The (drum, step, character) of a drum pattern in a bar."""
    found = []
    for line in lines.split():
        drum, pattern = line.split(":")
        for step, _, accent in hits(pattern, bar, steps):
            strokes = (0, 0.5) if accent == "w" else (0,)
            found += [(drum, step + stroke, accent) for stroke in strokes]
    return found


def pitches(track, part, bar, letter):
    """The MIDI pitches for a character of a pattern."""
    degree, scale = track.chord(bar)
    upwards = [track.key + scale[i % 7] + 12 * (i // 7) for i in range(degree, degree + 9)]
    root = raise_to(part.low, upwards[0])
    if letter in "xX-" and SOUNDS[part.sounds].power:
        return [root]
    if letter in "xX-":  # each note in the register, so that chords lie near each other
        return sorted(raise_to(part.low, upwards[int(number) - 1]) for number in part.voicing)
    if letter == "a":
        degree, scale = track.chord(bar + 1)
        return [raise_to(part.low, track.key + scale[degree]) + int(track.rng.choice((-1, 1)))]
    if letter.isdigit():
        return [root + upwards[int(letter) - 1] - upwards[0]]
    return [root + {"m": 0, "b": 1, "t": 6}[letter]]


def raise_to(low, pitch):
    """The first pitch from `low` on that is octaves away from `pitch`."""
    return low + (pitch - low) % 12


def play_part(track, name, bar, gain):
    """A bar of bass, comp or color: its pattern on the bar's chord."""
    part = track.artist[name]
    for step, steps, letter in hits(part.patterns, bar - track.first, track.steps):
        tones = pitches(track, part, bar, letter)
        level = part.level * gain * ACCENTS.get(letter, 1) / len(tones) ** 0.5
        for pitch in tones:
            track.play(part, pitch, bar, step, min(steps, part.hold), level, letter in "m-")


def compose_tune(rng, variety):
    """Four bars of a tune, degrees of the scale (16,) each: a motif, and what becomes of it."""
    bars = []
    for _ in range(4):
        if not bars or rng.random() < variety:
            motif = rng.choice((0, 2, 4)) + np.cumsum(rng.choice((-2, -1, -1, 0, 1, 1, 2), 16))
        bars.append(np.clip(motif, -3, 8).tolist())
    return bars


def tune_rhythm(pattern, number, steps):
    """The hits of a tune's bar; its fourth ends in a long note."""
    if number == 3:
        pattern = pattern[16 * (len(pattern) > 16) :][:8] + "x......."
    return hits(pattern, number, steps)


def harmonize(tones, rhythm, degree):
    """The degrees (hits,) of a tune, those that count, long or strong, moved into the chord."""
    line = []
    for tone, (step, steps, _) in zip(tones, rhythm):
        if step % 8 == 0 or steps >= 4:
            near = sorted(range(tone - 2, tone + 3), key=lambda other: abs(other - tone))
            tone = next(other for other in near if (other - degree) % 7 in (0, 2, 4))
        line.append(tone)
    return line


def play_lead(track, section, bar, gain):
    """A bar of a section's tune, the same whenever the section comes again; higher in a chorus."""
    rng, part, number = track.rng, track.artist["lead"], (bar - track.first) % 4
    if section not in track.tunes:
        track.tunes[section] = compose_tune(rng, track.style.variety)
    tones = [tone + 2 * (section == "c") for tone in track.tunes[section][number]]
    rhythm = tune_rhythm(part.patterns, number, track.steps)
    degree, scale = track.chord(bar)
    tonic = raise_to(part.low, track.key)
    line = [tonic + scale[i % 7] + 12 * (i // 7) for i in harmonize(tones, rhythm, degree)]
    for i, (step, steps, _) in enumerate(rhythm):
        leads = steps < 4 and i + 1 < len(line) and rng.random() < track.style.chromatic
        pitch = line[i + 1] - 1 if leads else line[i]
        level = gain * part.level * (0.85 if step % 4 else 1.15)
        track.play(part, pitch, bar, step, min(steps, part.hold), level)


def record(wave, artist, rng):
    """The finished waveform: room, equalizer and noise of the artist's recording, loudness."""
    level, seconds = artist["room"]
    t = np.arange(int(1.5 * seconds * SAMPLE_RATE)) / SAMPLE_RATE
    room = level * 0.05 * rng.standard_normal(len(t)) * np.exp(-5 * t / seconds)
    room[0] = 1
    hz = np.maximum(20, np.fft.rfftfreq(65536, 1 / SAMPLE_RATE))
    decibel = np.interp(np.log2(hz), np.log2((60, 250, 1000, 4000, 10000)), artist["recording"])
    kernel = np.fft.irfft(np.fft.rfft(room, 65536) * 10 ** (decibel / 20))
    early = 2048  # samples by which the equalizer, of no delay itself, begins before the sound
    kernel = np.roll(kernel, early)[: len(room) + 2 * early].astype(np.float32)
    wave = oaconvolve(wave, kernel)[early : early + len(wave)]
    wave -= wave.mean()
    wave /= np.sqrt(np.mean(wave**2))
    wave += 10 ** rng.uniform(-3, -1.7) * rng.standard_normal(len(wave))
    return np.tanh(LOUDNESS * wave)


def play_section(track, section):
    """Play a section of a song from bar `track.first` on: who plays in it, a fill at its end."""
    bars, gains = SECTIONS[section]
    swell = track.style.dynamics * track.rng.choice((-1, 1))  # dB
    fill = str(track.rng.choice(track.style.fills or ("",)))
    for number in range(min(bars, len(track.starts) - 1 - track.first)):
        bar, louder = track.first + number, 10 ** (swell * (number / (bars - 1) - 0.5) / 20)
        for name, gain in gains.items():
            if name == "drums":
                play_drums(track, bar, gain * louder, fill if number == bars - 1 else "")
                if number == 0:
                    level = gain * louder * track.artist["drums"].level
                    track.place("drums", track.kit["z"], bar, 0, level)
            elif name == "lead":
                play_lead(track, section, bar, gain * louder)
            else:
                play_part(track, name, bar, gain * louder)
    track.first += bars


def perform(genre, artist_number, track_number, seconds, seed):
    """A `Track` with all its parts, as it sounds before it is recorded."""
    genre_number = list(STYLES).index(genre)
    artist = draw_artist(genre, artist_rng(seed, genre_number, artist_number))
    rng = np.random.default_rng([seed, genre_number, artist_number, 1 + track_number])
    track = Track(artist, seconds, rng)
    form = str(rng.choice(track.style.forms))
    for section in itertools.cycle(form):
        if track.first >= len(track.starts) - 1:
            return track
        play_section(track, section)


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
