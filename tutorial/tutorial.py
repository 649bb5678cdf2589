# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Music meets deep learning
#
# This notebook leads from sound waves to a network that names the genre of a track. It takes an
# afternoon:
#
# 1. [Music as data](#1.-Music-as-data)
# 2. [How a computer stores sound](#2.-How-a-computer-stores-sound): sampling, quantizing
# 3. [How people hear sound](#3.-How-people-hear-sound): sensation, perception, cognition
# 4. [Waves](#4.-Waves): what physics measures, and what we hear
# 5. [The Fourier transform](#5.-The-Fourier-transform): Euler, magnitude, phase, DFT
# 6. [STFT](#6.-STFT): windows, hops, and the price of a long or a short window
# 7. [Inputs for a model](#7.-Inputs-for-a-model): decibels, octaves, mel, MFCC, CQT
# 8. [Tasks](#8.-Tasks): the questions we ask about music
# 9. [Convolutional networks](#9.-Convolutional-networks): filter, padding, stride, pooling
# 10. [Three kinds of CNN](#10.-Three-kinds-of-CNN): 1-D, 2-D, sample-level
# 11. [The pipeline](#11.-The-pipeline): the scripts of this project, one by one
# 12. [Results](#12.-Results)
#
# You need to know sines, vectors and some Python. Every cell is short and calls the functions that
# the scripts call, so you see here what the scripts compute. Next to most of them, a cell computes
# the same with **librosa**, the way you would type it yourself, and `compare` checks that both
# agree.
#
# Change a number and run a cell again: that is how you learn most. Each section ends with
# exercises; click *Answer* to unfold a solution. Cells with imports and small helpers are folded,
# and you can skip them.
#
# The whole notebook runs in two to three minutes on two cores and downloads nothing. The audio
# players work in Jupyter; code-hosting sites show only the pictures.
#
# *`make notebook` builds this page from `tutorial.py`. Edit that file, not this one.*

# %% jupyter={"source_hidden": true} tags=["hide-input"]
# The slides call matrices log_S and mel_S.
# ruff: noqa: N816
import dataclasses
import io
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from IPython.display import HTML, Audio
from IPython.utils.capture import capture_output
from torch.nn import functional

sys.path.insert(  # Jupyter starts in the notebook's folder, one below the project
    0, str(next(p for p in (Path.cwd(), *Path.cwd().parents) if Path(p, "hparams.py").exists()))
)

import classic
import feature_extraction
import predict
import train_test
from audio.chunks import network_feature
from audio.effects import add_noise, change_speed, percussive, pitch_shift, shift, time_stretch
from audio.features import (
    SCALES,
    cepstra,
    count_frames,
    cqt,
    decibels,
    extract_feature,
    hann,
    log_mel,
    mel_edges,
    mel_filters,
    mel_spectrogram,
    mfcc,
    stft,
)
from audio.plots import (
    WINDOWS,
    audible_cqt,
    formula_mels,
    own_settings,
    plot_chunks,
    plot_feature,
    plot_mel_filters,
    plot_mel_scales,
    plot_waveform,
    plot_window,
    plot_window_spectrum,
    stft_settings,
)
from audio.reading import load_audio
from data_manager import get_dataloader
from dataset import demo
from hparams import HParams
from model import build_model
from support.canvas import BLUE, GREEN, MAP, ORANGE, RED
from tracks.catalog import read_catalog
from tracks.lists import SPLITS, load_list
from tracks.manifest import feature_file
from tracks.sentence import describe_tags
from train_test import Runner, set_seed
from training.build import count_parameters
from training.checkpoint import read_history
from training.index import nearest
from training.plots import find_wrong, plot_confusion_matrix, plot_learning_curves, plot_timeline
from training.trained_run import TrainedRun, embed_track

os.chdir(sys.path[0])
warnings.filterwarnings("ignore", message="IProgress")  # librosa asks for progress bars
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None, "metadata": {"Software": None}}
plt.rcParams |= {"figure.constrained_layout.use": True, "figure.dpi": 80, "axes.titlesize": 11}

# %% jupyter={"source_hidden": true} tags=["hide-input"]
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def play(y, rate=22050):
    """Return a player for a waveform (samples,), with its peak at half of full scale."""
    kind = "MP3" if rate in MP3_RATES else "WAV"  # an MP3 is a tenth of the bytes
    file = io.BytesIO()
    soundfile.write(file, 0.5 * y / np.abs(y).max(), rate, format=kind)
    player = Audio(file.getvalue())
    player.mimetype = "audio/mpeg" if kind == "MP3" else "audio/wav"
    return player


def play_all(waveforms, rate=22050):
    """Return a table of players, one for each named waveform."""
    players = {name: play(y, rate)._repr_html_() for name, y in waveforms.items()}
    rows = [f"<tr><td>{name}</td><td>{player}</td></tr>" for name, player in players.items()]
    return HTML(f"<table>{''.join(rows)}</table>")


def compare(ours, theirs, tolerance):
    """Print the largest difference of two arrays; fail if it exceeds the tolerance."""
    assert np.shape(ours) == np.shape(theirs), f"{np.shape(ours)} is not {np.shape(theirs)}"
    difference = np.abs(ours - theirs).max()
    print(f"{np.shape(ours)}: largest difference {difference:.0e}, allowed {tolerance:.0e}")
    assert difference <= tolerance


# %% [markdown]
# ## 1. Music as data
#
# A **composer** writes a piece of music. A **performer** plays it on an **instrument**, in a
# **room** where it is recorded, and a **listener** hears it. Each step leaves a trace in the sound,
# and a model receives all of them at once, as one row of numbers. Speech is mostly one voice; music
# stacks many instruments on top of each other, like the tracks of a mixing desk.
#
# The pipeline was written for **GTZAN**: clips of 30 s, mono, 22,050 Hz, 16 bit. One clip takes
# about 1.3 MB, and each genre has a folder. The slides use 730 clips in 8 genres. GTZAN must not be
# redistributed, so this notebook uses `dataset/demo`, which has the same layout: 160 tracks that a
# program composes, plays on synthetic instruments and records in synthetic rooms. The next cell
# makes them when it first runs.

# %%
hparams = HParams(dataset_path="dataset/demo")
with capture_output():
    if not Path(hparams.dataset_path, "test_list.txt").exists():
        demo.main(["--path", hparams.dataset_path])
for split in SPLITS:
    names = load_list(f"{split}_list.txt", hparams)
    print(f"{split}: {len(names)} tracks, {names[0]} ... {names[-1]}")

# %% [markdown]
# Three lists divide the tracks: **train** for learning, **valid** for decisions during training,
# and **test** for one final score. No artist appears in two lists. Otherwise a model could do well
# by recognizing artists instead of genres: this is called *data leakage*.
#
# Listen to a second and a half of each genre:

