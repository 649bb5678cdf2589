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
# From air that trembles to a network that names the genre of a track, in one afternoon. The way:
#
# 1. [Music as data](#1.-Music-as-data)
# 2. [How a computer takes sound in](#2.-How-a-computer-takes-sound-in): sampling, quantization
# 3. [How people take it in](#3.-How-people-take-it-in): sensation, perception, cognition
# 4. [Waves](#4.-Waves): what physics measures, and what we hear
# 5. [The Fourier transform](#5.-The-Fourier-transform): Euler, magnitude, phase, DFT
# 6. [STFT](#6.-STFT): windows, hops, and what a long or a short window costs
# 7. [What to give a model](#7.-What-to-give-a-model): decibels, octaves, mel, MFCC, CQT
# 8. [What models are asked](#8.-What-models-are-asked): the tasks of music
# 9. [Convolutional networks](#9.-Convolutional-networks): filter, padding, stride, pooling
# 10. [Three kinds of them](#10.-Three-kinds-of-them): 1-D, 2-D, sample-level
# 11. [The pipeline](#11.-The-pipeline): the scripts of this project, one after the other
# 12. [Results](#12.-Results)
#
# Whoever has met sines, vectors and some Python can follow. Every cell is short, and computes with
# the project's own functions wherever it has one: what you see here is what the scripts do. Change
# a number and run a cell again; that is how the text wants to be read.
#
# Everything here was run from top to bottom; that takes a minute or two on two cores and downloads
# nothing. Players work in Jupyter. A code-hosting site may show none, but shows all pictures.
#
# *The page is made of `tutorial.py` by `make notebook`: change that file, not this one.*

# %%
import os
import sys
import warnings
from pathlib import Path

if not Path("hparams.py").exists():  # Jupyter starts in the notebook's folder
    os.chdir("..")
sys.path.insert(0, str(Path.cwd()))
warnings.filterwarnings("ignore", message="IProgress")  # no progress bars here

# %%
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from IPython.display import HTML, Audio
from IPython.utils.capture import capture_output
from lists import SPLITS, load_list
from plots import BLUE, GREEN, ORANGE, RED, plot_feature, plot_waveform, stft_settings

from audio import load_audio
from dataset import demo
from hparams import HParams

# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None, "metadata": {"Software": None}}
plt.rcParams |= {"figure.constrained_layout.use": True, "figure.dpi": 80, "axes.titlesize": 11}

# %% [markdown]
# ## 1. Music as data
#
# A piece of music is made by a **composer**, played by a **performer** on an **instrument**, in a
# **room** where it is recorded, and ends at a **listener**. Each of them leaves a trace in the
# sound, and a model gets all the traces in one line of numbers. Speech is mostly one voice; music
# is many instruments at once, laid over each other as the tracks of a mixing desk.
#
# The data set that the pipeline was first meant for is **GTZAN**: clips of 30 s, mono, at 22,050 Hz
# and 16 bit, that is about 1.3 MB each, in one folder a genre. The part used here has 730 of them
# in 8 genres. It cannot be passed on, so this page works on `dataset/demo`, laid out in the same
# way: 160 tracks that a program composes, performs on synthetic instruments, and records in
# synthetic rooms. It is made when the next cell first runs.

# %%
hparams = HParams(dataset_path="dataset/demo")
with capture_output():
    if not Path(hparams.dataset_path, "test_list.txt").exists():
        demo.main(["--path", hparams.dataset_path])
for split in SPLITS:
    names = load_list(f"{split}_list.txt", hparams)
    print(f"{split}: {len(names)} tracks, {names[0]} ... {names[-1]}")

# %% [markdown]
# Three lists say which track is for **training**, which for choosing while training (**valid**),
# and which for the one **test** at the end. No artist is in two of them: a model that knows an
# artist's sound would otherwise get points for that.
#
# A second and a half of each genre:


# %%
def play(y, rate=hparams.sample_rate):
    """A player of a waveform (samples,), its loudest sample at half of what there is room for."""
    return Audio(0.5 * y / np.abs(y).max(), rate=rate, normalize=False)


def play_all(players):
    """A table of players by their names."""
    rows = [f"<tr><td>{name}</td><td>{each._repr_html_()}</td></tr>" for name, each in players]
    return HTML(f"<table>{''.join(rows)}</table>")


