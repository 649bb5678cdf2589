"""The sounds of the demo data set: notes, drums, and the recording of a track.

Waveforms are (samples,) at 22,050 Hz. `demo_songs.py` decides what is played.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from dataset.demo_styles import Sound

SAMPLE_RATE = 22050
LOUDNESS = 0.1  # root mean square of each track
PERIOD = 4096  # samples in a wave table


@lru_cache(1024)
def wave_tables(sound: Sound, frequency: float) -> NDArray[np.float32]:
    """Return one period of a sound as (2, PERIOD): harmonics 1 to 3, and the harmonics above.

    For a power chord, it is two periods of the root.
    """
    k = np.arange(1, 41)
    spectrum = np.zeros(PERIOD // 2 + 1, complex)
    for ratio in (2, 3, 4) if sound.power else (1,):
        np.add.at(spectrum, ratio * k, -1j * k**-sound.rolloff)
    if sound.drive:  # distort before the low-pass, as an amplifier does
        wave = np.fft.irfft(spectrum)
        spectrum = np.fft.rfft(np.tanh(sound.drive * wave / np.abs(wave).max()))
    hz = np.arange(len(spectrum)) * frequency / (1 + sound.power)
    spectrum /= 1 + (hz / sound.cutoff) ** 2
    if sound.formant:
        octaves = np.log2(np.maximum(hz, 1) / sound.formant)
        spectrum *= 1 + 4 * np.exp(-((octaves / 0.6) ** 2))
    spectrum[hz > 0.45 * SAMPLE_RATE] = 0  # anything above the Nyquist frequency would alias
    spectrum[0] = 0
    low = spectrum * (hz < 3.5 * frequency)
    tables = np.fft.irfft([low, spectrum - low])
    return (0.4 * tables / np.sqrt(np.mean(tables.sum(0) ** 2))).astype(np.float32)


def note(sound: Sound, pitch: int, seconds: float, muted: bool = False) -> NDArray[np.floating]:
    """Return a note (samples,) at a MIDI pitch; `muted` damps it like a player's palm."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    low, high = wave_tables(sound, frequency)
    t = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    vibrato = sound.vibrato * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.3)
    glide = np.exp2((sound.slide * np.exp(-t / 0.05) + vibrato) / 12)
    periods = np.cumsum(glide, dtype=np.float64) * (frequency / SAMPLE_RATE / (1 + sound.power))
    rate = 1 / 0.07 if muted else 1 / sound.decay if sound.decay else 0
    damped = np.exp(-rate * (sound.damping + muted) * t)
    wave = np.zeros_like(t)
    for player in range(sound.players):
        # neighbours in a section are 0.4 % apart in pitch and start at different phases
        tuned = PERIOD * (1 + 0.004 * (player - (sound.players - 1) / 2))
        index = (periods * tuned + 0.38 * PERIOD * player).astype(np.int32) % PERIOD
        wave = wave + (low[index] + high[index] * damped if rate else (low + high)[index])
    release = max(0.03, min(sound.attack, seconds / 3))
    edge = np.clip(np.minimum(t / sound.attack, (seconds - t) / release), 0, 1)
    return wave * edge * np.exp(-rate * t) / np.float32(sound.players**0.5)


def drum_kit(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Draw a drum kit: a sound (samples,) for each letter in drum patterns.

    k, b and d are kick drums (short, booming, clicking), s snare, i rim shot, h hat, o open hat,
    r ride, z crash, c clap, t and u toms.
    """
    t = np.arange(int(1.2 * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    noise = rng.standard_normal(len(t))
    bright = np.diff(noise, n=2, prepend=[0, 0]) / 2
    low, high = rng.uniform(42, 60), rng.uniform(160, 220)
    bell = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(3000, 9000, 6))
    thump = 1.6 * np.sin(2 * np.pi * (low * t - 6 * np.exp(-t / 0.03)))
    # a clap is three bursts, 11 ms apart; the last one rings
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
    return {letter: (fade * wave).astype(np.float32) for letter, wave in kit.items()}


def record(
    wave: NDArray[np.float32],
    room: tuple[float, float],
    equalizer: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Record a waveform (samples,): add a room, an equalizer and noise, and set the loudness.

    `room` is the level and the length in seconds of the reverberation, `equalizer` the gain in dB
    at 60, 250, 1000, 4000 and 10,000 Hz.
    """
    level, seconds = room
    t = np.arange(int(1.5 * seconds * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = level * 0.05 * rng.standard_normal(len(t)) * np.exp(-5 * t / seconds)
    echoes[0] = 1
    hz = np.maximum(20, np.fft.rfftfreq(65536, 1 / SAMPLE_RATE))
    decibel = np.interp(np.log2(hz), np.log2((60, 250, 1000, 4000, 10000)), equalizer)
    kernel = np.fft.irfft(np.fft.rfft(echoes, 65536) * 10 ** (decibel / 20))
    early = 2048  # samples: the equalizer has zero phase, so its kernel starts before the sound
    kernel = np.roll(kernel, early)[: len(echoes) + 2 * early].astype(np.float32)
    recorded = oaconvolve(wave, kernel)[early : early + len(wave)]
    recorded -= recorded.mean()
    recorded /= np.sqrt(np.mean(recorded**2))
    recorded += 10 ** rng.uniform(-3, -1.7) * rng.standard_normal(len(recorded))
    return np.tanh(LOUDNESS * recorded)