# %%
excerpts = {}
for genre in demo.STYLES:
    y = load_audio(f"dataset/demo/{genre}/{genre}.00000.wav", hparams)
    excerpts[genre] = y[22050 * 8 : 22050 * 19 // 2]
play_all(excerpts)

# %% [markdown]
# ### Exercises
#
# **1.1** How many tracks does each genre have in `train_list.txt`? Why should the numbers be
# similar?
#
# <details><summary>Answer</summary>
#
# Each genre has 12. If one genre had most of the tracks, a model that always answers with it would
# look good, and the loss would care little about the others.
#
# ```python
# from collections import Counter
#
# print(Counter(name.split("/")[0] for name in load_list("train_list.txt", hparams)))
# ```
#
# </details>
#
# **1.2** A script that reads files should know what is in them. Find all sample rates, channel
# counts and durations of the data set, without loading any audio.
#
# <details><summary>Answer</summary>
#
# `soundfile.info` reads the header only.
#
# ```python
# infos = [soundfile.info(path) for path in Path("dataset/demo").rglob("*.wav")]
# print({(info.samplerate, info.channels, round(info.duration, 2)) for info in infos})
# ```
#
# </details>

# %% [markdown]
# ## 2. How a computer stores sound
#
# A microphone turns air pressure into a voltage. That voltage is *continuous* in time and in value.
# A computer needs numbers, and gets them in three steps:
#
# - **sampling**: measure the voltage at equal steps of time;
# - **quantizing**: round each measurement to one of finitely many levels;
# - **encoding**: write the level as binary digits.
#
# `load_audio` reads a file and returns the *waveform*: an array of `float32` values in [-1, 1].
# Here it has 22,050 samples per second and one channel.

# %%
SR = hparams.sample_rate
track = "dataset/demo/jazz/jazz.00006.wav"
y = load_audio(track, hparams)
print(y[:5], y.dtype, y.shape)
print(f"{len(y)} samples / {SR} Hz = {len(y) / SR:.1f} s")

# %% [markdown]
# Now the same with librosa. `librosa.load` takes a file name and returns the waveform and the
# sample rate. The waveform is `float32`, and the rate is 22,050 Hz unless you pass another `sr`.

# %%
y_librosa, sr = librosa.load(track, sr=22050)
print(y_librosa, sr)
compare(y, y_librosa, 1e-6)

# %% [markdown]
# We will work with three seconds of this track. The picture shows *time* on the x-axis and
# *amplitude* on the y-axis.

# %%
clip = y[8 * SR : 11 * SR]
plot_waveform(clip, SR, plt.subplots(figsize=(10, 2))[1])
plt.show()

# %% [markdown]
# With librosa, `waveshow` draws a waveform (older versions called it `waveplot`), and IPython's
# `Audio` plays one.

# %%
fig = plt.figure(figsize=(10, 2))
librosa.display.waveshow(clip, sr=sr)
plt.show()
Audio(clip, rate=sr)

# %% [markdown]
# Three seconds are 66,150 samples, far more than a picture has columns. Zoom in, and you see single
# samples. They are all the computer has.

# %%
start = int(np.abs(clip).argmax())  # the loudest sample
few = clip[start : start + 110]
plt.figure(figsize=(10, 2))
plt.plot(np.arange(len(few)) * 1000 / SR, few, "o-", color=BLUE, markersize=3, linewidth=0.5)
plt.xlabel("time (ms)")
plt.ylabel("amplitude")
plt.title(f"{len(few)} samples, one every {1000 / SR:.4f} ms")
plt.show()

# %% [markdown]
# ### How many samples per second?
#
# The **sampling theorem** (Nyquist, Shannon): if all frequencies of a signal lie *below half the
# sample rate*, its samples determine it completely. A higher frequency does not just disappear. It
# comes back as a lower one, its **alias**. Below, a tone of 7,000 Hz is sampled 8,000 times per
# second. A tone of 8,000 - 7,000 = 1,000 Hz has exactly the same samples.

# %%
n, rate = np.arange(9), 8000
fast = np.cos(2 * np.pi * 7000 * n / rate)
slow = np.cos(2 * np.pi * 1000 * n / rate)
t = np.linspace(0, 8 / rate, 500)
plt.figure(figsize=(10, 2))
plt.plot(1000 * t, np.cos(2 * np.pi * 7000 * t), color=ORANGE, label="7,000 Hz")
plt.plot(1000 * t, np.cos(2 * np.pi * 1000 * t), color=BLUE, label="1,000 Hz")
plt.plot(1000 * n / rate, fast, "ko", label="samples of both")
plt.xlabel("time (ms)")
plt.ylabel("amplitude")
plt.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
compare(fast, slow, 1e-12)

# %% [markdown]
# To lower a sample rate, first remove every frequency that the new rate cannot hold. `load_audio`
# and `librosa.load` do that; `y[::2]`, every other sample, does not.
#
# | sample rate | holds frequencies below | used for |
# |---|---|---|
# | 8,000 Hz | 4,000 Hz | telephone |
# | 16,000 Hz | 8,000 Hz | speech |
# | 22,050 Hz | 11,025 Hz | music for models: half the data, most of the sound |
# | 44,100 Hz | 22,050 Hz | CD: young ears hear up to about 20,000 Hz |

# %%
low = load_audio(track, HParams(sample_rate=11025))
low_librosa, _ = librosa.load(track, sr=11025)
compare(low, low_librosa, 1e-6)

# %% [markdown]
# ### How many levels?
#
# $b$ bits give $2^b$ levels. Rounding makes an error of at most half a step, and we hear this error
# as noise. Each extra bit halves the error, which improves the ratio of signal to noise by about 6
# dB (section 7 explains decibels). For a sine at full scale the ratio is $6.02\,b + 1.76$ dB.


# %%
def quantize(y, bits):
    """Round a waveform (samples,) to the centres of 2 ** bits equal steps from -1 to 1."""
    step = 2 / 2**bits
    return (np.floor(y / step) + 0.5) * step


sine = 0.99 * np.sin(2 * np.pi * 441.7 * np.arange(SR) / SR)
for bits in (16, 8, 4):
    noise = quantize(sine, bits) - sine
    snr = 10 * np.log10(np.mean(sine**2) / np.mean(noise**2))
    rule = 6.02 * bits + 1.76
    print(f"{bits:2d} bits, {2**bits:6,d} levels: {snr:5.1f} dB (rule: {rule:.1f} dB)")

# %% [markdown]
# Here is the clip in 5 bits. You know this sound from old video games:

# %%
play(quantize(clip[: 3 * SR // 2], 5))

# %% [markdown]
# The last step is encoding. A 16-bit WAV file stores two bytes per sample, after a header of 44
# bytes that describes the format.

# %%
info = soundfile.info(track)
print(info.samplerate, "Hz,", info.channels, "channel,", info.subtype)
print(f"{44 + 2 * info.frames:,} bytes expected, {Path(track).stat().st_size:,} on disk")

# %% [markdown]
# ### Exercises
#
# **2.1** Halve the sample rate the wrong way, with `clip[::2]`, and compare it by ear with
# `librosa.resample`. What is different?
#
# <details><summary>Answer</summary>
#
# In the first version everything above 5,512 Hz folds back as a harsh, metallic hiss: the alias of
# the ride cymbal. The second version is only duller.
#
# ```python
# right = librosa.resample(clip, orig_sr=SR, target_sr=SR // 2)
# display(play_all({"every other sample": clip[::2], "resampled": right}, SR // 2))
# ```
#
# </details>
#
# **2.2** The rule predicts 49.9 dB for 8 bits. Measure the ratio for the clip instead of a sine.
# Why is it lower?
#
# <details><summary>Answer</summary>
#
# The clip does not use the full scale: its mean power is far lower than the sine's, while the noise
# stays the same. That is why recordings are made as loud as possible without clipping.
#
# ```python
# for bits in (16, 8, 4):
#     error = quantize(clip, bits) - clip
#     print(f"{bits} bits: {10 * np.log10(np.mean(clip**2) / np.mean(error**2)):.1f} dB")
# ```
#
# </details>
#
# **2.3** Load only the three seconds of the clip from the file, with the arguments `offset` and
# `duration` of `librosa.load`. Check that the result equals `clip`.
#
# <details><summary>Answer</summary>
#
# ```python
# part, _ = librosa.load(track, sr=SR, offset=8, duration=3)
# compare(clip, part, 1e-6)
# ```
#
# </details>

# %% [markdown]
# ## 3. How people hear sound
#
# Sound passes through three parts of the ear. The outer ear collects it. Three bones in the middle
# ear transmit it. The inner ear contains the *cochlea*, a coiled tube filled with fluid, which
# separates frequencies and turns them into nerve impulses. Then the brain takes over. If we see
# hearing as information processing, it has three stages. We want a computer to go through them too:
#
# | stage | people | computer, in this notebook |
# |---|---|---|
# | **sensation** | the ear encodes sound | sampling, STFT |
# | **perception** | pitch, timbre, loudness, duration | mel, dB, MFCC, CQT |
# | **cognition** | scale and key, rhythm, structure, memory, emotion | networks, to some extent |
#
# The right column is an analogy, not a claim. It shows what a good representation is for: the less
# a model has to discover about hearing, the fewer tracks it needs to learn about music.
#
# ### Exercises
#
# **3.1** How small a step in pitch can you hear? Play 440 Hz followed by 441, 443, 446 and 455 Hz.
#
# <details><summary>Answer</summary>
#
# Most people hear the step at 443 or 446 Hz, that is less than 1 %. A semitone, the smallest step
# on a piano, is 6 %.
#
# ```python
# seconds = np.arange(SR // 2) / SR
# first = np.sin(2 * np.pi * 440 * seconds)
# steps_of_pitch = {
#     f"440 Hz, then {hz} Hz": np.concatenate([first, np.sin(2 * np.pi * hz * seconds)])
#     for hz in (441, 443, 446, 455)
# }
# display(play_all(steps_of_pitch))
# ```
#
# </details>
#
# **3.2** How long must a tone be before it has a pitch? Play 440 Hz for 2, 5, 10 and 50 ms.
#
# <details><summary>Answer</summary>
#
# At 2 ms, less than one period, you hear a click. From about 10 ms, four or five periods, you hear
# a pitch. Section 6 shows that a spectrum needs about five periods too.
#
# ```python
# short_tones = {}
# for milliseconds in (2, 5, 10, 50):
#     short = np.zeros(SR // 2)
#     count = SR * milliseconds // 1000
#     short[:count] = np.hanning(count) * np.sin(2 * np.pi * 440 * np.arange(count) / SR)
#     short_tones[f"{milliseconds} ms"] = short
# display(play_all(short_tones))
# ```
#
# </details>

# %% [markdown]
# ## 4. Waves
#
# Sound is air that is compressed and thinned in turn. Each bit of air only moves back and forth.
# The pattern travels, at about 343 m per second. It carries energy, but no matter. A periodic wave
# has
#
# - an **amplitude**: how much the pressure changes (the *intensity* is proportional to its square);
# - a **frequency**: the number of vibrations per second, in hertz (Hz);
# - a **phase**: the position within the period at time 0, as an angle.
#
# One vibration takes a **period**, $T = 1/f$. The sine $\sin(\omega t)$ has the period
# $2\pi/\omega$, so $\omega = 2\pi f$.

# %%
for hz, name in ((27.5, "lowest piano key"), (440, "tuning fork"), (4186, "highest piano key")):
    period = f"period {1000 / hz:6.3f} ms = {SR / hz:5.1f} samples"
    print(f"{hz:6.1f} Hz ({name}): {period}, wavelength {343 / hz:5.2f} m")

# %% [markdown]
# ### Physical and psychological quantities
#
# Tones differ in three ways, and each has two names: one for what physics measures and one for what
# we hear.
#
# | physics | property of the wave | hearing |
# |---|---|---|
# | **intensity** | how far it swings | **loudness** |
# | **frequency** | how fast it repeats | **pitch** |
# | **tone colour** | the shape of one period, and how it changes | **timbre** |
#
# The two columns belong together but are not the same. Ten times the intensity (10 dB) sounds only
# about twice as loud, and a low tone needs more intensity than a tone at 3,000 Hz to sound equally
# loud. Equal steps of pitch are equal *ratios* of frequency. Timbre is the difference that remains
# between two tones of equal loudness, pitch and duration.


# %%
def tone(hz, levels=(1,), seconds=0.5):
    """Add sines at 1, 2, 3 ... times a frequency with the given levels: (samples,)."""
    t = np.arange(int(seconds * SR)) / SR
    wave = sum(a * np.sin(2 * np.pi * k * hz * t) for k, a in enumerate(levels, start=1))
    return 0.2 * wave / np.sqrt(np.mean(wave**2))  # equal intensity for all levels


A4, bright = tone(440), tone(440, [1 / k for k in range(1, 11)])
pairs = {
    "intensity": (0.1 * A4, A4, "a tenth of the amplitude", "full amplitude"),
    "frequency": (A4, tone(880), "440 Hz", "880 Hz"),
    "tone colour": (A4, bright, "one sine", "ten sines: 440, 880, 1,320 ... Hz"),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 2.4), sharey=True)
for ax, (name, (first, second, *labels)) in zip(axes, pairs.items()):
    for wave, label, color in zip((first, second), labels, (ORANGE, BLUE)):
        ax.plot(np.arange(160) * 1000 / SR, wave[:160], color=color, label=label)
    ax.set(title=f"different {name}", xlabel="time (ms)", ylim=(-0.8, 1.4))
    ax.legend(loc="upper right", fontsize=9)
axes[0].set_ylabel("amplitude")
plt.show()
play_all({name: np.concatenate([first, second]) for name, (first, second, *_) in pairs.items()})

# %% [markdown]
# ### Complex waves
#
# The third tone is a **complex wave**: a sum of several sine waves. Almost all sounds are complex
# waves. If all frequencies are multiples of one frequency, the *fundamental*, they are its
# **harmonics**, and we hear one tone with the pitch of the fundamental. Real tones grow, fade and
# waver, and a part of their sound is not a tone at all. The general model therefore lets amplitude
# and phase change over time, and leaves a residual:
#
# $$x(n) \approx \sum_{k=1}^{K} a_k(n)\,\cos\big(\phi_k(n)\big) + e(n)$$
#
# $a_k(n)$ is the instantaneous amplitude of a sinusoid, $\phi_k(n)$ its instantaneous phase, and
# $e(n)$ the residual: breath, bow, drum. How many sinusoids does it take to build a shape? A square
# wave is the sum of the odd harmonics with amplitudes $4/(\pi k)$:

# %%
t = np.arange(1000) / 1000
square = np.where(t % 0.5 < 0.25, 1, -1)
figure, axes = plt.subplots(1, 3, figsize=(11, 2.2), sharey=True)
for ax, count in zip(axes, (1, 3, 15)):
    odd = np.arange(1, 2 * count, 2)[:, None]  # (sinusoids, 1)
    wave = (4 / (np.pi * odd) * np.sin(2 * np.pi * 2 * odd * t)).sum(0)
    ax.plot(t, square, color="gray")
    ax.plot(t, wave, color=BLUE)
    rest = np.mean((square - wave) ** 2)
    ax.set_title(f"{count} sinusoid{'s' * (count > 1)}: {rest:.0%} of the power is missing")
    ax.set_xlabel("time (s)")
axes[0].set_ylabel("amplitude")
plt.show()

# %% [markdown]
# ### Exercises
#
# **4.1** `tone` gives all tones the same intensity. Play 100 Hz, 1,000 Hz and 3,000 Hz. Which is
# the loudest?
#
# <details><summary>Answer</summary>
#
# 3,000 Hz, by far. Ears are most sensitive there, and small loudspeakers play 100 Hz badly.
#
# ```python
# display(play_all({f"{hz} Hz": tone(hz) for hz in (100, 1000, 3000)}))
# ```
#
# </details>
#
# **4.2** Build a tone from the harmonics 2 to 10 of 220 Hz, without the fundamental. Which pitch do
# you hear?
#
# <details><summary>Answer</summary>
#
# You still hear 220 Hz: the wave still repeats 220 times per second. Telephones rely on this
# effect, as they transmit no voice fundamentals.
#
# ```python
# without = tone(220, [0] + [1 / k for k in range(2, 11)], 1)
# display(play_all({"harmonics 1 to 10": tone(220, [1 / k for k in range(1, 11)], 1),
#                   "harmonics 2 to 10": without}))
# ```
#
# </details>
#
# **4.3** A triangle wave has the odd harmonics with amplitudes $8/(\pi k)^2$ and alternating signs.
# How many sinusoids does it need until less than 1 % of its power is missing? And the square wave?
#
# <details><summary>Answer</summary>
#
# The triangle needs two. The square wave needs more than twenty, because a jump is much harder to
# build from sines than a corner.
#
# ```python
# for shape, powers in (("triangle", lambda k: (8 / (np.pi * k) ** 2) ** 2 / 2 / (1 / 3)),
#                       ("square", lambda k: (4 / (np.pi * k)) ** 2 / 2)):
#     missing = 1 - np.cumsum(powers(np.arange(1, 201, 2)))
#     print(f"{shape}: {np.argmax(missing < 0.01) + 1} sinusoids")
# ```
#
# </details>

# %% [markdown]
# ## 5. The Fourier transform
#
# Can we go back from the wave to its sinusoids? Yes. It takes one formula that combines sine and
# cosine.
#
# ### Euler's formula
#
# $$e^{i\theta} = \cos\theta + i\,\sin\theta$$
#
# This is a point at the angle $\theta$ on the unit circle of the complex plane. Let the angle grow
# with time, $\theta = 2\pi\frac{k}{T}t$, and the point goes around $k$ times in $T$ seconds. Its
# real part is a cosine and its imaginary part a sine, both with the frequency $k/T$.

# %%
theta = np.linspace(0, 2 * np.pi, 200)
point = np.exp(1j * np.pi / 3)
figure, (circle, parts) = plt.subplots(1, 2, figsize=(11, 2.8), width_ratios=[1, 2])
circle.plot(np.cos(theta), np.sin(theta), color="gray")
circle.plot([0, point.real], [0, point.imag], "o-", color=RED)
circle.plot([point.real] * 2, [0, point.imag], "--", color=GREEN)
circle.plot([0, point.real], [0, 0], "--", color=BLUE)
circle.set(aspect="equal", xlabel="real", ylabel="imaginary", title="a point at 60 degrees")
parts.plot(np.degrees(theta), np.cos(theta), color=BLUE, label="real part: cosine")
parts.plot(np.degrees(theta), np.sin(theta), color=GREEN, label="imaginary part: sine")
parts.axvline(60, color=RED)
parts.set(xlabel="angle (degrees)", xticks=range(0, 361, 60), title="one turn")
parts.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
print(f"exp(i pi/3) = {point:.4f} = {np.cos(np.pi / 3):.4f} + i {np.sin(np.pi / 3):.4f}")

# %% [markdown]
# ### How much of one frequency does a wave contain?
#
# $$A_k = \frac{1}{T}\int_{-T/2}^{T/2} f(t)\,\exp\!\Big(-i\,2\pi\frac{k}{T}t\Big)\,dt$$
#
# Read it from the inside. Multiply the wave by a point that goes around backwards, $k$ times in
# $T$, and take the mean. This *winds* the wave around the origin. If the wave has no part that
# repeats $k$ times, the winding is balanced and its mean is 0. If it has one, the loops lean to one
# side. Below, $f$ contains 5 periods with amplitude 1 and 8 periods with amplitude 0.5. (A real
# cosine with amplitude $a$ gives $a/2$. The other half is at $-k$, because
# $\cos\theta = (e^{i\theta} + e^{-i\theta})/2$.)

# %%
T = 1
t = np.linspace(-T / 2, T / 2, 2000, endpoint=False)
f = np.cos(2 * np.pi * 5 * t / T) + 0.5 * np.cos(2 * np.pi * 8 * t / T)
figure, axes = plt.subplots(1, 4, figsize=(11, 2.7), width_ratios=[1.4, 1, 1, 1])
axes[0].plot(t, f, color=BLUE)
axes[0].set(title="f(t)", xlabel="time (s)", ylabel="amplitude")
for ax, k in zip(axes[1:], (5, 6, 8)):
    wound = f * np.exp(-2j * np.pi * k * t / T)
    A = wound.mean()
    ax.plot(wound.real, wound.imag, color=BLUE, linewidth=0.8)
    ax.plot(A.real, A.imag, "o", color=RED)
    ax.set(title=f"k = {k}: |A| = {abs(A):.2f}", aspect="equal", xlabel="real")
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
axes[1].set_ylabel("imaginary")
plt.show()

# %% [markdown]
# ### Magnitude and phase
#
# The result is one complex number per frequency, $X = X_R + i X_I$. Its length is the strength of
# the frequency. Its angle is the position within the period at the start:
#
# $$|X(k)| = \sqrt{X_R^2(k) + X_I^2(k)} \qquad
# \angle X(k) = \phi(k) = \arctan\frac{X_I(k)}{X_R(k)}$$
#
# These are the **magnitude spectrum** and the **phase spectrum**. (The arctangent of a quotient
# cannot distinguish $X$ from $-X$. Programs use `arctan2`, like `np.angle`, which looks at both
# signs.) Below, a wave with a phase of 60 degrees is delayed by 3 samples. The magnitude stays, the
# phase turns.

# %%
N, k, delay = 64, 4, 3
x = np.cos(2 * np.pi * k * np.arange(N) / N + np.pi / 3)
for name, wave in (("original", x), (f"{delay} samples later", np.roll(x, delay))):
    X = np.fft.fft(wave)[k] * 2 / N
    print(f"{name:15}: magnitude {np.abs(X):.3f}, phase {np.degrees(np.angle(X)):6.1f} degrees")
print(f"a delay of {delay} of {N} samples, {k} periods: {-360 * k * delay / N} degrees")

# %% [markdown]
# Remember: the phase says *when* something sounds. Most features below discard it.
#
# ### The discrete Fourier transform (DFT)
#
# A computer has samples $y_0 \dots y_{N-1}$, not a function to integrate. Treat them as one period
# of a signal that repeats every $N$ samples. Then $N$ complex sinusoids describe it exactly:
#
# $$Y_k = \sum_{n=0}^{N-1} y_n\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big) \qquad
# y_n = \frac{1}{N}\sum_{k=0}^{N-1} Y_k\,\exp\!\Big(i\,2\pi\frac{k}{N}n\Big)$$
#
# $n$ is the time index, $k$ the frequency index, and $Y_k$ the spectrum at the $k$-th frequency.
# This is a matrix times a vector. `np.fft.fft` computes the same with the *fast* Fourier transform
# (FFT), in about $N \log_2 N$ steps instead of $N^2$. The FFT is an algorithm, not a different
# transform.


# %%
def dft(y):
    """Compute the discrete Fourier transform by its formula: (N,) to complex (N,)."""
    n = np.arange(len(y))
    return np.exp(-2j * np.pi * np.outer(n, n) / len(y)) @ y


N = 1024
frame = clip[start : start + N]
Y = dft(frame)
compare(Y, np.fft.fft(frame), 1e-4)
print(f"steps: {N**2:,} or {int(N * np.log2(N)):,}")

# %% [markdown]
# Bin $k$ has the frequency $k \cdot SR / N$. Samples are real numbers, so bin $N - k$ mirrors bin
# $k$ (it is the complex conjugate) and adds no information. Bins 0 to $N/2$ are enough.

# %%
print(f"bins are {SR / N:.2f} Hz apart; {N // 2 + 1} of them matter; the last is at {SR / 2} Hz")
print("bin 10 and bin N - 10 are conjugates:", np.allclose(Y[10], np.conj(Y[N - 10]), atol=1e-4))

# %% [markdown]
# The inverse transform turns the spectrum into sound again. Here it uses only the strongest
# sinusoids. A few of them carry most of the sound. That is why audio compression works, and why
# spectra are good inputs for learning:

# %%
spectrum = np.fft.rfft(frame)
strongest = np.argsort(-np.abs(spectrum))
figure, axes = plt.subplots(1, 3, figsize=(11, 2.3), sharey=True)
for ax, count in zip(axes, (3, 10, 40)):
    kept = np.zeros_like(spectrum)
    kept[strongest[:count]] = spectrum[strongest[:count]]
    rebuilt = np.fft.irfft(kept)
    ax.plot(np.arange(N) * 1000 / SR, frame, color="gray", linewidth=0.8)
    ax.plot(np.arange(N) * 1000 / SR, rebuilt, color=BLUE)
    rest = np.mean((frame - rebuilt) ** 2) / np.mean(frame**2)
    ax.set(title=f"{count} of 513 bins: {rest:.1%} is missing", xlabel="time (ms)")
axes[0].set_ylabel("amplitude")
plt.show()

# %% [markdown]
# ### Exercises
#
# **5.1** A cosine with exactly 4 periods in 64 samples fills one bin. What does the spectrum of a
# cosine with 4.5 periods look like?
#
# <details><summary>Answer</summary>
#
# It leaks into all bins, most into 4 and 5. The DFT assumes that the 64 samples repeat, and with
# half a period left over, the signal jumps where it repeats. Windows reduce this (section 6).
#
# ```python
# for periods in (4, 4.5):
#     wave = np.cos(2 * np.pi * periods * np.arange(64) / 64)
#     print(periods, np.abs(np.fft.rfft(wave))[:10].round(1))
# ```
#
# </details>
#
# **5.2** Parseval's theorem: $\sum |y_n|^2 = \frac{1}{N} \sum |Y_k|^2$. Check it with `frame` and
# `Y`. What does it mean?
#
# <details><summary>Answer</summary>
#
# Time and frequency contain the same energy: the transform neither loses nor adds any.
#
# ```python
# print(np.sum(frame**2), np.sum(np.abs(Y) ** 2) / N)
# ```
#
# </details>
#
# **5.3** Take the spectrum of the whole clip, keep its magnitudes, replace its phases by random
# ones, and listen to the result.
#
# <details><summary>Answer</summary>
#
# All notes are there, but spread over the three seconds. The magnitudes of one long spectrum say
# what was played, the phases say when.
#
# ```python
# magnitudes = np.abs(np.fft.rfft(clip))
# random_phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(magnitudes))
# display(play(np.fft.irfft(magnitudes * np.exp(1j * random_phases), len(clip))))
# ```
#
# </details>

# %% [markdown]
# ## 6. STFT
#
# A spectrum says which frequencies a sound contains, but not when. Here one tone glides up and one
# glides down. Nobody would confuse them, yet their magnitude spectra are equal:

# %%
t = np.arange(SR) / SR
up = 0.3 * np.sin(2 * np.pi * (200 * t + 400 * t**2))  # from 200 Hz to 1,000 Hz in a second
down = up[::-1]
compare(np.abs(np.fft.rfft(up)), np.abs(np.fft.rfft(down)), 1e-9)
play(np.concatenate([up, down]))

# %% [markdown]
# The **short-time Fourier transform** solves this. It cuts the sound into short frames and
# transforms each frame separately.
#
# $$X(l, k) = \sum_{n=0}^{N-1} w(n)\,x(n + lH)\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big)$$
#
# | | meaning | flag | value here |
# |---|---|---|---|
# | $l$ | frame index | | |
# | $k$ | frequency index | | |
# | $H$ | **hop size**: samples from one frame to the next | `--hop_size` | 512 |
# | $w(n)$ | **window**: weights that fade a frame in and out | `--win_size` | 1024, Hann |
# | $N$ | **FFT size**: samples per transform | `--fft_size` | 1024 |
#
# $N$ samples give $N/2 + 1$ frequencies. One second at 22,050 Hz becomes a complex matrix of 513
# frequencies and 44 frames:

# %%
samples = clip[:SR]
S = stft(samples, hparams)
print(S.shape, S.dtype, S[0][0])
print(f"frames: 1 + {SR} // {hparams.hop_size} = {count_frames(SR, hparams)}")

# %% [markdown]
# The same with librosa, as on the slides:

# %%
S_librosa = librosa.core.stft(samples, n_fft=1024, hop_length=512, win_length=1024)
print(S_librosa.shape, len(S_librosa[0]), S_librosa[0][0])
compare(S, S_librosa, 1e-4)

# %% [markdown]
# Frame $l$ is *centred* on sample $l H$. Zeros pad the sound at both ends. Here is frame 20,
# computed by the formula:

# %%
centre = 20 * hparams.hop_size
frame = clip[centre - 512 : centre + 512]
compare(np.fft.rfft(hann(hparams) * frame), S[:, 20], 1e-4)

# %% [markdown]
# A **spectrogram** shows the magnitudes over time and frequency. Now the two glides look different:

# %%
figure, ax = plt.subplots(figsize=(9, 2.6))
plot_feature(np.concatenate([up, down]).astype(np.float32), stft_settings(hparams), ax)
ax.set_ylim(0, 2000)
plt.show()

# %% [markdown]
# Now draw the clip with librosa. `specshow` needs the sample rate and the hop size to label the
# axes:

# %%
S_librosa = librosa.stft(clip, n_fft=1024, hop_length=512, win_length=1024)
log_S = librosa.amplitude_to_db(np.abs(S_librosa), ref=np.max)
plt.figure(figsize=(9, 2.6))
librosa.display.specshow(log_S, sr=SR, hop_length=512, x_axis="time", y_axis="linear", cmap=MAP)
plt.title("Power spectrogram")
plt.colorbar(format="%+02.0f dB")
plt.show()

# %% [markdown]
# ### How long should the window be?
#
# A window lasts $T = \text{window size} / SR$. Rule of thumb: **it should contain five periods of
# the lowest tone you want to see**, $T_\text{window} \ge 5\,T_\text{signal}$. For 440 Hz:

# %%
seconds = 5 / 440
print(f"5 / 440 Hz = {1000 * seconds:.1f} ms = {np.ceil(seconds * SR):.0f} samples at {SR} Hz")

# %% [markdown]
# Why five? In a window of five periods the harmonics of a tone are five bins apart ($f$ is in bin
# 5, $2f$ in bin 10, and so on). A Hann window turns each sinusoid into a hill four bins wide, as we
# will see below. Hills four wide and five apart stay separate. If they are two or three apart they
# overlap, and the result depends on the phases. Each curve below has different phases:

# %%
rng, t = np.random.default_rng(0), np.arange(SR) / SR
figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), sharey=True)
for ax, periods in zip(axes, (2, 3, 5, 10)):
    size = round(periods * SR / 220)
    for _ in range(6):
        phases = rng.uniform(0, 2 * np.pi, (8, 1))
        harmonics = np.cos(2 * np.pi * 220 * np.arange(1, 9)[:, None] * t[:size] + phases)
        windowed = np.hanning(size + 1)[:-1] * harmonics.sum(0)
        level = np.abs(np.fft.rfft(windowed, 2**14)) / (size / 4)
        ax.plot(np.fft.rfftfreq(2**14, 1 / SR), 20 * np.log10(level), color=BLUE, linewidth=0.7)
    ax.set(xlim=(0, 1100), ylim=(-45, 10), xlabel="frequency (Hz)", xticks=range(0, 1001, 250))
    ax.set_title(f"{periods} periods, {1000 * size / SR:.1f} ms")
axes[0].set_ylabel("level (dB)")
plt.show()

# %%
print("window  duration  bin spacing  five periods from")
for size in (256, 512, 1024, 2048, 4096):
    milliseconds, bin_hz = 1000 * size / SR, SR / size
    print(f"{size:6d}  {milliseconds:5.1f} ms   {bin_hz:7.2f} Hz          {5 * bin_hz:6.1f} Hz")

# %% [markdown]
# The window of this pipeline, 1024 samples, satisfies the rule from 108 Hz upwards, just below the
# note A2. That is enough for most voices and melodies, but a bass guitar starts at 41 Hz.
#
# ### Which window?
#
# Cutting out a frame means multiplying by a window, even if that window is a plain rectangle. A
# frame begins and ends anywhere in the wave, so a plain cut creates jumps, and jumps contain
# frequencies that nobody played. The spectrum of a window shows what happens to a single sinusoid.
# It has a **main lobe**: the wider it is, the farther apart two tones must be. It has **side
# lobes**: the higher they are, the more a loud tone hides a faint one. No window is best at both.

# %%
figure, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharey="row")
for name, column in zip(WINDOWS, axes.T):
    plot_window(name, hparams.win_size, SR, column[0])
    plot_window_spectrum(name, hparams.win_size, SR, column[1])