players = []
for genre in demo.STYLES:
    y = load_audio(f"dataset/demo/{genre}/{genre}.00000.wav", HParams(sample_rate=11025))
    players.append((genre, play(y[11025 * 8 : 11025 * 19 // 2], 11025)))
play_all(players)

# %% [markdown]
# ## 2. How a computer takes sound in
#
# A microphone turns pressure into voltage, which is *continuous* in time and in value. A computer
# needs numbers, and gets them in three steps:
#
# - **sampling**: look at the voltage at equal steps of time only;
# - **quantizing**: round each look to one of finitely many levels;
# - **encoding**: write the level down in binary digits.
#
# `load_audio` reads a file and undoes the last step. It returns the *waveform*: an array of
# `float32` in [-1, 1], here of 22,050 samples a second, one channel.

# %%
SR = hparams.sample_rate
track = "dataset/demo/jazz/jazz.00006.wav"
y = load_audio(track, hparams)
print(y[:5], y.dtype, y.shape)
print(f"{len(y)} samples / {SR} Hz = {len(y) / SR:.1f} s")

# %% [markdown]
# Three seconds of it, which will be with us to the end of the page. The picture has *time* on its
# x-axis and *amplitude* on its y-axis.

# %%
clip = y[8 * SR : 11 * SR]
plot_waveform(clip, SR, plt.subplots(figsize=(10, 2))[1])
plt.show()
play(clip)

# %% [markdown]
# Three seconds are 66,150 samples, far more than a picture has columns. Look closer, and the dots
# appear: this is all the computer has.

# %%
start = int(np.abs(clip).argmax())  # where it is loudest
few = clip[start : start + 110]
plt.figure(figsize=(10, 2))
plt.plot(np.arange(len(few)) * 1000 / SR, few, "o-", color=BLUE, markersize=3, linewidth=0.5)
plt.xlabel("time (ms)"), plt.ylabel("amplitude")
plt.title(f"{len(few)} samples, {1000 / SR:.4f} ms from each to the next")
plt.show()

# %% [markdown]
# ### How many samples a second?
#
# The **sampling theorem** (Nyquist, Shannon): a signal whose frequencies all lie *below half the
# sample rate* can be rebuilt from its samples exactly. What lies above is not lost but worse: it
# comes back as another frequency, an **alias**. Below, a tone of 7,000 Hz is sampled 8,000 times a
# second. Its samples are the very samples of a tone of 8,000 - 7,000 = 1,000 Hz.

# %%
n, rate = np.arange(9), 8000
fast = np.cos(2 * np.pi * 7000 * n / rate)
slow = np.cos(2 * np.pi * 1000 * n / rate)
t = np.linspace(0, 8 / rate, 500)
plt.figure(figsize=(10, 2))
plt.plot(1000 * t, np.cos(2 * np.pi * 7000 * t), color=ORANGE, label="7,000 Hz")
plt.plot(1000 * t, np.cos(2 * np.pi * 1000 * t), color=BLUE, label="1,000 Hz")
plt.plot(1000 * n / rate, fast, "ko", label="samples of either")
plt.xlabel("time (ms)"), plt.ylabel("amplitude"), plt.legend(loc="right")
plt.show()
print(f"largest difference of the samples: {np.abs(fast - slow).max():.0e}")

# %% [markdown]
# So whoever lowers a sample rate first takes out all that the new one cannot hold. `load_audio`
# does; `y[::2]`, every other sample, would not.
#
# | sample rate | holds frequencies below | used for |
# |---|---|---|
# | 8,000 Hz | 4,000 Hz | telephones |
# | 16,000 Hz | 8,000 Hz | speech |
# | 22,050 Hz | 11,025 Hz | music for machines: half the data, most of the sound |
# | 44,100 Hz | 22,050 Hz | the CD: young ears hear up to some 20,000 Hz |
#
# ### How many levels?
#
# With $b$ bits there are $2^b$ levels. Rounding to them is an error of at most half a step, which
# sounds as noise. Each bit halves the error, and so brings about 6 dB more between signal and noise
# (decibels come in section 7): for a full-scale sine the ratio is $6.02\,b + 1.76$ dB.


# %%
def quantize(y, bits):
    """A waveform (samples,) rounded to the middles of 2 ** bits equal steps from -1 to 1."""
    step = 2 / 2**bits
    return (np.floor(y / step) + 0.5) * step


sine = 0.99 * np.sin(2 * np.pi * 441.7 * np.arange(SR) / SR)
for bits in (16, 8, 4):
    noise = quantize(sine, bits) - sine
    snr = 10 * np.log10(np.mean(sine**2) / np.mean(noise**2))
    rule = 6.02 * bits + 1.76
    print(f"{bits:2d} bits, {2**bits:6,d} levels: {snr:5.1f} dB (rule: {rule:.1f} dB)")

# %% [markdown]
# The clip in 5 bits. You know this sound from old games:

# %%
play(quantize(clip[: 3 * SR // 2], 5))

# %% [markdown]
# And encoding: a WAV file of 16 bit is two bytes a sample, after 44 bytes that say what they are.

# %%
info = soundfile.info(track)
print(info.samplerate, "Hz,", info.channels, "channel,", info.subtype)
print(f"{44 + 2 * info.frames:,} bytes expected, {Path(track).stat().st_size:,} on disk")

# %% [markdown]
# ## 3. How people take it in
#
# Sound passes through the outer ear (which catches it), the middle ear (three bones that carry it
# on), and the inner ear, where a coiled, fluid-filled tube, the *cochlea*, sorts it by frequency
# and turns it into nerve pulses. Then the brain begins. Seen as information processing there are
# three stages, and we wish the computer had them too:
#
# | stage | people | the computer, on this page |
# |---|---|---|
# | **sensation** | the ear encodes sound | sampling, STFT |
# | **perception** | pitch, timbre, loudness, duration | mel, dB, MFCC, CQT |
# | **cognition** | scale and key, rhythm, structure, memory, emotion | networks, of a kind |
#
# The right column is a likeness, not a claim. But it tells what a good representation is good for:
# the less a model must find out about hearing, the fewer tracks it needs for learning about music.

# %% [markdown]
# ## 4. Waves
#
# Sound is air, pressed together and thinned out in turn. Each bit of air only swings to and fro;
# what travels is the pattern, at some 343 m a second, and with it energy, but no matter. Of a wave
# that repeats one can measure
#
# - its **amplitude**: how strong the pressure changes (its square tells the *intensity*);
# - its **frequency**: how often a second it repeats, in hertz (Hz);
# - its **phase**: where in its course it is at time 0, as an angle.
#
# The time of one repetition is the **period** $T = 1/f$. A sine $\sin(\omega t)$ has the period
# $2\pi/\omega$, so that $\omega = 2\pi f$.

# %%
for hz, name in ((27.5, "lowest key of a piano"), (440, "tuning fork"), (4186, "highest key")):
    period = f"period {1000 / hz:6.3f} ms = {SR / hz:5.1f} samples"
    print(f"{hz:6.1f} Hz ({name}): {period}, wavelength {343 / hz:5.2f} m")

# %% [markdown]
# ### What is measured, what is heard
#
# Three ways in which tones differ, each with two names: physics measures one, ears report the
# other.
#
# | physics | what of the wave | hearing |
# |---|---|---|
# | **intensity** | how far it swings | **loudness** |
# | **frequency** | how fast it repeats | **pitch** |
# | **tone colour** | the shape of one repetition, and how that changes | **timbre** |
#
# They belong together but are not the same. Ten times the intensity (10 dB) sounds only about twice
# as loud, and a low tone needs more of it than one at 3,000 Hz; equal steps of pitch are equal
# *ratios* of frequency; and timbre is all that still differs between two tones of equal loudness,
# pitch and duration.


# %%
def tone(hz, levels=(1,), seconds=0.5):
    """A tone (samples,): sines of 1, 2, 3 ... times a frequency with these levels."""
    t = np.arange(int(seconds * SR)) / SR
    wave = sum(a * np.sin(2 * np.pi * k * hz * t) for k, a in enumerate(levels, start=1))
    return 0.2 * wave / np.sqrt(np.mean(wave**2))  # equal intensity, whatever the levels


A4, bright = tone(440), tone(440, [1 / k for k in range(1, 11)])
pairs = {
    "intensity": (0.1 * A4, A4, "a tenth of the amplitude", "the whole"),
    "frequency": (A4, tone(880), "440 Hz", "880 Hz"),
    "tone colour": (A4, bright, "one sine", "ten sines: 440, 880, 1,320 ... Hz"),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 2.4), sharey=True)
for ax, (name, (first, second, *labels)) in zip(axes, pairs.items()):
    for wave, label, color in zip((first, second), labels, (ORANGE, BLUE)):
        ax.plot(np.arange(160) * 1000 / SR, wave[:160], color=color, label=label)
    ax.set(title=f"two tones of unlike {name}", xlabel="time (ms)", ylim=(-0.8, 1.4))
    ax.legend(loc="upper right", fontsize=9)
axes[0].set_ylabel("amplitude")
plt.show()

# %%
players = []
for name, (first, second, *_) in pairs.items():
    both = np.concatenate([first, second])[::2]  # they hold nothing above 4,400 Hz
    players.append((name, play(both, SR // 2)))
play_all(players)

# %% [markdown]
# ### Complex waves
#
# The third tone is a **complex wave**: a sum of several sine waves. Nearly all sounds are. If the
# frequencies are whole multiples of one, the *fundamental*, they are its **harmonics**; we hear one
# tone whose pitch is the fundamental's. Real tones swell and fade and waver, and some of their
# sound is no tone at all, so the general picture lets amplitude and phase move with time and leaves
# a rest:
#
# $$x(n) \approx \sum_{k=1}^{K} a_k(n)\,\cos\big(\phi_k(n)\big) + e(n)$$
#
# with the instantaneous amplitude $a_k(n)$ and phase $\phi_k(n)$ of each sinusoid, and the residual
# $e(n)$: breath, bow, drum. How few sinusoids make a shape? A square wave is the sum of the odd
# harmonics with amplitudes $4/(\pi k)$:

# %%
t = np.arange(1000) / 1000
square = np.where(t % 0.5 < 0.25, 1, -1)
figure, axes = plt.subplots(1, 3, figsize=(11, 2.2), sharey=True)
for ax, count in zip(axes, (1, 3, 15)):
    odd = np.arange(1, 2 * count, 2)[:, None]
    wave = (4 / (np.pi * odd) * np.sin(2 * np.pi * 2 * odd * t)).sum(0)
    ax.plot(t, square, color="gray"), ax.plot(t, wave, color=BLUE)
    rest = np.mean((square - wave) ** 2)
    ax.set(title=f"{count} sinusoid{'s' * (count > 1)}: {rest:.0%} of the power is left over")
    ax.set_xlabel("time (s)")
axes[0].set_ylabel("amplitude")
plt.show()

# %% [markdown]
# ## 5. The Fourier transform
#
# Can one go back: from the wave to the sinusoids in it? One can. It takes one formula that ties
# sines and cosines into a single thing.
#
# ### Euler's formula
#
# $$e^{i\theta} = \cos\theta + i\,\sin\theta$$
#
# A point at angle $\theta$ on the unit circle of the complex plane. Let the angle grow with time,
# $\theta = 2\pi\frac{k}{T}t$, and the point goes around $k$ times in $T$ seconds. Its shadow on the
# real axis is a cosine, its shadow on the imaginary axis a sine, both of frequency $k/T$.

# %%
theta = np.linspace(0, 2 * np.pi, 200)
point = np.exp(1j * np.pi / 3)
figure, (circle, shadows) = plt.subplots(1, 2, figsize=(9, 2.8), width_ratios=[1, 2])
circle.plot(np.cos(theta), np.sin(theta), color="gray")
circle.plot([0, point.real], [0, point.imag], "o-", color=RED)
circle.plot([point.real] * 2, [0, point.imag], "--", color=GREEN)
circle.plot([0, point.real], [0, 0], "--", color=BLUE)
circle.set(aspect="equal", xlabel="real", ylabel="imaginary", title="one point: 60 degrees")
shadows.plot(np.degrees(theta), np.cos(theta), color=BLUE, label="real part: cosine")
shadows.plot(np.degrees(theta), np.sin(theta), color=GREEN, label="imaginary part: sine")
shadows.axvline(60, color=RED)
shadows.set(xlabel="angle (degrees)", xticks=range(0, 361, 60), title="one turn")
shadows.legend()
plt.show()
print(f"exp(i pi/3) = {point:.4f} = {np.cos(np.pi / 3):.4f} + i {np.sin(np.pi / 3):.4f}")

# %% [markdown]
# ### How much of one frequency is in a wave?
#
# $$A_k = \frac{1}{T}\int_{-T/2}^{T/2} f(t)\,\exp\!\Big(-i\,2\pi\frac{k}{T}t\Big)\,dt$$
#
# Read it from the inside: multiply the wave by a point that goes around backwards, $k$ times in
# $T$, and take the mean. So the wave is *wound around* the origin. Where it has nothing that
# repeats $k$ times, the winding is balanced and its mean is 0. Where it has, the loops lean to one
# side. Below, $f$ has 5 periods of amplitude 1 and 8 of amplitude 0.5. (A real cosine of amplitude
# $a$ gives $a/2$: the other half is at $-k$, because
# $\cos\theta = (e^{i\theta} + e^{-i\theta})/2$.)

# %%
T = 1
t = np.linspace(-T / 2, T / 2, 2000, endpoint=False)
f = np.cos(2 * np.pi * 5 * t / T) + 0.5 * np.cos(2 * np.pi * 8 * t / T)
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), width_ratios=[1.4, 1, 1, 1])
axes[0].plot(t, f, color=BLUE)
axes[0].set(title="f(t)", xlabel="time (s)", ylabel="amplitude")
for ax, k in zip(axes[1:], (5, 6, 8)):
    wound = f * np.exp(-2j * np.pi * k * t / T)
    A = wound.mean()
    ax.plot(wound.real, wound.imag, color=BLUE, linewidth=0.8)
    ax.plot(A.real, A.imag, "o", color=RED)
    ax.set(title=f"k = {k}: |A| = {abs(A):.2f}", aspect="equal", xlabel="real")
axes[1].set_ylabel("imaginary")
plt.show()

# %% [markdown]
# ### Magnitude and phase
#
# What comes out is a complex number a frequency, $X = X_R + i X_I$. Its length tells how strong the
# frequency is, its angle where in its course it begins:
#
# $$|X(k)| = \sqrt{X_R^2(k) + X_I^2(k)} \qquad
# \angle X(k) = \phi(k) = \arctan\frac{X_I(k)}{X_R(k)}$$
#
# the **magnitude spectrum** and the **phase spectrum**. (The arctangent of a quotient cannot tell
# $X$ from $-X$; programs use `arctan2`, as `np.angle` does, which looks at both signs.) Make a wave
# with a phase of 60 degrees, and delay it by 3 samples: the magnitude stays, the phase turns.

# %%
N, k, delay = 64, 4, 3
x = np.cos(2 * np.pi * k * np.arange(N) / N + np.pi / 3)
for name, wave in (("as it is", x), (f"{delay} samples later", np.roll(x, delay))):
    X = np.fft.fft(wave)[k] * 2 / N
    print(f"{name:15}: magnitude {np.abs(X):.3f}, phase {np.degrees(np.angle(X)):6.1f} degrees")
print(f"a delay of {delay} of {N} samples, {k} periods: {-360 * k * delay / N} degrees")

# %% [markdown]
# Remember it: *when* something sounds is in the phase. Most of what follows throws the phase away.
#
# ### The discrete Fourier transform (DFT)
#
# The computer has samples $y_0 \dots y_{N-1}$, no function to integrate. Take them as one period of
# a signal that repeats every $N$ samples; then $N$ complex sinusoids are enough to write it down
# without any rest:
#
# $$Y_k = \sum_{n=0}^{N-1} y_n\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big) \qquad
# y_n = \frac{1}{N}\sum_{k=0}^{N-1} Y_k\,\exp\!\Big(i\,2\pi\frac{k}{N}n\Big)$$
#
# $n$ counts time, $k$ counts frequency, and $Y_k$ is the spectrum at the $k$-th one. That is a
# matrix times a vector. `np.fft.fft` gives the same by the *fast* Fourier transform (FFT), with
# some $N \log_2 N$ steps for $N^2$: an algorithm, not another transform.


# %%
def dft(y):
    """The discrete Fourier transform, by its formula: (N,) to complex (N,)."""
    n = np.arange(len(y))
    return np.exp(-2j * np.pi * np.outer(n, n) / len(y)) @ y


N = 1024
frame = clip[start : start + N]
Y = dft(frame)
print(f"formula and FFT differ by {np.abs(Y - np.fft.fft(frame)).max():.0e} at most")
print(f"steps: {N**2:,} or {int(N * np.log2(N)):,}")

# %% [markdown]
# Bin $k$ is the frequency $k \cdot SR / N$. Samples are real numbers, so that bin $N - k$ is the
# mirror image of bin $k$ (its complex conjugate) and tells nothing new: bins 0 to $N/2$ are enough.

# %%
print(f"from bin to bin: {SR / N:.2f} Hz; bins that count: {N // 2 + 1}; the last is {SR / 2} Hz")
print("bin 10 and bin N - 10 are conjugates:", np.allclose(Y[10], np.conj(Y[N - 10]), atol=1e-4))

# %% [markdown]
# And back from the spectrum to the sound, from the strongest sinusoids alone. A few of them make
# most of it, which is why compression works, and why spectra are good to learn from:

# %%
spectrum = np.fft.rfft(frame)
strongest = np.argsort(-np.abs(spectrum))
figure, axes = plt.subplots(1, 3, figsize=(11, 2.3), sharey=True)
for ax, count in zip(axes, (3, 10, 40)):
    few = np.zeros_like(spectrum)
    few[strongest[:count]] = spectrum[strongest[:count]]
    rebuilt = np.fft.irfft(few)
    ax.plot(np.arange(N) * 1000 / SR, frame, color="gray", linewidth=0.8)
    ax.plot(np.arange(N) * 1000 / SR, rebuilt, color=BLUE)
    rest = np.mean((frame - rebuilt) ** 2) / np.mean(frame**2)
    ax.set(title=f"{count} of 513 bins: {rest:.1%} left over", xlabel="time (ms)")
axes[0].set_ylabel("amplitude")
plt.show()

# %% [markdown]
# ## 6. STFT
#
# A spectrum says which frequencies there are, but not when. Here is a tone that glides up, and one
# that glides down. Nobody would confuse them, but their magnitude spectra are the same, but for
# rounding:

# %%
t = np.arange(SR) / SR
up = 0.3 * np.sin(2 * np.pi * (200 * t + 400 * t**2))  # 200 Hz at first, 1,000 Hz after a second
down = up[::-1]
difference = np.abs(np.abs(np.fft.rfft(up)) - np.abs(np.fft.rfft(down)))
print(f"the magnitudes differ by {difference.max():.0e} at most")
play(np.concatenate([up, down])[::2], SR // 2)

# %% [markdown]
# The way out is the **short-time Fourier transform**: cut the sound into short frames and transform
# each of them by itself.
#
# $$X(l, k) = \sum_{n=0}^{N-1} w(n)\,x(n + lH)\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big)$$
#
# | | what it is | flag | here |
# |---|---|---|---|
# | $l$ | number of the frame | | |
# | $k$ | number of the frequency | | |
# | $H$ | **hop**: samples from the start of a frame to that of the next | `--hop_size` | 512 |
# | $w(n)$ | **window**: weights that fade a frame in and out | `--win_size` | 1024, Hann |
# | $N$ | **FFT size**: how many frequencies the circle is divided into | `--fft_size` | 1024 |
#
# Of one second at 22,050 Hz it makes a complex matrix of 513 frequencies and 44 frames:

# %%
from feature_extraction import count_frames, hann, stft

S = stft(clip[:SR], hparams)
print(S.shape, S.dtype, S[0][0])
print(f"frames: 1 + {SR} // {hparams.hop_size} = {count_frames(SR, hparams)}")

# %% [markdown]
# Frame $l$ is *centred* on sample $l H$, with zeros where it reaches beyond the ends. By hand,
# frame 20 is what the formula says:

# %%
centre = 20 * hparams.hop_size
frame = clip[centre - 512 : centre + 512]
by_hand = np.fft.rfft(hann(hparams) * frame)
print(f"they differ by {np.abs(by_hand - S[:, 20]).max():.0e} at most")

# %% [markdown]
# The magnitudes, drawn over time and frequency, are a **spectrogram**. The two glides are two now:

# %%
figure, ax = plt.subplots(figsize=(9, 2.6))
plot_feature(np.concatenate([up, down]).astype(np.float32), stft_settings(hparams), ax)
ax.set_ylim(0, 2000)
plt.show()

# %% [markdown]
# ### How long a window?
#
# A window of so many samples lasts $T = \text{window} / SR$. A rule of thumb says that **it should
# hold five periods of the lowest tone that it is to show**,
# $T_\text{window} \ge 5\,T_\text{signal}$. For 440 Hz:

# %%
seconds = 5 / 440
print(f"5 / 440 Hz = {1000 * seconds:.1f} ms = {np.ceil(seconds * SR):.0f} samples at {SR} Hz")

# %% [markdown]
# Why five? In five periods the harmonics of a tone lie five bins apart ($f$ is bin 5, $2f$ bin 10
# ...). In the spectrum of a Hann window every sinusoid becomes a hill of four bins, as we shall
# see. Hills four wide and five apart stand by themselves. Where they are two or three apart they
# overlap, and what is left to see depends on the phases: each curve below has others.

# %%
rng, t = np.random.default_rng(0), np.arange(SR) / SR
figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), sharey=True)
for ax, periods in zip(axes, (2, 3, 5, 10)):
    size = round(periods * SR / 220)
    for _ in range(6):
        phases = rng.uniform(0, 2 * np.pi, (8, 1))
        eight = np.cos(2 * np.pi * 220 * np.arange(1, 9)[:, None] * t[:size] + phases).sum(0)
        level = np.abs(np.fft.rfft(np.hanning(size + 1)[:-1] * eight, 2**14)) / (size / 4)
        ax.plot(np.fft.rfftfreq(2**14, 1 / SR), 20 * np.log10(level), color=BLUE, linewidth=0.7)
    ax.set(xlim=(0, 1100), ylim=(-45, 10), xlabel="frequency (Hz)")
    ax.set_title(f"{periods} periods, {1000 * size / SR:.1f} ms")
axes[0].set_ylabel("level (dB)")
plt.show()

# %%
print("window  duration   bin to bin   five periods of")
for size in (256, 512, 1024, 2048, 4096):
    milliseconds, bin_hz = 1000 * size / SR, SR / size
    print(f"{size:6d}  {milliseconds:5.1f} ms   {bin_hz:7.2f} Hz    {5 * bin_hz:6.1f} Hz up")

# %% [markdown]
# The window of this pipeline, 1024 samples, keeps the rule from 108 Hz up, just below the note A2:
# good for most voices and melodies, but a bass guitar begins at 41 Hz.
#
# ### Which window?
#
# To cut out a frame is to multiply by a window, even if it is a plain rectangle. Frames begin and
# end anywhere, so the cut makes jumps, and jumps are full of frequencies that were never played.
# The spectrum of a window shows what becomes of a single sinusoid: a **main lobe**, whose width
# says how near another tone can be and still be told apart, and **side lobes**, whose height says
# how faint a tone may be and not drown in what leaks from a loud one. No window is best at both.

# %%
from plots import WINDOWS, plot_window, plot_window_spectrum

figure, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharey="row")
for name, column in zip(WINDOWS, axes.T):
    plot_window(name, hparams.win_size, SR, column[0])
    plot_window_spectrum(name, hparams.win_size, SR, column[1])
axes[0, 0].set_ylabel("weight"), axes[1, 0].set_ylabel("level (dB)")
plt.show()

# %% [markdown]
# The rectangle has the narrowest main lobe, 2 bins, and leaks at -13 dB. Hann, the usual choice,
# and this project's, pays with 4 bins for side lobes that begin at -31 dB and fall fast.
#
# ### Which hop?
#
# Where a window fades out, the next should have faded in. With a hop of a quarter of the window,
# the default of many programs, neighbours share three quarters of their samples; here it is a half,
# and there are half as many frames to store and to learn from.

# %%
frames = SR / hparams.hop_size
shared = 1 - hparams.hop_size / hparams.win_size
print(f"a frame every {1000 / frames:.1f} ms, {frames:.1f} a second; neighbours share {shared:.0%}")

# %% [markdown]
# ### The trade-off
#
# A **long window** tells near frequencies apart but not near moments. A **short window** does the
# opposite. The width of the main lobe, four bins, is $4/T$: however long the window, width times
# duration is 4. You cannot choose a sharper picture, only where it is sharp.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, size in zip(axes, (256, 4096)):
    plot_feature(clip, stft_settings(hparams, size), ax)
    shown = f"lobe {4 * SR / size:.0f} Hz x window {1000 * size / SR:.0f} ms"
    ax.set(title=f"{size} samples: {shown} = {4 * SR / size * size / SR:.0f}", ylim=(0, 4000))
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# On the left tones are thick, but begin and end sharply; on the right they are thin lines, and
# their beginnings are smeared. (`--fft_size` above `--win_size` pads frames with zeros: the curve
# gets more points, not finer detail.)

# %% [markdown]
# ## 7. What to give a model
#
# The complex matrix is hard to learn from. The first thing to go is the phase: one takes the
# absolute value. (It is a loss. That networks which read the waveform can do without this step is
# one reason why they were tried: section 10.) What remains can be shown on several scales, of
# *values* and of *frequency*: linear and log-scale spectrograms, mel spectrogram, MFCC, constant-Q
# transform.
#
# ### Values: decibels
#
# Ears span a range of amplitudes of one to a million, and what they hear as equal steps are rather
# ratios. So one takes the logarithm:
#
# $$L = 20\,\log_{10}|X| \text{ dB}$$
#
# or 10 times the logarithm of the *power* $|X|^2$, which is the same. A voltage is an amplitude;
# its square is a power.

# %%
print("    dB    power ratio   amplitude ratio")
for decibel in (40, 20, 6, 3, 0, -3, -6, -20, -40):
    print(f"{decibel:+6d}  {10 ** (decibel / 10):12.4f}  {10 ** (decibel / 20):12.4f}")

# %% [markdown]
# Within half a percent, 6 dB are twice the amplitude and four times the power, and 3 dB twice the
# power; 20 dB are a factor of 10 in amplitude and of 100 in power. The same clip, linear and in dB:

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, scale in zip(axes, ("none", "db")):
    plot_feature(clip, stft_settings(hparams, scale=scale), ax)
axes[0].set_title("magnitude"), axes[1].set_title("dB")
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# Same numbers, but on the left a few strong bins have all the light. The features of this pipeline
# use another logarithm, $\log_{10}(1 + 10x)$ (`--scale tutorial`). Where $x$ is large it is one,
# and where $x$ is small it is nearly linear and ends at 0, so that silence has a value and no floor
# must be chosen:

# %%
from feature_extraction import SCALES

x = np.array([0, 0.001, 0.01, 0.1, 1, 10, 100])
for name, scale in SCALES.items():
    print(f"{name:9}", "".join(f"{value:9.3f}" for value in scale(x)))

# %% [markdown]
# ### Frequency: octaves
#
# Pitch works in ratios too. The scale of C in *just intonation*, from a C' of 264 Hz:

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
# last column both are $\log_{10} 2 = 0.3010$. (A piano is tuned otherwise: its semitones all have
# the ratio $2^{1/12} \approx 1.0595$, which puts each note a little beside the ratio of whole
# numbers.)
#
# A linear spectrogram gives the octave from 5,000 to 10,000 Hz nearly half of its bins, and the one
# from 110 to 220 Hz, where much of the music is, five of its 513. All other scales of frequency
# mend this in the same way: a matrix of weights that gathers bins into bands,
#
# $$Y = M \cdot X$$
#
# with the spectrogram $X$, the mapping matrix $M$ and the rescaled spectrogram $Y$.

# %%
hz = np.fft.rfftfreq(hparams.fft_size, 1 / SR)
for low in (110, 440, 1760, 5000):
    inside = (hz >= low) & (hz < 2 * low)
    print(f"{low:5d} to {2 * low:5d} Hz: {inside.sum():3d} of {len(hz)} bins")

# %% [markdown]
# ### Mel
#
# Let people say which tones are equally far apart, and you get a scale of pitch, the **mel**:
# nearly linear up to 1,000 Hz and logarithmic above. A common formula, in which 1,000 Hz are 1,000
# mels:
#
# $$m = 2595\,\log_{10}\!\Big(1 + \frac{f}{700}\Big)$$

# %%
from plots import formula_mels, plot_mel_filters, plot_mel_scales

for f in (100, 500, 1000, 2000, 4000, 8000):
    print(f"{f:5d} Hz = {formula_mels(f):6.1f} mels")

# %% [markdown]
# Others fit other curves. librosa's default, and with it this pipeline's, is Slaney's, which is
# exactly linear below 1,000 Hz. The units differ; the shape is what matters:

# %%
plot_mel_scales(SR, plt.subplots(figsize=(8, 3))[1]).set_title("two scales, two y-axes")
plt.show()

# %% [markdown]
# The mapping matrix has a triangle a band, spaced evenly *in mels*. Each takes in the bins about
# its centre, and neighbours overlap. Here are 24 bands, so that one can see them; the pipeline has
# 128.

# %%
from plots import own_settings

plot_mel_filters(own_settings(hparams, num_mels=24), plt.subplots(figsize=(10, 2.5))[1])
plt.show()

# %%
from feature_extraction import log_mel, mel_edges, mel_filters

M = mel_filters(SR, hparams.fft_size, hparams.num_mels)
edges = mel_edges(SR, hparams.num_mels)
print(f"M is {M.shape}, {(M > 0).mean():.1%} of it above 0")
print(f"from band to band: {edges[1] - edges[0]:.0f} Hz at the bottom", end=", ")
print(f"{edges[-1] - edges[-2]:.0f} Hz at the top")

# %% [markdown]
# Put together, this is the feature that the pipeline learns from by default, the **log-mel**:
# magnitudes of the STFT, mel filters, logarithm. Three lines by hand, and `log_mel` of the project:

# %%
magnitude = np.abs(stft(clip, hparams))
by_hand = np.log10(1 + 10 * M @ magnitude).T  # time first: (frames, mels)
feature = log_mel(clip, hparams)
print(feature.shape, f"they differ by {np.abs(feature - by_hand).max():.0e} at most")
plot_feature(clip, hparams, plt.subplots(figsize=(9, 3))[1])
plt.show()

# %% [markdown]
# ### MFCC
#
# Mel bands overlap, and instruments sound in many at once: neighbours say nearly the same.
# Classical classifiers work better with few numbers that do not. **Mel-frequency cepstral
# coefficients**:
#
# 1. mel spectrogram, and its logarithm (here in dB);
# 2. the **discrete cosine transform** of each frame over its $N$ bands;
# 3. keep the first coefficients (13, say), drop the others.
#
# $$X(k) = \sqrt{\frac{2}{N}}\;c_k
# \sum_{n=1}^{N} x(n)\,\cos\!\Big(\frac{\pi k}{N}\big(n - 0.5\big)\Big),
# \qquad c_0 = \tfrac{1}{\sqrt 2},\; c_k = 1 \text{ for } k > 0$$
#
# A Fourier transform of a spectrum, in a way, hence the letters of "spectrum" turned into
# *cepstrum*. Coefficient $k$ says how much of a cosine with $k$ half-waves the spectrum's outline
# has.

# %%
from feature_extraction import decibels, mel_spectrogram, mfcc

x = decibels(mel_spectrogram(clip, hparams))  # (frames, 128)
n, k = np.arange(1, 129), np.arange(13)[:, None]
cosines = np.sqrt(2 / 128) * np.cos(np.pi * k / 128 * (n - 0.5))  # (13, 128)
cosines[0] /= np.sqrt(2)
by_hand = x @ cosines.T
print(by_hand.shape, f"differs from mfcc by {np.abs(by_hand - mfcc(clip, hparams)).max():.0e}")

# %% [markdown]
# The rows of the transform are at right angles to each other, so turning back is the transpose.
# From 13 of 128 numbers comes a smooth outline: timbre is there, the single harmonics are gone.

# %%
loudest = x.sum(1).argmax()
figure, axes = plt.subplots(1, 2, figsize=(11, 2.8))
for number in range(4):
    axes[0].plot(n, cosines[number], label=f"k = {number}")
axes[0].set(title="rows of the cosine transform", xlabel="mel band", ylabel="weight")
axes[0].legend(loc="lower left", fontsize=8)
axes[1].plot(n, x[loudest], color="gray", label="a frame of 128 bands")
axes[1].plot(n, by_hand[loudest] @ cosines, color=BLUE, label="from 13 coefficients")
axes[1].set(title="a spectrum and its outline", xlabel="mel band", ylabel="level (dB)")
axes[1].legend()
plt.show()

# %% [markdown]
# And are the numbers less alike? Over a track of each genre, how much a band goes with the next,
# on average, and how much a coefficient does:

# %%
from feature_extraction import cepstra

tracks = [load_audio(f"dataset/demo/{genre}/{genre}.00000.wav", hparams) for genre in demo.STYLES]
mel = np.concatenate([mel_spectrogram(y, hparams) for y in tracks])
for name, columns in (("bands", decibels(mel)), ("coefficients", cepstra(mel, hparams))):
    neighbours = np.abs(np.corrcoef(columns.T)).diagonal(1)
    print(f"mean correlation of neighbouring {name}, signs apart: {neighbours.mean():.2f}")

# %%
plot_feature(clip, own_settings(hparams, feature="mfcc"), plt.subplots(figsize=(9, 2.6))[1])
plt.show()

# %% [markdown]
# A network needs this less: it finds its own sums of bands, and a dropped coefficient is dropped
# for good. That is why MFCCs go with classical classifiers and log-mel with networks.
#
# ### Constant-Q transform (CQT)
#
# Mel follows hearing; the **CQT** follows the scale of music. Its frequencies are spaced by equal
# ratios, here 24 an octave, a quarter tone each. For the ratio of frequency to bandwidth,
# $Q = f/\Delta f$, to be the same everywhere, each frequency has a window of its own, $Q$ periods
# long:

# %%
Q = 1 / (2 ** (1 / hparams.bins_per_octave) - 1)
print(f"Q = {Q:.1f}")
for hz, name in ((32.70, "C1"), (440, "A4"), (4186, "C8")):
    print(f"{name} {hz:7.1f} Hz: window {1000 * Q / hz:6.1f} ms, bandwidth {hz / Q:6.2f} Hz")

# %% [markdown]
# Long windows below, short ones above: the trade-off is settled anew for each frequency. And a
# chord looks the same in any key: transposing moves the pattern and leaves its form, which is what
# a filter that slides over frequency wants. Two notes an octave apart, in the STFT and in the CQT:

# %%
levels = 0.7 ** np.arange(6)
notes = {"A3, 220 Hz": tone(220, levels, 2), "A4, 440 Hz": tone(440, levels, 2)}
kinds = {"STFT": stft_settings(hparams, scale="none")}
kinds["CQT"] = own_settings(hparams, feature="cqt", scale="none")
from feature_extraction import extract_feature

spectra = {
    kind: [extract_feature(y.astype(np.float32), settings).mean(0) for y in notes.values()]
    for kind, settings in kinds.items()
}
figure, axes = plt.subplots(1, 2, figsize=(11, 2.6))
for ax, (kind, pair) in zip(axes, spectra.items()):
    for values, name, color in zip(pair, notes, (BLUE, RED)):
        ax.plot(values / values.max(), color=color, label=name, linewidth=1)
    ax.set(title=kind, xlabel="bin", xlim=(0, 168), ylabel="magnitude, of its peak")
axes[1].legend()
plt.show()
low, high = spectra["CQT"]
moved = np.correlate(high, low, "full").argmax() - (len(low) - 1)
print(f"the CQT of the one is most like that of the other when moved by {moved} bins: an octave")

# %% [markdown]
# ### Four pictures of one sound
#
# Short window, long window, mel, constant Q. None is the right one; each is a choice of what to
# keep. `python visualize.py song.wav` makes such a page of any file.

# %%
from plots import audible_cqt

choices = {
    "STFT, short window (256)": stft_settings(hparams, 256),
    "STFT, long window (4096)": stft_settings(hparams, 4096),
    "log-mel, 128 bands": hparams,
    "CQT, 24 bins an octave": audible_cqt(hparams),
}
figure, axes = plt.subplots(2, 2, figsize=(11, 6))
for ax, (name, settings) in zip(axes.flat, choices.items()):
    plot_feature(clip, settings, ax).set_title(name)
plt.show()

# %% [markdown]
# ## 8. What models are asked
#
# **Music information retrieval** (MIR) is the field; its questions fall into four groups.
#
# | group | tasks |
# |---|---|
# | **classification** | genre, instrument, singer, emotion; all together: *auto-tagging* |
# | **similarity** | cover songs, query by humming, recommendation, playlists |
# | **transcription** | melody, onsets, beats and tempo, chords and key, structure |
# | **generation** | composing, and playing a score as a person would |
#
# Streaming services live on the first two: tens of millions of tracks, of which nobody can listen
# to more than a few. A picture holds several objects, and a track several labels: genre, mood,
# instruments, artist. So there are two kinds of classification, which differ in the last step only:
#
# - **one of many**: a track has one genre. Softmax makes the model's outputs probabilities that sum
#   to 1.
# - **any of many**: a track has many tags. A sigmoid makes each output a probability by itself.

# %%
logits = torch.tensor([2.0, 1.0, -1.0])
for name, shares in (("softmax", logits.softmax(0)), ("sigmoid", logits.sigmoid())):
    print(f"{name}: {shares.numpy().round(2)}, sum {shares.sum():.2f}")

# %% [markdown]
# Tags can be read aloud. `tags.csv` of the demo knows what its composer drew; put into a sentence
# with blanks:

# %%
from tags import describe, read_tags

table = read_tags(hparams)
names = sorted(table.tags)
for name in ("jazz/jazz.00006.wav", "metal/metal.00000.wav", "reggae/reggae.00000.wav"):
    given = [float(tag in table.tracks[name]) for tag in names]
    print(f"{name}: {describe(given, names)}")

# %% [markdown]
# `python train_test.py --task tagging` learns them from sound, `python retrieve.py` answers
# similarity. From here on the question is one: *which genre is it?*
#
# ## 9. Convolutional networks
#
# To a network a log-mel is a picture, frames wide and mel bands high. Cells of the visual system
# look at a small part of what we see each, their *receptive field*; **convolutional neural
# networks** (CNNs) do likewise, and look for the same small pattern everywhere.
#
# ### Filter
#
# A **filter** (or *kernel*) is a small array of weights $w$ that slides over the input; at each
# place the output is the sum of products. Where the input is like the pattern, that is large, where
# it is not, about 0. (Mathematicians call this a correlation; for a convolution the filter would be
# turned around. Since weights are learned, it makes no difference.)
#
# $$\text{out}(i) = \sum_{j=0}^{k-1} w(j)\;x(i + j)$$

# %%
from torch.nn import functional

x = torch.tensor([[0.0, 0, 0, 5, 5, 5, 5, 0, 0, 0]])  # (channels, length)
w = torch.tensor([[[-1.0, 1]]])  # a step up: (filters, channels, kernel)
print("input: ", x.int().tolist()[0])
print("output:", functional.conv1d(x, w).int().tolist()[0])

# %% [markdown]
# Two filters of 3 x 3 by hand, on our clip: one for what *begins* (dark before, bright after), one
# for what *stays* (a bright line with darkness above and below). Below 0 is cut off, as **ReLU**
# does it in networks. A trained network has hundreds of such filters, and nobody drew them.

# %%
picture = torch.from_numpy(feature.T)[None]  # (channels, bins, frames)
filters = {
    "the log-mel itself": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "filter: a beginning": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "filter: a level line": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
}
figure, axes = plt.subplots(1, 3, figsize=(11, 2.8), sharey=True)
for ax, (name, weights) in zip(axes, filters.items()):
    w = torch.tensor([[weights]], dtype=torch.float32)
    found = functional.conv2d(picture, w, padding=1).relu()[0]
    ax.imshow(found, origin="lower", aspect="auto", cmap="magma")
    ax.set(title=name, xlabel="frame")
axes[0].set_ylabel("mel band")
plt.show()

# %% [markdown]
# ### Padding and stride
#
# A filter of $k$ values fits into $n$ of them only $n - k + 1$ times, so the output shrinks.
# **Padding** puts $p$ zeros around the input against that: with $k = 3$ and $p = 1$ the size stays.
# The **stride** $s$ is how far the filter moves at a time; 2 halves the size. In general
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
# **Pooling** shrinks an output on purpose, with nothing to learn. *Max pooling* keeps the largest
# of each window: the pattern was here somewhere. *Average pooling* keeps the mean: how much of it
# there was. Max pooling is the commoner one.

# %%
x = torch.tensor([[[1.0, 3, 0, 0], [2, 8, 1, 1], [0, 0, 4, 4], [0, 4, 4, 4]]])
print("max:    ", functional.max_pool2d(x, 2).tolist()[0])
print("average:", functional.avg_pool2d(x, 2).tolist()[0])

# %% [markdown]
# It also makes the answer care less for the exact place. Move the input by a frame and a
# convolution's output moves along; after pooling it is often the same. Here the peak moves and the
# pools do not:

# %%
for place in (4, 5, 6):
    x = torch.zeros(1, 12)
    x[0, place] = 1
    print(x.int().tolist()[0], "->", functional.max_pool1d(x, 4).int().tolist()[0])

# %% [markdown]
# ### The end: fully connected
#
# Convolution, normalization, ReLU and pooling make a *block*; blocks are stacked, and each sees
# patterns of the patterns before it, over more time. In the end what is left is laid out as one row
# of numbers, the **embedding**, and a **fully connected** layer weighs all of them into a score a
# genre, the **logits**.
#
# ## 10. Three kinds of them
#
# Music classification has moved from features that people design to features that are learned:
#
# | | input | then | here |
# |---|---|---|---|
# | (a) | MFCC, summed up over time | a standard classifier | `classic.py` |
# | (b) | mel spectrogram | features learned without labels, classifier | `--model dictionary` |
# | (c) | mel spectrogram | a deep network | `train_test.py` |
# | (d) | the waveform | a deep network, *end to end* | `--feature waveform` |
#
# Of (c) and (d) there are three kinds, by what a filter covers. A few lines print what each layer
# gives; only shapes are computed (on the device "meta"), which takes no time.

# %%
import dataclasses

from model import build_model
from train_test import count_parameters

SHOWN = torch.nn.modules.conv._ConvNd, torch.nn.MaxPool1d, torch.nn.MaxPool2d, torch.nn.Linear
genres = list(demo.STYLES)


def show_shapes(frames, bins, **settings):
    """Print what the layers of a model give, of chunks of so many frames and bins."""
    chosen = HParams(genres=genres, chunk_length=frames, num_mels=bins, **settings)
    with torch.device("meta"):
        model = build_model(chosen).eval()
        print(f"{chosen.model}: {count_parameters(model):,} parameters; input {frames} x {bins}")
        for layer in model.modules():
            if isinstance(layer, SHOWN):
                layer.register_forward_hook(show_layer)
        model(torch.zeros(1, frames, bins))


def show_layer(layer, _, output):
    """Print a layer's kind, its kernel, and what it gives."""
    kernel = getattr(layer, "kernel_size", "")
    size = kernel if isinstance(kernel, tuple) else (kernel,) * (kernel != "")
    of = " x ".join(map(str, size))
    print(f"  {type(layer).__name__:9} {of:6} -> {' x '.join(map(str, output.shape[1:]))}")


# %% [markdown]
# ### 1-D
#
# A filter covers *all* mel bands and a few frames, and slides over time alone. Bands are its
# channels: what is at which band is told by place. Few parameters, fast, good with few tracks. But
# the same chord a tone higher is another pattern. `Baseline` is the network that this project began
# with, on 1,024 frames (23.8 s); sizes are channels x frames:

# %%
show_shapes(1024, 128, model="Baseline")

# %% [markdown]
# ### 2-D
#
# A filter covers a few bands and a few frames, and slides over both, as in vision. One pattern is
# found at any pitch, so that it is less troubled by transposition. It takes more computing, and is
# said to want more data. **FCN-4** (Choi et al., 2016) has no fully connected part but its last
# layer; sizes are channels x bands x frames. (The table as often printed has 24 x 85 and 12 x 21 in
# the middle, which these pools do not give.)

# %%
show_shapes(1366, 96, model="FCN4")

# %% [markdown]
# ### Sample-level
#
# And why not learn the spectrogram too? **SampleCNN** (Lee et al., 2017) takes the waveform, with
# filters of 3 *samples*. One such filter hardly knows a frequency; ten steps by 3 later one value
# has seen $3^{10}$ = 59,049 samples. A spectrogram drops the phase by decree. Here the network
# learns what to overlook: strides and pools make it answer alike wherever a wave begins. Its
# authors found that filters, layer by layer, come to answer to bands of frequency, spaced somewhat
# like mels.

# %%
show_shapes(3**10, 1, model="SampleCNN", feature="waveform")
print(f"{3**10:,} samples = {3**10 / SR:.3f} s")

# %% [markdown]
# ## 11. The pipeline
#
# The scripts are one street, and each can be run by itself:
#
# | | reads | makes |
# |---|---|---|
# | `hparams.py` | flags | every setting, read by all others |
# | `data_augment.py` (optional) | audio | more training audio |
# | `feature_extraction.py` | audio and lists | chunks of log-mel, `.npy` |
# | `data_manager.py` | `.npy` | normalized batches |
# | `model.py` | a batch | logits: the file to edit |
# | `train_test.py` | all of it | a trained, tested model |
#
# ### hparams
#
# Settings sit in one place, so that an experiment is a command line. Those that shape the features:

# %%
for name, value in hparams.feature_settings().items():
    print(f"--{name} {value}")

# %% [markdown]
# ### feature_extraction
#
# Audio is loaded, transformed, and its first 1,024 frames (23.8 s) are cut into **chunks** of 128.
# A track shorter than that is padded with silence. A track becomes one file:

# %%
import feature_extraction

with capture_output() as said:
    feature_extraction.main(["--dataset_path", hparams.dataset_path])
print(*said.stdout.splitlines()[:2], sep="\n")
file = hparams.feature_folder() / "train" / "jazz" / "jazz.00006.npy"
chunks = np.load(file)
print(f"{file.name}: {chunks.shape} {chunks.dtype}: chunks, frames, bins")

# %%
from plots import plot_chunks

from visualize import network_feature

plot_chunks(*network_feature(Path(track), 0, hparams), hparams, plt.subplots(figsize=(11, 3.2))[1])
plt.show()

# %% [markdown]
# ### data_augment
#
# A song a semitone higher, a bit faster or with some noise is the same genre: small changes that
# keep the label make more training audio. Three of the six effects, on the clip:

# %%
from effects import add_noise, pitch_shift, time_stretch

changed = {
    "the clip": clip,
    "two semitones higher": pitch_shift(clip, SR, 2),
    "a quarter faster": time_stretch(clip, SR, 1.25),
    "noise, 10 dB below": add_noise(clip, SR, 10, 0),
}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), sharex=True, sharey=True)
for ax, (name, wave) in zip(axes, changed.items()):
    plot_feature(wave, hparams, ax, limits=(0, feature.max()))
    ax.set(title=f"{name}, {len(wave) / SR:.1f} s", ylabel="", xlim=(0, 3))
axes[0].set_ylabel("frequency (Hz)")
plt.show()

# %% [markdown]
# ### data_manager
#
# Chunks of each split are put together, and **normalized**: the mean is subtracted, and the rest
# divided by the standard deviation, both of the *train* split alone. A valid or test track that had
# a say in them would have leaked into training.

# %%
from data_manager import get_dataloader

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
# `Compact1D` is a 1-D CNN of this project for data sets of some hundred tracks. A `Runner` holds a
# model with its **loss** (cross-entropy: minus the logarithm of the probability given to the true
# genre) and its **optimizer** (which moves each weight a little against the slope of the loss).
# Training is just this, over and over: logits, loss, step. Ten steps on a single batch, which it
# soon begins to know by heart; guessing would give $\ln 8 = 2.08$:

# %%
from train_test import Runner, set_seed

set_seed(settings.seed)
runner = Runner(dataclasses.replace(settings, genres=genres), train_loader)
for _ in range(10):
    loss = runner.criterion(runner.logits(x), y)
    runner.step(loss)
    print(f"{loss.item():.2f}", end="  ")

# %% [markdown]
# ### train_test
#
# An **epoch** is one pass over all training chunks. After each of them the loss on the valid split
# is measured, without learning. The weights of the epoch where that was lowest are kept, and the
# test split is scored with them, once. The command would be `python train_test.py` and the same
# flags:

# %%
import shutil

import train_test

shutil.rmtree("runs/tutorial", ignore_errors=True)  # of the last time that this page was run
place = ["--dataset_path", hparams.dataset_path, "--run_path"]
train_test.main([*place, "runs/tutorial", *recipe.split()])

# %% [markdown]
# ## 12. Results
#
# `Test Accuracy` counts chunks of 3 s. `Test Track Accuracy` counts tracks, each by the mean of its
# chunks' probabilities: a listener would not judge by 3 s alone either. The interval says how far
# chance in the choice of test tracks may have moved that number: with 32 of them, far.
#
# **Learning curves**: the loss on what is trained on keeps falling. Once the loss on the valid
# split no longer does, the network learns its tracks by heart, which is called *overfitting*.

# %%
import json

from checkpoint import read_history
from plots import plot_confusion_matrix, plot_learning_curves

folder = Path("runs/tutorial")
report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
plot_learning_curves(read_history(folder), report["best_epoch"])
plt.show()

# %% [markdown]
# The **confusion matrix** has a row for each true genre and a column for each answer: what is
# beside the diagonal is confused.

# %%
plot_confusion_matrix(np.array(report["confusion_matrix"]), list(report["per_genre"]))
plt.show()

# %% [markdown]
# The answer that was surest among the wrong ones (if there is one), chunk by chunk. Listen: would
# you have known?

# %%
from inference import Run
from plots import find_wrong, plot_timeline

from predict import edges, predict_track

wrong = find_wrong(report)
name, said, _ = wrong[0] if wrong else (report["tracks"][0]["track"], "all were right", 1)
run = Run(folder / "best.pt", "cpu")
prediction = predict_track(Path(hparams.dataset_path, name), run, run.hparams)
times = edges(prediction, run.hparams)
plot_timeline(prediction.chunks, times, run.hparams.genres, f"{name}: {said}")
plt.show()
play(load_audio(f"dataset/demo/{name}", hparams)[3 * SR : 6 * SR])

# %% [markdown]
# ### Similar tracks
#
# The embedding, what the last layer sees, is good for more than genres: tracks that a network sees
# alike tend to sound alike. Nearness is the *cosine* of two embeddings, 1 where they point the same
# way. What of the test split is most like its first jazz track?

# %%
from index import nearest

from retrieve import embed_track

names = load_list("test_list.txt", hparams)
embeddings = np.stack([embed_track(Path(hparams.dataset_path, name), run) for name in names])
query = next(row for row, name in enumerate(names) if name.startswith("jazz"))
print(f"0 (1.0) {names[query]}")
rows, cosines = nearest(embeddings[query], embeddings, 5, [query])
for number, (row, cosine) in enumerate(zip(rows, cosines), start=1):
    print(f"{number} ({cosine:.4f}) {names[row]}")

# %% [markdown]
# ### Was it worth a network?
#
# The classical way, (a) of section 10, on the same tracks: mean and deviation of 13 MFCCs over
# time, and a support vector machine.

# %%
import classic

shutil.rmtree("runs/tutorial-mfcc", ignore_errors=True)
flags = [*place, "runs/tutorial-mfcc", "--feature", "mfcc"]
with capture_output():
    feature_extraction.main(flags)
    classic.main([*flags, "--model", "svm"])
for name in ("tutorial", "tutorial-mfcc"):
    scores = json.loads(Path("runs", name, "report.json").read_text(encoding="utf-8"))
    low, high = scores["track_interval"]
    right = scores["track_accuracy"]
    print(f"{name:13}: {right:.1%} of the tracks (95 % interval: {low:.0%} to {high:.0%})")

# %% [markdown]
# Where the two intervals overlap widely, 32 tracks cannot tell which is better: ask for more
# tracks, more seeds, another data set, and let `python compare.py` make the table. Nor do
# synthesized tracks tell how either fares on real songs.
#
# ### Go on
#
# - Change the window: `--win_size 2048 --fft_size 2048`, in both scripts. Which genres gain?
# - `--feature cqt`, `--model Compact2D`, `--time_mask 16 --frequency_mask 16`.
# - `python data_augment.py --dataset_path dataset/demo`, then extract and train on
#   `dataset/demo-augmented`.
# - `python predict.py song.mp3 --run runs/tutorial`: a song of yours. What does it take for what?
# - Write a network of your own at the end of `model.py`, and pass its name.
# - A folder of your own music, a folder a genre: `python dataset/make_lists.py my_music`.
#
# ### Read on
#
# - Davis and Mermelstein (1980), on MFCCs; Tzanetakis and Cook (2002), who began with GTZAN.
# - Sturm (2013), *The GTZAN dataset: its contents, its faults ...*; Kereliuk, Sturm and Larsen
#   (2015), whose split without those faults is the one used here.
# - Choi, Fazekas and Sandler (2016), *Automatic tagging using deep convolutional neural networks*.
# - Lee, Park, Kim and Nam (2017), *Sample-level deep convolutional neural networks for music
#   auto-tagging using raw waveforms*.
# - Nam, Choi, Lee, Chou and Yang (2019), *Deep learning for audio-based music classification and
#   tagging*: the survey whose three kinds of networks section 10 follows.