axes[0, 0].set_ylabel("weight"), axes[1, 0].set_ylabel("level (dB)")
plt.show()

# %% [markdown]
# The rectangle has the narrowest main lobe, 2 bins, but leaks at -13 dB. Hann is the usual choice,
# here too. Its main lobe is 4 bins wide, and its side lobes start at -31 dB and fall fast.

# %%
compare(hann(hparams), librosa.filters.get_window("hann", 1024), 1e-6)

# %% [markdown]
# ### Which hop size?
#
# When one window fades out, the next should have faded in. Many programs hop by a quarter of the
# window, so neighbouring frames share three quarters of their samples. This pipeline hops by half a
# window: half as many frames to store and to learn from.

# %%
frames = SR / hparams.hop_size
shared = 1 - hparams.hop_size / hparams.win_size
print(
    f"{frames:.1f} frames per second, {1000 / frames:.1f} ms apart; neighbours share {shared:.0%}"
)

# %% [markdown]
# ### The trade-off
#
# A **long window** separates close frequencies but not close moments. A **short window** does the
# opposite. The main lobe of a Hann window is four bins wide, which is $4/T$. So width times
# duration is 4, however long the window is. You cannot make the whole picture sharper. You can only
# choose the axis on which it is sharp.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, size in zip(axes, (256, 4096)):
    plot_feature(clip, stft_settings(hparams, size), ax)
    shown = f"lobe {4 * SR / size:.0f} Hz x window {1000 * size / SR:.0f} ms"
    ax.set(title=f"{size} samples: {shown} = {4 * SR / size * size / SR:.0f}", ylim=(0, 4000))
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# On the left, tones are thick but begin and end sharply. On the right, they are thin lines with
# blurred beginnings. (An `--fft_size` above `--win_size` pads frames with zeros. The curve gets
# more points, but not more detail.)
#
# ### Exercises
#
# **6.1** Change the hop size to 128, 256 and 1024. How many frames do you get, and what does that
# cost?
#
# <details><summary>Answer</summary>
#
# Half the hop means twice the frames, twice the disk space and twice the training time. If the hop
# is shorter than a quarter of the window, the new frames add little to their neighbours.
#
# ```python
# for hop in (128, 256, 512, 1024):
#     print(hop, stft(clip, dataclasses.replace(hparams, hop_size=hop)).shape)
# ```
#
# </details>
#
# **6.2** Two tones have 440 and 450 Hz. How long must a Hann window be to show two peaks? Try it,
# then explain it with the width of the main lobe.
#
# <details><summary>Answer</summary>
#
# 4096 samples are enough, 2048 are too few. At 4096 the tones are 1.9 bins apart, half a main lobe,
# and the valley between the two hills is just visible. At 2048 they are 0.9 bins apart and merge
# into one hill. The result depends on the phases, so the code takes the mean power over 16 of them.
#
# ```python
# angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)[:, None]
# two = np.cos(2 * np.pi * 440 * t) + np.cos(2 * np.pi * 450 * t + angles)
# for size in (1024, 2048, 4096, 8192):
#     power = np.mean(np.abs(np.fft.rfft(np.hanning(size) * two[:, :size], 2**16)) ** 2, axis=0)
#     inner = power[1:-1]
#     peaks = (inner > power[:-2]) & (inner > power[2:]) & (inner > 0.1 * inner.max())
#     print(size, [f"{hz * SR / 2**16:.0f} Hz" for hz in np.flatnonzero(peaks) + 1])
# ```
#
# </details>
#
# **6.3** `librosa.istft` turns an STFT back into sound. Check that nothing is lost. Then discard
# the phases and let `librosa.griffinlim` guess them. Can you hear the difference?
#
# <details><summary>Answer</summary>
#
# With phases the clip comes back up to rounding. Without them Griffin and Lim's algorithm finds
# phases that fit, and the clip sounds slightly hollow.
#
# ```python
# back = librosa.istft(S_librosa, hop_length=512, win_length=1024, length=len(clip))
# compare(clip, back, 1e-5)
# guessed = librosa.griffinlim(np.abs(S_librosa), hop_length=512, n_iter=16, random_state=0)
# display(play_all({"clip": clip, "phases guessed": guessed}))
# ```
#
# </details>

# %% [markdown]
# ## 7. Inputs for a model
#
# A complex matrix is hard to learn from. The first step is to take the absolute value, which
# discards the phase. (This is a loss, and one reason why people tried networks that read the
# waveform: section 10.) The rest can be shown on several scales of *value* and of *frequency*:
# linear and log-scale spectrogram, mel spectrogram, MFCC, constant-Q transform.
#
# ### Values: decibels
#
# The largest amplitude that ears can bear is a million times the smallest that they can hear, and
# equal ratios sound like equal steps. So we take the logarithm:
#
# $$L = 20\,\log_{10}|X| \text{ dB}$$
#
# This equals 10 times the logarithm of the *power* $|X|^2$. A voltage is an amplitude, its square
# is a power.

# %%
print("    dB    power ratio   amplitude ratio")
for decibel in (40, 20, 6, 3, 0, -3, -6, -20, -40):
    print(f"{decibel:+6d}  {10 ** (decibel / 10):12.4f}  {10 ** (decibel / 20):12.4f}")

# %% [markdown]
# Within half a percent, +6 dB is twice the amplitude and four times the power, and +3 dB is twice
# the power. +20 dB is a factor of 10 in amplitude and 100 in power. The clip on a linear scale and
# in dB:

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, scale in zip(axes, ("none", "db")):
    plot_feature(clip, stft_settings(hparams, scale=scale), ax)
axes[0].set_title("magnitude"), axes[1].set_title("dB")
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# Both pictures show the same numbers, but on the left only a few strong bins are visible. librosa
# has two functions for decibels, one for amplitudes and one for powers. They keep only the top 80
# dB unless you pass `top_db=None`:

# %%
magnitude = np.abs(stft(clip, hparams))
level = decibels(magnitude)
compare(level, librosa.amplitude_to_db(magnitude, ref=1, amin=1e-5, top_db=None), 1e-3)
compare(level, librosa.power_to_db(magnitude**2, ref=1, amin=1e-10, top_db=None), 1e-3)

# %% [markdown]
# The features of this pipeline use another logarithm by default, $\log_{10}(1 + 10x)$
# (`--scale tutorial`). For large $x$ it behaves like a logarithm. For small $x$ it is nearly linear
# and ends at 0, so silence has a value, and nobody has to choose a floor. `musicnn`, the scale of
# the pretrained models of `pretrained.py`, is $\log_{10}(1 + 10000x^2)$:

# %%
x = np.array([0, 0.001, 0.01, 0.1, 1, 10, 100])
for name, (power, compress) in SCALES.items():
    print(f"{name:9}", "".join(f"{value:9.3f}" for value in compress(x**power)))

# %% [markdown]
# ### Frequency: octaves
#
# Pitch depends on ratios too. Here is the C major scale in *just intonation*, from a C' of 264 Hz:

# %%
ratios = {"C": 1, "D": 9 / 8, "E": 5 / 4, "F": 4 / 3, "G": 3 / 2, "A": 5 / 3, "B": 15 / 8}
steps = dict(zip(ratios, (0, 2, 4, 5, 7, 9, 11)))
print("note  semitones  ratio    Hz      log10 Hz")
for octave, mark in ((0, "'"), (1, "''"), (2, "'''")):
    for name in ratios if octave < 2 else "C":
        ratio = ratios[name] * 2**octave
        hz = 264 * ratio
        semitones = steps[name] + 12 * octave
        print(f"{name + mark:5} {semitones:6d}   {ratio:8.3f}  {hz:6.0f}  {np.log10(hz):9.4f}")

# %% [markdown]
# From C' to C'' it is 264 Hz, from C'' to C''' 528 Hz, and we hear the same step: an octave. In the
# last column both steps are $\log_{10} 2 = 0.3010$. (A piano is tuned differently. All its
# semitones have the ratio $2^{1/12} \approx 1.0595$, so most notes are slightly off the ratios of
# whole numbers.)
#
# A linear spectrogram gives nearly half of its 513 bins to the octave from 5,000 to 10,000 Hz, and
# five to the octave from 110 to 220 Hz, where much of the music is. All other frequency scales fix
# this in the same way: a matrix of weights collects bins into bands,
#
# $$Y = M \cdot X$$
#
# with the spectrogram $X$, the mapping matrix $M$ and the scaled spectrogram $Y$.

# %%
hz = np.fft.rfftfreq(hparams.fft_size, 1 / SR)
for low in (110, 440, 1760, 5000):
    inside = (hz >= low) & (hz < 2 * low)
    print(f"{low:5d} to {2 * low:5d} Hz: {inside.sum():3d} of {len(hz)} bins")

# %% [markdown]
# ### Mel
#
# People cannot tell close frequencies apart, least of all high ones. If you ask them which tones
# are equally far apart, you get a scale of pitch, the **mel** scale. It is nearly linear up to
# 1,000 Hz and logarithmic above. A common formula sets 1,000 Hz to 1,000 mels:
#
# $$m = 2595\,\log_{10}\!\Big(1 + \frac{f}{700}\Big)$$

# %%
for f in (100, 500, 1000, 2000, 4000, 8000):
    print(f"{f:5d} Hz = {formula_mels(f):6.1f} mels")
f = np.arange(100, 8001, 100)
compare(formula_mels(f), librosa.hz_to_mel(f, htk=True), 0.1)

# %% [markdown]
# There are other formulas. librosa and this pipeline use Slaney's by default, which is exactly
# linear below 1,000 Hz. The units differ, but only the shape matters:

# %%
plot_mel_scales(SR, plt.subplots(figsize=(8, 3))[1]).set_title("two scales, two y-axes")
plt.show()

# %% [markdown]
# The mapping matrix has one triangle per band, equally spaced *in mels*. Each triangle collects the
# bins around its centre, and neighbours overlap. The picture shows 24 bands so that you can see
# them; the pipeline uses 128.

# %%
plot_mel_filters(own_settings(hparams, num_mels=24), plt.subplots(figsize=(10, 2.5))[1])
plt.show()

# %%
M = mel_filters(SR, hparams.fft_size, hparams.num_mels)
edges = mel_edges(SR, hparams.num_mels)
print(f"M is {M.shape}, {(M > 0).mean():.1%} of its values are above 0")
print(f"bands are {edges[1] - edges[0]:.0f} Hz apart at the bottom", end=", ")
print(f"{edges[-1] - edges[-2]:.0f} Hz at the top")
compare(M, librosa.filters.mel(sr=SR, n_fft=1024, n_mels=128), 1e-6)

# %% [markdown]
# Now put it together. By default the pipeline learns from the **log-mel**: magnitudes of the STFT,
# mel filters, logarithm.

# %%
feature = log_mel(clip, hparams)
print(feature.shape)
plot_feature(clip, hparams, plt.subplots(figsize=(9, 3))[1])
plt.show()

# %% [markdown]
# The same with librosa, as in the slides' `feature_extraction.py`. (`librosa.filters.mel` now takes
# keyword arguments only.) The last line puts time first: (frames, mels).

# %%
S = librosa.stft(clip, n_fft=1024, hop_length=512, win_length=1024)
mel_basis = librosa.filters.mel(sr=SR, n_fft=1024, n_mels=128)
mel_S = np.dot(mel_basis, np.abs(S))
mel_S = np.log10(1 + 10 * mel_S)
mel_S = mel_S.T
compare(feature, mel_S, 1e-5)

# %% [markdown]
# `librosa.feature.melspectrogram` does the first three steps in one line. By default it squares the
# magnitudes (`power=2`) and uses `n_fft=2048`, so we pass our values:

# %%
S = librosa.feature.melspectrogram(y=clip, sr=SR, n_fft=1024, hop_length=512, n_mels=128, power=1)
compare(mel_spectrogram(clip, hparams), S.T, 1e-5)

# %% [markdown]
# The slides' picture uses the defaults. Compare it with ours above: the colours are in decibels
# below the maximum instead of $\log_{10}(1 + 10x)$.

# %%
S = librosa.feature.melspectrogram(y=clip, sr=SR, n_mels=128)
log_S = librosa.power_to_db(S, ref=np.max)
plt.figure(figsize=(9, 3))
librosa.display.specshow(log_S, sr=SR, x_axis="time", y_axis="mel", cmap=MAP)
plt.title("Mel power spectrogram")
plt.colorbar(format="%+02.0f dB")
plt.show()

# %% [markdown]
# ### MFCC
#
# Mel bands overlap, and instruments sound in many bands at once, so neighbouring bands are
# correlated. Classical classifiers work better with a few numbers that are less correlated.
# **Mel-frequency cepstral coefficients** take three steps:
#
# 1. compute the mel spectrogram and its logarithm (here in dB);
# 2. apply the **discrete cosine transform** (DCT) to the $N$ bands of each frame;
# 3. keep the first coefficients, for example 13, and drop the rest.
#
# $$X(k) = \sqrt{\frac{2}{N}}\;c_k
# \sum_{n=1}^{N} x(n)\,\cos\!\Big(\frac{\pi k}{N}\big(n - 0.5\big)\Big),
# \qquad c_0 = \tfrac{1}{\sqrt 2},\; c_k = 1 \text{ for } k > 0$$
#
# This is a kind of Fourier transform of a spectrum, so "spectrum" with swapped letters became
# *cepstrum*. Coefficient $k$ says how much of a cosine with $k$ half-waves is in the shape of the
# spectrum. First by the formula:

# %%
x = decibels(mel_spectrogram(clip, hparams))  # (frames, 128)
n, k = np.arange(1, 129), np.arange(13)[:, None]
cosines = np.sqrt(2 / 128) * np.cos(np.pi * k / 128 * (n - 0.5))  # (13, 128)
cosines[0] /= np.sqrt(2)
by_formula = x @ cosines.T
compare(mfcc(clip, hparams), by_formula, 1e-3)

# %% [markdown]
# And with librosa, which puts frequency first:

# %%
S = librosa.feature.melspectrogram(y=clip, sr=SR, n_fft=1024, hop_length=512, n_mels=128, power=1)
log_mel_S = librosa.amplitude_to_db(S, ref=1, amin=1e-5, top_db=None)
mfcc_librosa = librosa.feature.mfcc(S=log_mel_S, n_mfcc=13)
mfcc_librosa = mfcc_librosa.astype(np.float32)  # to save memory (64 to 32 bits)
print(mfcc_librosa[0][:8])
compare(mfcc(clip, hparams), mfcc_librosa.T, 1e-3)

# %% [markdown]
# The rows of the transform are orthonormal, so the transpose inverts it. With 13 instead of 128
# numbers, the inverse gives a smooth outline. The timbre is still there, the single harmonics are
# gone.

# %%
loudest = x.sum(1).argmax()
figure, axes = plt.subplots(1, 2, figsize=(11, 2.8))
for number, color in enumerate((BLUE, ORANGE, GREEN, RED)):
    axes[0].plot(n, cosines[number], color=color, label=f"k = {number}")
axes[0].set(title="rows of the cosine transform", xlabel="mel band", ylabel="weight")
axes[0].legend(loc="lower left", fontsize=8)
axes[1].plot(n, x[loudest], color="gray", label="a frame of 128 bands")
axes[1].plot(n, by_formula[loudest] @ cosines, color=BLUE, label="from 13 coefficients")
axes[1].set(title="a spectrum and its outline", xlabel="mel band", ylabel="level (dB)")
axes[1].legend()
plt.show()

# %% [markdown]
# Are the coefficients less similar than the bands? For one track per genre, the next cell measures
# the mean correlation of neighbouring bands and of neighbouring coefficients, ignoring the sign:

# %%
waveforms = [
    load_audio(f"dataset/demo/{genre}/{genre}.00000.wav", hparams) for genre in demo.STYLES
]
mel = np.concatenate([mel_spectrogram(y, hparams) for y in waveforms])
for name, columns in (("bands", decibels(mel)), ("coefficients", cepstra(mel, hparams))):
    neighbours = np.abs(np.corrcoef(columns.T)).diagonal(1)
    print(f"mean correlation of neighbouring {name}: {neighbours.mean():.2f}")

# %%
plot_feature(clip, own_settings(hparams, feature="mfcc"), plt.subplots(figsize=(9, 2.6))[1])
plt.show()

# %% [markdown]
# Networks need this less. They find their own sums of bands, and a dropped coefficient is lost.
# That is why MFCCs go with classical classifiers and log-mels with networks.
#
# ### Constant-Q transform (CQT)
#
# Mel follows hearing; the **CQT** follows the musical scale. Its frequencies have equal ratios,
# here 24 per octave, which is a quarter tone. The ratio of frequency to bandwidth,
# $Q = f/\Delta f$, is the same everywhere. So each frequency has its own window, $Q$ periods long:

# %%
Q = 1 / (2 ** (1 / hparams.bins_per_octave) - 1)
print(f"Q = {Q:.1f}")
for hz, name in ((32.70, "C1"), (440, "A4"), (4186, "C8")):
    print(f"{name} {hz:7.1f} Hz: window {1000 * Q / hz:6.1f} ms, bandwidth {hz / Q:6.2f} Hz")

# %% [markdown]
# Low frequencies get long windows, high frequencies short ones: the trade-off is different for each
# frequency. And a chord has the same shape in every key. Transposing it moves the pattern without
# changing it, which suits a filter that slides over frequency. Two notes an octave apart, in the
# STFT and in the CQT:

# %%
levels = 0.7 ** np.arange(6)
notes = {"A3, 220 Hz": tone(220, levels, 2), "A4, 440 Hz": tone(440, levels, 2)}
kinds = {"STFT": stft_settings(hparams, scale="none")}
kinds["CQT"] = own_settings(hparams, feature="cqt", scale="none")
spectra = {
    kind: [extract_feature(y.astype(np.float32), settings).mean(0) for y in notes.values()]
    for kind, settings in kinds.items()
}
figure, axes = plt.subplots(1, 2, figsize=(11, 2.6))
for ax, (kind, pair) in zip(axes, spectra.items()):
    for values, name, color in zip(pair, notes, (BLUE, RED)):
        ax.plot(values / values.max(), color=color, label=name, linewidth=1)
    ax.set(title=kind, xlabel="bin", xlim=(0, 168), ylabel="magnitude / peak")
axes[1].legend()
plt.show()
low, high = spectra["CQT"]
moved = np.correlate(high, low, "full").argmax() - (len(low) - 1)
print(f"the CQTs match best when one is moved by {moved} bins: an octave")

# %% [markdown]
# The clip's CQT with librosa. Our `cqt` calls the same function, so there is no difference at all:

# %%
C = np.abs(librosa.cqt(clip, sr=SR, hop_length=512, n_bins=168, bins_per_octave=24))
compare(cqt(clip, own_settings(hparams, feature="cqt", scale="none")), C.T, 1e-6)
plt.figure(figsize=(9, 3))
C_db = librosa.amplitude_to_db(C, ref=np.max)
axes_of_notes = {"x_axis": "time", "y_axis": "cqt_note", "bins_per_octave": 24}
librosa.display.specshow(C_db, sr=SR, hop_length=512, cmap=MAP, **axes_of_notes)
plt.minorticks_off()
plt.title("Constant-Q power spectrum")
plt.colorbar(format="%+02.0f dB")
plt.show()

# %% [markdown]
# ### Four pictures of one sound
#
# Short window, long window, mel, constant Q. None of them is the right one. Each decides what to
# keep. `python visualize.py song.wav` draws such a page for any file.

# %%
choices = {
    "STFT, short window (256)": stft_settings(hparams, 256),
    "STFT, long window (4096)": stft_settings(hparams, 4096),
    "log-mel, 128 bands": hparams,
    "CQT, 24 bins per octave": audible_cqt(hparams),
}
figure, axes = plt.subplots(2, 2, figsize=(11, 6))
for ax, (name, settings) in zip(axes.flat, choices.items()):
    plot_feature(clip, settings, ax).set_title(name)
plt.show()

# %% [markdown]
# The functions used so far are in the following files. Each is short and close to its formula:

# %%
for function in (load_audio, stft, hann, mel_filters, mel_spectrogram, log_mel, mfcc, cqt):
    print(f"{function.__name__:16} {function.__module__.replace('.', '/')}.py")

# %% [markdown]
# ### Exercises
#
# **7.1** Two equal sounds are added. How many dB louder is the sum, if the sounds are (a)
# identical, (b) two independent noises?
#
# <details><summary>Answer</summary>
#
# (a) 6 dB: the amplitudes add. (b) 3 dB: only the powers add.
#
# ```python
# first_noise, second_noise = np.random.default_rng(0).standard_normal((2, SR))
# for total in (first_noise + first_noise, first_noise + second_noise):
#     print(f"{10 * np.log10(np.mean(total**2) / np.mean(first_noise**2)):.1f} dB")
# ```
#
# </details>
#
# **7.2** Raise the number of mel bands to 256 and 512, with `fft_size` 1024. What goes wrong, and
# what would help?
#
# <details><summary>Answer</summary>
#
# The lowest bands become narrower than the bins of the STFT. With 512 bands, 76 contain no bin at
# all and stay empty. A larger `fft_size` helps.
#
# ```python
# for fft_size in (1024, 4096):
#     for bands in (128, 256, 512):
#         empty = (mel_filters(SR, fft_size, bands).max(axis=1) == 0).sum()
#         print(f"fft_size {fft_size}, {bands} bands: {empty} empty")
# ```
#
# </details>
#
# **7.3** How well do 5, 13, 40 and 128 MFCCs describe a frame? Invert the DCT and measure the error
# in dB.
#
# <details><summary>Answer</summary>
#
# 13 coefficients leave about 5 dB: harmonics and noise. 128 coefficients restore the spectrum.
#
# ```python
# import scipy.fft
#
# coefficients = scipy.fft.dct(x, axis=1, norm="ortho")
# for count in (5, 13, 40, 128):
#     rebuilt_x = scipy.fft.idct(coefficients[:, :count], n=128, axis=1, norm="ortho")
#     print(f"{count:3d} coefficients: {np.sqrt(np.mean((x - rebuilt_x) ** 2)):.2f} dB")
# ```
#
# </details>
#
# **7.4** Transpose the clip up by two semitones. By how many bins does its CQT move? Predict first.
#
# <details><summary>Answer</summary>
#
# 24 bins per octave are two per semitone, so it moves by 4 bins.
#
# ```python
# cqt_settings = own_settings(hparams, feature="cqt", scale="none")
# before, after = (cqt(wave, cqt_settings).mean(0) for wave in (clip, pitch_shift(clip, SR, 2)))
# print(np.correlate(after, before, "full").argmax() - (len(before) - 1))
# ```
#
# </details>

# %% [markdown]
# ## 8. Tasks
#
# The field is called **music information retrieval** (MIR). Its tasks form four groups.
#
# | group | tasks |
# |---|---|
# | **classification** | genre, instrument, singer, emotion; all together: *auto-tagging* |
# | **similarity** | cover songs, query by humming, recommendation, playlists |
# | **transcription** | melody, onsets, beats and tempo, chords and key, structure |
# | **generation** | composing, and performing a score like a person |
#
# Streaming services depend on the first two: they have tens of millions of tracks, and nobody can
# listen to more than a few. A picture contains several objects, and a track has several labels:
# genre, mood, instruments, artist. So there are two kinds of classification, which differ only in
# the last step:
#
# - **one of many**: a track has one genre. Softmax turns the outputs into probabilities whose sum
#   is 1.
# - **any of many**: a track has many tags. A sigmoid turns each output into a probability of its
#   own.

# %%
logits = torch.tensor([2.0, 1.0, -1.0])
for name, shares in (("softmax", logits.softmax(0)), ("sigmoid", logits.sigmoid())):
    print(f"{name}: {shares.numpy().round(2)}, sum {shares.sum():.2f}")

# %% [markdown]
# Tags can be turned into a sentence. The demo's `tags.csv` lists what its composer chose; here
# these tags fill the blanks of a sentence:

# %%
catalog = read_catalog(dataclasses.replace(hparams, task="tagging"))
tag_names = catalog.hparams.tags
for name in ("jazz/jazz.00006.wav", "metal/metal.00000.wav", "reggae/reggae.00000.wav"):
    given = [float(tag in catalog.tags[name]) for tag in tag_names]
    print(f"{name}: {describe_tags(given, tag_names)}")

# %% [markdown]
# `python train_test.py --task tagging` learns these tags from sound, and `python retrieve.py` finds
# similar tracks. From here on we ask one question: *which genre is it?*
#
# ### Exercises
#
# **8.1** Add 3 to all three logits. Which probabilities change, the softmax's or the sigmoid's?
#
# <details><summary>Answer</summary>
#
# Only the sigmoid's. Softmax depends on differences between logits: its classes compete. Each
# sigmoid decides by itself.
#
# ```python
# for shifted in (logits, logits + 3):
#     print(shifted.softmax(0).numpy().round(2), shifted.sigmoid().numpy().round(2))
# ```
#
# </details>
#
# **8.2** For each tag, how many tracks have it? How accurate is a tagger that always answers "no"?
#
# <details><summary>Answer</summary>
#
# For a rare tag the useless tagger is right most of the time. That is why tagging reports ROC-AUC
# and PR-AUC instead of accuracy.
#
# ```python
# tag_counts = {tag: sum(tag in tags for tags in catalog.tags.values()) for tag in tag_names}
# for tag in sorted(tag_names, key=tag_counts.get)[:5]:
#     print(f"{tag}: {tag_counts[tag]} tracks, 'no' is right for "
#           f"{1 - tag_counts[tag] / len(catalog.tags):.0%}")
# ```
#
# </details>

# %% [markdown]
# ## 9. Convolutional networks
#
# For a network a log-mel is a picture: frames are its width and mel bands its height. Each cell of
# the visual system looks at a small part of the scene, its *receptive field*. **Convolutional
# neural networks** (CNNs) work in a similar way: they look for the same small pattern everywhere.
#
# ### Filter
#
# A **filter** (or *kernel*) detects a feature. It is a small array of weights $w$ that slides over
# the input, and at each position the output is the sum of products. If the input looks like the
# pattern, the output is large. If not, it is about 0. (Mathematicians call this a correlation. A
# convolution would flip the filter, but as the weights are learned, it makes no difference.)
#
# $$\text{out}(i) = \sum_{j=0}^{k-1} w(j)\;x(i + j)$$

# %%
x = torch.tensor([[0.0, 0, 0, 5, 5, 5, 5, 0, 0, 0]])  # (channels, length)
w = torch.tensor([[[-1.0, 1]]])  # a step up: (filters, channels, kernel)
print("input: ", x.int().tolist()[0])
print("output:", functional.conv1d(x, w).int().tolist()[0])

# %% [markdown]
# Two filters of 3 x 3, made by hand, on our clip. One finds *beginnings*: dark before, bright
# after. One finds *sustained tones*: a bright line with darkness above and below. Negative values
# become 0, like in the **ReLU** of a network. A trained network has hundreds of such filters, and
# nobody drew them.

# %%
picture = torch.from_numpy(feature.T)[None]  # (channels, bins, frames)
filters = {
    "log-mel": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "filter: beginning": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "filter: sustained tone": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
}
figure, axes = plt.subplots(1, 3, figsize=(11, 2.8), sharey=True)
for ax, (name, weights) in zip(axes, filters.items()):
    w = torch.tensor([[weights]], dtype=torch.float32)
    found = functional.conv2d(picture, w, padding=1).relu()[0]
    ax.imshow(found, origin="lower", aspect="auto", cmap=MAP)
    ax.set(title=name, xlabel="frame")
axes[0].set_ylabel("mel band")
plt.show()

# %% [markdown]
# ### Padding and stride
#
# A filter of $k$ values fits into $n$ values only $n - k + 1$ times, so the output is smaller than
# the input. **Padding** prevents that: it puts $p$ zeros around the input. With $k = 3$ and $p = 1$
# the size stays. The **stride** $s$ is the step of the filter; 2 halves the size. In general
#
# $$n_\text{out} = \Big\lfloor \frac{n + 2p - k}{s} \Big\rfloor + 1$$

# %%
x = torch.zeros(1, 128)  # 128 frames
for k, p, s in ((8, 0, 1), (3, 0, 1), (3, 1, 1), (3, 1, 2), (3, 0, 3)):
    n_out = functional.conv1d(x, torch.zeros(1, 1, k), padding=p, stride=s).shape[1]
    print(f"kernel {k}, padding {p}, stride {s}: 128 -> {n_out} = {(128 + 2 * p - k) // s + 1}")

# %% [markdown]
# ### Pooling
#
# **Pooling** shrinks an output on purpose and has nothing to learn. *Max pooling* keeps the largest
# value of each window: the pattern was somewhere here. *Average pooling* keeps the mean: how much
# of it there was. Max pooling is more common.

# %%
x = torch.tensor([[[1.0, 3, 0, 0], [2, 8, 1, 1], [0, 0, 4, 4], [0, 4, 4, 4]]])
print("max:    ", functional.max_pool2d(x, 2).tolist()[0])
print("average:", functional.avg_pool2d(x, 2).tolist()[0])

# %% [markdown]
# Pooling also makes the exact position less important. If the input moves by a frame, the output of
# a convolution moves too; after pooling it often stays the same. Here the peak moves and the pooled
# values do not:

# %%
for place in (4, 5, 6):
    x = torch.zeros(1, 12)
    x[0, place] = 1
    print(x.int().tolist()[0], "->", functional.max_pool1d(x, 4).int().tolist()[0])

# %% [markdown]
# ### Fully connected layer
#
# Convolution, normalization, ReLU and pooling form a *block*. Blocks are stacked, and each one
# finds patterns in the patterns of the previous one, over a longer time. At the end the values are
# flattened into one row of numbers, the **embedding**. A **fully connected** layer weights them and
# gives one score per genre, the **logits**.
#
# ### Exercises
#
# **9.1** Design a 3 x 3 filter for the *end* of a tone, and one for a tone that *rises*. Apply them
# to the log-mel.
#
# <details><summary>Answer</summary>
#
# The end is the beginning mirrored in time. A rising tone is a bright diagonal. Row 0 of the
# weights is the lowest band, because row 0 of the picture is.
#
# ```python
# drawn = {"end": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
#          "rising": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]]}
# _, panels = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
# for panel, (title, weights) in zip(panels, drawn.items()):
#     kernel = torch.tensor([[weights]], dtype=torch.float32)
#     response = functional.conv2d(picture, kernel, padding=1).relu()[0]
#     panel.imshow(response, origin="lower", aspect="auto", cmap=MAP)
#     panel.set(title=title, xlabel="frame")
# plt.show()
# ```
#
# </details>
#
# **9.2** A stack has three convolutions with kernel 3, each followed by max pooling by 2. How many
# input frames does one output value see? Compute it, then measure it with a gradient.
#
# <details><summary>Answer</summary>
#
# 22 frames. Go backwards: 1 value pools 2, a kernel of 3 needs 4; pooling 8, kernel 10; pooling 20,
# kernel 22. Average pooling replaces max pooling below, so that every frame in view gets a
# gradient.
#
# ```python
# stack = [torch.nn.Conv1d(1, 1, 3), torch.nn.AvgPool1d(2)] * 3
# frames_in = torch.zeros(1, 1, 64, requires_grad=True)
# torch.nn.Sequential(*stack)(frames_in)[0, 0, 0].backward()
# print(torch.count_nonzero(frames_in.grad).item(), "frames")
# ```
#
# </details>
#
# **9.3** Move the input of a convolution and of a max pooling by one frame. Which output moves by
# exactly one frame?
#
# <details><summary>Answer</summary>
#
# The convolution's, as its stride is 1. It is *equivariant*: a moved input gives a moved output.
# Pooling is roughly *invariant*: a moved input gives nearly the same output.
#
# ```python
# line = torch.zeros(1, 1, 12)
# line[0, 0, 5] = 1
# for moved_line in (line, line.roll(1, -1)):
#     print(functional.conv1d(moved_line, torch.tensor([[[1.0, 2, 1]]])).int().tolist()[0][0],
#           functional.max_pool1d(moved_line, 4).int().tolist()[0][0])
# ```
#
# </details>

# %% [markdown]
# ## 10. Three kinds of CNN
#
# Music classification moved from features designed by people to learned features:
#
# | | input | method | here |
# |---|---|---|---|
# | (a) | MFCC, summarized over time | a standard classifier | `classic.py` |
# | (b) | mel spectrogram | features learned without labels, classifier | `--model dictionary` |
# | (c) | mel spectrogram | a deep network | `train_test.py` |
# | (d) | waveform | a deep network, *end to end* | `--feature waveform` |
#
# (c) and (d) use three kinds of network, which differ in what a filter covers. The function
# `show_shapes`, in the folded cell, prints the output of each layer. It computes shapes only (on
# PyTorch's device "meta"), so it takes no time.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
SHOWN = torch.nn.modules.conv._ConvNd, torch.nn.MaxPool1d, torch.nn.MaxPool2d, torch.nn.Linear
genres = list(demo.STYLES)


def show_shapes(frames, bins, **settings):
    """Print the output shape of each layer of a model, for chunks of (frames, bins)."""
    chosen = HParams(genres=genres, chunk_length=frames, num_mels=bins, **settings)
    with torch.device("meta"):
        model = build_model(chosen).eval()
        print(f"{chosen.model}: {count_parameters(model):,} parameters; input {frames} x {bins}")
        for layer in model.modules():
            if isinstance(layer, SHOWN):
                layer.register_forward_hook(show_layer)
        model(torch.zeros(1, frames, bins))


def show_layer(layer, _, output):
    """Print the kind, the kernel and the output shape of a layer."""
    kernel = getattr(layer, "kernel_size", "")
    size = kernel if isinstance(kernel, tuple) else (kernel,) * (kernel != "")
    shown = " x ".join(map(str, size))
    print(f"  {type(layer).__name__:9} {shown:6} -> {' x '.join(map(str, output.shape[1:]))}")


# %% [markdown]
# ### 1-D
#
# A filter covers *all* mel bands and a few frames, and slides over time only. The bands are its
# channels, so it knows which band is which. The network has few parameters, trains fast and works
# well with few tracks. But the same chord a tone higher is a different pattern. `Baseline` is the
# network of the slides, for 1,024 frames (23.8 s). Sizes are channels x frames:

# %%
show_shapes(1024, 128, model="Baseline")

# %% [markdown]
# ### 2-D
#
# A filter covers a few bands and a few frames, and slides over both, as in computer vision. It
# finds a pattern at any pitch, so transposing matters less. It needs more computation and tends to
# do well with more data. **FCN-4** (Choi et al., 2016) has a single fully connected layer, the last
# one. Sizes are channels x bands x frames. (Tables of this network often show 24 x 85 and 12 x 21
# in the middle. The pooling sizes do not give these values.)

# %%
show_shapes(1366, 96, model="FCN4")

# %% [markdown]
# ### Sample-level
#
# Why not learn the spectrogram too? **SampleCNN** (Lee et al., 2017) reads the waveform, with
# filters of 3 *samples*. One such filter hardly sees a frequency, but after ten steps of 3, one
# value has seen $3^{10}$ = 59,049 samples. A spectrogram always discards the phase. This network
# learns what to ignore: strides and pooling make its answer independent of where a wave begins. Its
# authors found that the filters of each layer learn to respond to frequency bands, spaced somewhat
# like mels.

# %%
show_shapes(3**10, 1, model="SampleCNN", feature="waveform")
print(f"{3**10:,} samples = {3**10 / SR:.3f} s")

# %% [markdown]
# ### Exercises
#
# **10.1** Compute the number of weights in the first convolution of `Baseline` by hand. Then
# compute it for the first convolution of `FCN4`. Why is the difference so large?
#
# <details><summary>Answer</summary>
#
# `Baseline`: 32 filters x 128 bands x 8 frames + 32 biases = 32,800. `FCN4`: 128 filters x 1
# channel x 3 x 3 + 128 biases = 1,280. A 1-D filter spans all bands; a 2-D filter reuses its 9
# weights in every band.
#
# ```python
# for model_name, length in (("Baseline", 1024), ("FCN4", 1366)):
#     with torch.device("meta"):
#         network = build_model(HParams(genres=genres, chunk_length=length, model=model_name))
#     conv = next(layer for layer in network.modules() if isinstance(layer, SHOWN))
#     print(model_name, tuple(conv.weight.shape), sum(p.numel() for p in conv.parameters()))
# ```
#
# </details>
#
# **10.2** What is the shortest chunk that `Baseline` accepts? Find out where a shorter one fails.
#
# <details><summary>Answer</summary>
#
# The pooling layers consume all frames of a shorter chunk. The error names the minimum.
#
# ```python
# try:
#     show_shapes(64, 128, model="Baseline")
# except Exception as error:
#     print(f"{type(error).__name__}: {error}")
# ```
#
# </details>
#
# **10.3** The pipeline below trains `Compact1D`. Compare its layers with those of `Compact2D`, for
# chunks of 128 frames.
#
# <details><summary>Answer</summary>
#
# ```python
# for model_name in ("Compact1D", "Compact2D"):
#     show_shapes(128, 128, model=model_name)
# ```
#
# </details>

# %% [markdown]
# ## 11. The pipeline
#
# Each stage is a script, and you can run each script by itself:
#
# | | reads | writes |
# |---|---|---|
# | `hparams.py` | flags | the settings for all stages |
# | `data_augment.py` (optional) | audio | more training audio |
# | `feature_extraction.py` | audio and lists | chunks of log-mel: `.npy`, `features.jsonl` |
# | `data_manager.py` | these files | normalized batches |
# | `model.py` | a batch | logits: the file to edit |
# | `train_test.py` | all of this | a trained and tested model |
#
# ### hparams
#
# The settings of features, models and training are in one place, so an experiment is one command
# line. These settings shape the features:

# %%
for name, value in hparams.feature_settings().items():
    print(f"--{name} {value}")

# %% [markdown]
# ### feature_extraction
#
# This script loads the audio, transforms it, and cuts the first 1,024 frames (23.8 s) into
# **chunks** of 128. It pads shorter tracks with silence. Each track becomes one file, in a folder
# named after its genre, and one line of `features.jsonl`, which also holds the settings:

# %%
with capture_output() as output:
    feature_extraction.main(["--dataset_path", hparams.dataset_path])
print(*output.stdout.splitlines()[:2], sep="\n")
file = feature_file(hparams, "jazz/jazz.00006.wav")
chunks = np.load(file)
print(f"{file.parent.name}/{file.name}: {chunks.shape} {chunks.dtype}: chunks, frames, bins")

# %%
plot_chunks(*network_feature(Path(track), 0, hparams), hparams, plt.subplots(figsize=(11, 3.2))[1])
plt.show()

# %% [markdown]
# ### data_augment
#
# A song is still the same genre when it is a semitone higher, a bit faster or slightly noisy. Small
# changes that keep the label make more training audio. Listen to all six effects on the clip:

# %%
effects = {
    "clip": clip,
    "pitch_shift: 2 semitones up": pitch_shift(clip, SR, 2),
    "time_stretch: 1.25 x as fast": time_stretch(clip, SR, 1.25),
    "speed: 1.12 x as fast and high": change_speed(clip, SR, 1.12),
    "noise: 10 dB below the clip": add_noise(clip, SR, 10, 0),
    "shift: by 1 s": shift(clip, SR, 1),
    "percussive part": percussive(clip, SR, 1.5),
}
play_all(effects)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
limits = 0, np.percentile(feature, 99.5)  # one colour scale for all
figure, axes = plt.subplots(2, 4, figsize=(11, 5.2), sharey=True)
for ax, (name, wave) in zip(axes.flat, effects.items()):
    plot_feature(wave, hparams, ax, limits=limits)
    ax.set(title=name.replace(": ", ":\n"), ylabel="", xlim=(0, 3), xticks=range(4))
    ax.set_facecolor("lightgray")  # after the end of a faster copy
for ax in axes[:, 0]:
    ax.set_ylabel("frequency (Hz)")
axes[1, 3].axis("off")
plt.show()

# %% [markdown]
# librosa has three of these effects. In 64 bits it gives the same result; in 32 bits its phase sums
# lose digits.

# %%
exact = clip.astype(np.float64)
compare(time_stretch(clip, SR, 1.25), librosa.effects.time_stretch(exact, rate=1.25), 1e-4)
compare(pitch_shift(clip, SR, 2), librosa.effects.pitch_shift(exact, sr=SR, n_steps=2), 1e-4)
compare(percussive(clip, SR, 1.5), librosa.effects.percussive(exact, margin=(1, 1.5)), 1e-4)

# %% [markdown]
# ### data_manager
#
# This module collects the chunks of each split and **normalizes** them: it subtracts the mean and
# divides by the standard deviation. Both are computed from the *train* split only. If valid or test
# tracks influenced them, data would leak into training.

# %%
recipe = "--model Compact1D --optimizer adamw --lr_schedule onecycle --learning_rate 0.003"
recipe += " --batch_size 32 --num_epochs 16 --device 0"  # 0: CPU
settings = HParams(dataset_path=hparams.dataset_path).parse_argument(recipe.split())
loaders = train_loader, valid_loader, test_loader = get_dataloader(settings)
for split, loader in zip(SPLITS, loaders):
    print(f"{split}: {len(loader.dataset)} chunks in {len(loader)} batches")
mean, std = train_loader.dataset.normalization
x, y = next(iter(train_loader))
print(f"mean {mean:.3f}, deviation {std:.3f}; a batch: x {tuple(x.shape)}, y {tuple(y.shape)}")

# %% [markdown]
# ### model, and how it learns
#
# `Compact1D` is a 1-D CNN of this project for data sets with a few hundred tracks. A `Runner` holds
# a model, its **loss** and its **optimizer**. The loss is cross-entropy: minus the logarithm of the
# probability that the model gives to the true genre. The optimizer moves each weight a little
# against the gradient of the loss. Training repeats three steps: logits, loss, update. Here are ten
# updates on a single batch, which the model soon learns by heart. Guessing would give
# $\ln 8 = 2.08$:

# %%
set_seed(settings.seed)
runner = Runner(dataclasses.replace(settings, genres=genres), train_loader)
for _ in range(10):
    loss = runner.criterion(runner.logits(x), y)
    runner.step(loss)
    print(f"{loss.item():.2f}", end="  ")

# %% [markdown]
# ### train_test
#
# An **epoch** is one pass over all training chunks. After each epoch the script measures the loss
# on the valid split, without learning. It keeps the weights of the epoch with the lowest valid
# loss. With the one-cycle schedule, as here, it keeps those of the last epoch. It scores the test
# split with them, once. On the command line this is `python train_test.py` with the same flags:

# %%
shutil.rmtree("runs/tutorial/mel", ignore_errors=True)  # from the last time you ran this
place = ["--dataset_path", hparams.dataset_path, "--run_path"]
train_test.main([*place, "runs/tutorial/mel", *recipe.split()])

# %% [markdown]
# ### Exercises
#
# **11.1** The 30 s of a demo track give 1,292 frames, but only 1,024 are used. Which setting keeps
# all of them, and how many chunks does a track then have?
#
# <details><summary>Answer</summary>
#
# `--feature_length 0`. It gives 11 chunks, and 10 of them count: the last one is mostly padding.
#
# ```python
# whole_track, real, counted = network_feature(
#     Path(track), 0, dataclasses.replace(hparams, feature_length=0)
# )
# print(whole_track.shape, real, "frames are sound,", counted, "chunks count")
# ```
#
# </details>
#
# **11.2** Train on the same batch for 30 more updates. How low does the loss get, and why is this a
# useful test before a long training?
#
# <details><summary>Answer</summary>
#
# It gets close to 0. A model that cannot learn one batch by heart has a bug: wrong labels, a
# missing gradient, a bad learning rate. This test takes seconds.
#
# ```python
# for _ in range(30):
#     loss = runner.criterion(runner.logits(x), y)
#     runner.step(loss)
# print(f"{loss.item():.3f}")
# ```
#
# </details>
#
# **11.3** Check the normalization: compute mean and standard deviation of the chunks of each split,
# as the model receives them. Which are exactly 0 and 1, and why not all?
#
# <details><summary>Answer</summary>
#
# The train split's are, up to rounding. Valid and test are only close, because they use train's
# numbers.
#
# ```python
# for split, loader in zip(SPLITS, loaders):
#     values = torch.cat([batch for batch, _ in loader])
#     print(f"{split}: mean {values.mean():.3f}, deviation {values.std():.3f}")
# ```
#
# </details>

# %% [markdown]
# ## 12. Results
#
# `Test Accuracy` counts chunks of 3 s. `Test Track Accuracy` counts tracks: the probabilities of
# the chunks are averaged first. A listener would not judge by 3 s either. The interval shows how
# much the number depends on the choice of test tracks. With 32 tracks, it depends on it a lot.
#
# **Learning curves**: the loss on the train split keeps falling. When the loss on the valid split
# stops falling, the network starts to learn its tracks by heart. This is called *overfitting*.

# %%
folder = Path("runs/tutorial/mel")
report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
plot_learning_curves(read_history(folder), report["best_epoch"])
plt.show()

# %% [markdown]
# The **confusion matrix** has a row for each true genre and a column for each answer. Every track
# off the diagonal is a confusion.

# %%
plot_confusion_matrix(np.array(report["confusion_matrix"]), list(report["per_genre"]))
plt.show()

# %% [markdown]
# This is the most confident wrong answer. Listen: would you have known?

# %%
wrong = find_wrong(report)
name, verdict, share = wrong[0] if wrong else (report["tracks"][0]["track"], "all correct", 1)
print(f"{name}: {verdict}, with a probability of {share:.0%}")
play(load_audio(Path(hparams.dataset_path, name), hparams)[3 * SR : 8 * SR])

# %% [markdown]
# ### A track the network is unsure about
#
# The network answers chunk by chunk. For most tracks all chunks agree. The next cell finds the test
# track whose answer changes most often; among tracks with equally many changes, it takes the one
# with the highest mean *entropy*. The entropy of a chunk is 0 bits if one genre has all the
# probability, and 3 bits if all 8 genres are equally likely.

# %%
run = TrainedRun(folder / "best.pt", "cpu")
test_tracks = load_list("test_list.txt", hparams)
predictions = {
    name: predict.predict_track(Path(hparams.dataset_path, name), run, whole=True)
    for name in test_tracks
}


def unrest(prediction):
    """Count the changes of the most probable genre; add the mean entropy in bits."""
    p = prediction.chunks  # (chunks, genres)
    entropy = -(p * np.log2(np.maximum(p, 1e-9))).sum(1)
    return int(np.count_nonzero(np.diff(p.argmax(1)))), float(entropy.mean())


unsure = max(predictions, key=lambda name: unrest(predictions[name]))
changes, entropy = unrest(predictions[unsure])
print(f"{unsure}: the answer changes {changes} times, mean entropy {entropy:.2f} bits")
times = predict.chunk_edges(predictions[unsure], run.hparams)
plot_timeline(predictions[unsure].chunks, times, run.hparams.genres, unsure)
plt.show()
play(load_audio(Path(hparams.dataset_path, unsure), hparams))

# %% [markdown]
# The strip on top shows the most probable genre of each chunk, in the colour of its row. Play the
# track and follow the picture. What happens in the music when the answer changes?
#
# ### Similar tracks
#
# The embedding, the input of the last layer, is useful beyond genres. Tracks with similar
# embeddings tend to sound similar. Similarity is the *cosine* of two embeddings; it is 1 if they
# point in the same direction. Which test tracks are most similar to the first jazz track?

# %%
embeddings = np.stack([embed_track(Path(hparams.dataset_path, name), run) for name in test_tracks])
query = next(row for row, name in enumerate(test_tracks) if name.startswith("jazz"))
print(f"0 (1.0) {test_tracks[query]}")
rows, cosines = nearest(embeddings[query], embeddings, 5, [query])
for number, (row, cosine) in enumerate(zip(rows, cosines), start=1):
    print(f"{number} ({cosine:.4f}) {test_tracks[row]}")

# %% [markdown]
# ### Was the network worth it?
#
# Here is the classical method, (a) of section 10, on the same tracks: mean and standard deviation
# of 13 MFCCs over time, and a support vector machine.

# %%
shutil.rmtree("runs/tutorial/mfcc", ignore_errors=True)
flags = [*place, "runs/tutorial/mfcc", "--feature", "mfcc"]
with capture_output():
    feature_extraction.main(flags)
    classic.main([*flags, "--model", "svm"])
for name in ("tutorial/mel", "tutorial/mfcc"):
    scores = json.loads(Path("runs", name, "report.json").read_text(encoding="utf-8"))
    least, most = scores["track_interval"]
    right = scores["track_accuracy"]
    print(f"{name:13}: {right:.1%} of the tracks (95 % interval: {least:.0%} to {most:.0%})")

# %% [markdown]
# If the two intervals overlap widely, 32 tracks cannot tell which method is better. Then you need
# more tracks, more seeds or another data set; `python compare.py` makes the table. And synthesized
# tracks do not show how either method does on real songs.
#
# ### Exercises
#
# **12.1** Compute the 95 % interval of the track accuracy yourself, with Wilson's formula, with
# $z = 1.96$. How many test tracks would halve its width?
#
# $$\Big(p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}\Big)
# \Big/ \Big(1 + \frac{z^2}{n}\Big)$$
#
# <details><summary>Answer</summary>
#
# About four times as many: the width shrinks with the square root of $n$.
#
# ```python
# def wilson(p, n, z=1.96):
#     centre, spread = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
#     return (centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n)
#
#
# print(report["track_interval"], wilson(report["track_accuracy"], 32))
# print(wilson(report["track_accuracy"], 128))
# ```
#
# </details>
#
# **12.2** Instead of averaging probabilities, let the chunks vote for a genre. Compare both rules
# on `predictions`.
#
# <details><summary>Answer</summary>
#
# The rules differ by a track or two, which means little with 32 tracks. The mean uses how sure each
# chunk is. A vote does not, and it can tie.
#
# ```python
# truth = [run.hparams.genres.index(name.split("/")[0]) for name in test_tracks]
# shares = [predictions[name].chunks for name in test_tracks]
# by_mean = np.array([p.mean(0).argmax() for p in shares])
# by_vote = np.array([np.bincount(p.argmax(1), minlength=8).argmax() for p in shares])
# print("mean:", np.sum(by_mean == truth), "vote:", np.sum(by_vote == truth), "of", len(truth))
# ```
#
# </details>
#
# **12.3** For how many test tracks does the most similar track have the same genre? The number is
# far above the accuracy of the network. Why? Hint: each artist of the demo has two tracks, one
# after the other in the list.
#
# <details><summary>Answer</summary>
#
# The most similar track is usually by the same artist: the embedding also describes the sound of an
# artist. If you leave out the artist's other track, fewer answers are right. This is the reason why
# no artist may appear in two splits.
#
# ```python
# for leave_out_artist in (False, True):
#     hits = 0
#     for row, name in enumerate(test_tracks):
#         left_out = [row, row ^ 1] if leave_out_artist else [row]
#         first_row = nearest(embeddings[row], embeddings, 1, left_out)[0][0]
#         hits += test_tracks[first_row].split("/")[0] == name.split("/")[0]
#     print(f"{hits} of {len(test_tracks)}")
# ```
#
# </details>
#
# **12.4** Does the answer survive an effect? Classify the jazz track `track`, then its copies with
# each of two effects.
#
# <details><summary>Answer</summary>
#
# If the probabilities change a lot, training with augmented copies may help.
#
# ```python
# original = load_audio(track, hparams)
# for title, wave in (("original", original), ("up", pitch_shift(original, SR, 2)),
#                     ("noise", add_noise(original, SR, 10, 0))):
#     part = log_mel(wave, hparams)[:1280].reshape(-1, 128, 128)
#     probabilities = run.probabilities(part).mean(0)
#     print(f"{title}: {run.hparams.genres[probabilities.argmax()]} {probabilities.max():.0%}")
# ```
#
# </details>
#
# ### What to try next
#
# - Change the window: `--win_size 2048 --fft_size 2048`, for extraction and for training. Which
#   genres gain?
# - Try `--feature cqt`, `--model Compact2D`, or `--time_mask 16 --frequency_mask 16`.
# - Run `python data_augment.py --dataset_path dataset/demo`, then extract and train on
#   `dataset/demo-augmented`.
# - Run `python predict.py song.mp3 --run runs/tutorial/mel` with a song of yours. Which genres
#   does it name?
# - Write your own network at the end of `model.py`, and pass its name as `--model`.
# - Use your own music, with one folder per genre: `python dataset/make_lists.py my_music`.
#
# ### Further reading
#
# - Davis and Mermelstein (1980), on MFCCs; Tzanetakis and Cook (2002), who introduced GTZAN.
# - Sturm (2013), *The GTZAN dataset: its contents, its faults ...*; Kereliuk, Sturm and Larsen
#   (2015), whose fault-filtered split is used here.
# - Choi, Fazekas and Sandler (2016), *Automatic tagging using deep convolutional neural networks*.
# - Lee, Park, Kim and Nam (2017), *Sample-level deep convolutional neural networks for music
#   auto-tagging using raw waveforms*.
# - Nam, Choi, Lee, Chou and Yang (2019), *Deep learning for audio-based music classification and
#   tagging*: section 10 follows its three kinds of networks.
