# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 음악과 딥러닝의 만남
#
# 소리의 파동에서 출발해서, 곡의 장르를 맞히는 신경망까지 가 봅니다. 반나절이면 충분합니다.
#
# 1. [음악이라는 데이터](#1.-음악이라는-데이터)
# 2. [컴퓨터가 소리를 저장하는 방식](#2.-컴퓨터가-소리를-저장하는-방식): 표본화(Sampling),
#    양자화(Quantizing)
# 3. [사람이 소리를 인지하는 방식](#3.-사람이-소리를-인지하는-방식): Sensation, Perception,
#    Cognition
# 4. [파동](#4.-파동): 물리량과 우리가 듣는 것
# 5. [푸리에 변환](#5.-푸리에-변환): 오일러 공식, 크기, 위상, DFT
# 6. [STFT](#6.-STFT): 윈도우와 홉, 긴 윈도우와 짧은 윈도우의 장단점
# 7. [모델의 입력](#7.-모델의-입력): 데시벨, 옥타브, 멜, MFCC, CQT
# 8. [주요 Task](#8.-주요-Task): 음악에 대해 무엇을 묻는가
# 9. [합성곱 신경망](#9.-합성곱-신경망): 필터, 패딩, 스트라이드, 풀링
# 10. [세 가지 CNN](#10.-세-가지-CNN): 1-D, 2-D, Sample-level
# 11. [파이프라인](#11.-파이프라인): 이 프로젝트의 스크립트를 하나씩
# 12. [결과](#12.-결과)
#
# 사인 함수와 벡터, 그리고 약간의 파이썬을 알면 따라올 수 있습니다. 셀은 모두 짧고, 스크립트가 쓰는
# 바로 그 함수를 호출합니다. 그러니 여기서 보는 값이 곧 스크립트가 계산하는 값입니다. 그 옆에는
# 대부분 같은 계산을 **librosa**로 직접 타이핑해 보는 셀이 있고, `compare`가 두 결과가 같은지
# 확인합니다.
#
# 숫자를 바꾸고 셀을 다시 실행해 봅시다. 그렇게 해 볼 때 가장 많이 배웁니다. 절마다 끝에 연습 문제가
# 있습니다. *정답*을 누르면 풀이가 펼쳐집니다. import와 작은 보조 함수가 든 셀은 접어 두었으니
# 건너뛰어도 됩니다.
#
# 노트북 전체를 실행하는 데 코어 두 개로 2~3분이 걸리고, 아무것도 내려받지 않습니다. 소리는
# Jupyter에서 들을 수 있습니다. 코드 호스팅 사이트에서는 그림만 보입니다.
#
# *이 페이지는 `make notebook`이 `tutorial.ko.py`로 만듭니다. 고칠 때는 그 파일을 고칩니다. 코드
# 셀은 영어판 `tutorial.py`와 똑같습니다.*

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
# ## 1. 음악이라는 데이터
#
# 음악은 **작곡가**(Composer), **연주자**(Performer), **악기**(Instrument), 녹음하는
# **공간**(Room)을 지나서 **듣는 사람**(Listener)에게 전달됩니다. 각 단계는 소리에 흔적을 남기고,
# 모델은 이 흔적을 모두 한 줄의 숫자로 받습니다. 음성은 대부분 목소리 하나이지만, 음악은 다양한
# 악기들이 믹싱 콘솔의 트랙처럼 Layer로 쌓인 조금 더 복잡한 소리입니다.
#
# 이 파이프라인은 원래 **GTZAN** 데이터셋을 위한 것입니다. 30초짜리 모노 클립이고, 샘플링 레이트는
# 22,050 Hz, 샘플당 16비트입니다. 클립 하나가 약 1.3 MB이고 장르마다 폴더가 하나씩 있습니다.
# 슬라이드에서는 8개 장르의 730곡을 씁니다. GTZAN은 재배포할 수 없으므로 여기서는 구조가 똑같은
# `dataset/demo`를 사용합니다. 프로그램이 작곡하고, 합성 악기로 연주하고, 합성한 공간에서 녹음한
# 160곡입니다. 다음 셀을 처음 실행할 때 만들어집니다.

# %%
hparams = HParams(dataset_path="dataset/demo")
with capture_output():
    if not Path(hparams.dataset_path, "test_list.txt").exists():
        demo.main(["--path", hparams.dataset_path])
for split in SPLITS:
    names = load_list(f"{split}_list.txt", hparams)
    print(f"{split}: {len(names)} tracks, {names[0]} ... {names[-1]}")

# %% [markdown]
# 목록 세 개가 곡을 나눕니다. **train**은 학습에, **valid**는 학습하면서 결정을 내리는 데,
# **test**는 마지막에 딱 한 번 평가하는 데 씁니다. 한 아티스트의 곡은 모두 같은 목록에 있습니다.
# 그렇지 않으면 모델이 장르가 아니라 아티스트를 알아보고 맞힐 수 있습니다. 이것을 *데이터 누수*(data
# leakage)라고 부릅니다.
#
# 장르마다 1.5초씩 들어 봅시다.

# %%
excerpts = {}
for genre in demo.STYLES:
    y = load_audio(f"dataset/demo/{genre}/{genre}.00000.wav", hparams)
    excerpts[genre] = y[22050 * 8 : 22050 * 19 // 2]
play_all(excerpts)

# %% [markdown]
# ### 연습 문제
#
# **1.1** `train_list.txt`에는 장르마다 몇 곡이 있을까요? 왜 장르별 곡 수가 비슷해야 할까요?
#
# <details><summary>정답</summary>
#
# 장르마다 12곡입니다. 한 장르가 대부분을 차지하면 늘 그 장르라고 답하는 모델도 좋아 보이고, 손실
# 함수는 다른 장르를 거의 신경 쓰지 않게 됩니다.
#
# ```python
# from collections import Counter
#
# print(Counter(name.split("/")[0] for name in load_list("train_list.txt", hparams)))
# ```
#
# </details>
#
# **1.2** 파일을 읽는 코드를 짜려면 파일에 무엇이 들어 있는지 알아야 합니다. 오디오를 불러오지 않고,
# 데이터셋에 있는 샘플링 레이트와 채널 수, 길이를 모두 찾아봅시다.
#
# <details><summary>정답</summary>
#
# `soundfile.info`는 헤더만 읽습니다.
#
# ```python
# infos = [soundfile.info(path) for path in Path("dataset/demo").rglob("*.wav")]
# print({(info.samplerate, info.channels, round(info.duration, 2)) for info in infos})
# ```
#
# </details>

# %% [markdown]
# ## 2. 컴퓨터가 소리를 저장하는 방식
#
# 마이크는 공기의 압력을 전압으로 바꿉니다. 이 전압은 시간으로도 값으로도 *연속적인* 아날로그
# 신호입니다. 컴퓨터에는 숫자가 필요하므로 세 단계를 거쳐 이진 디지털 신호로 바꿉니다.
#
# - **표본화**(Sampling): 일정한 시간 간격으로 전압을 잽니다.
# - **양자화**(Quantizing): 잰 값을 유한한 개수의 단계 중 하나로 반올림합니다.
# - **부호화**(Encoding): 그 단계를 이진수로 적습니다.
#
# `load_audio`는 파일을 읽어서 *파형*(Waveform)을 return합니다. [-1, 1] 범위의 `float32` 배열이고,
# 여기서는 샘플이 1초에 22,050개이고 채널은 하나입니다.

# %%
SR = hparams.sample_rate
track = "dataset/demo/jazz/jazz.00006.wav"
y = load_audio(track, hparams)
print(y[:5], y.dtype, y.shape)
print(f"{len(y)} samples / {SR} Hz = {len(y) / SR:.1f} s")

# %% [markdown]
# 이번에는 librosa로 해 봅시다. `librosa.load`는 파일 이름을 인자로 받아서 파형과 sample rate를
# return해 줍니다. 데이터 타입은 `float32`이고, `sr`을 주지 않으면 22,050 Hz입니다.

# %%
y_librosa, sr = librosa.load(track, sr=22050)
print(y_librosa, sr)
compare(y, y_librosa, 1e-6)

# %% [markdown]
# 이 곡에서 3초를 골라 끝까지 사용하겠습니다. 그림에서 *시간*이 x축이고 *진폭*(amplitude)이
# y축입니다.

# %%
clip = y[8 * SR : 11 * SR]
plot_waveform(clip, SR, plt.subplots(figsize=(10, 2))[1])
plt.show()

# %% [markdown]
# librosa로 직접 그려 봅시다. `waveshow`가 파형을 그리고(예전 버전의 이름은 `waveplot`이었습니다),
# Jupyter에서 듣고 싶다면 IPython의 `Audio`를 씁니다.

# %%
fig = plt.figure(figsize=(10, 2))
librosa.display.waveshow(clip, sr=sr)
plt.show()
Audio(clip, rate=sr)

# %% [markdown]
# 3초는 66,150개의 샘플이고, 그림의 가로 픽셀보다 훨씬 많습니다. 확대하면 샘플이 하나하나 보입니다.
# 컴퓨터가 가진 것은 이 점들뿐입니다.

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
# ### Sampling Rate는 어떻게 정할까?
#
# **나이키스트-섀넌 표본화 정리**에 따르면, 신호의 모든 주파수가 *샘플링 레이트의 절반보다 낮으면*
# 샘플에서 신호를 완전히 복원할 수 있습니다. 그보다 높은 주파수는 그냥 사라지는 것이 아니라 더 낮은
# 다른 주파수로 나타납니다. 이것을 **에일리어싱**(aliasing)이라고 합니다. 아래에서는 7,000 Hz의 음을
# 1초에 8,000번 샘플링합니다. 그 샘플은 8,000 - 7,000 = 1,000 Hz인 음의 샘플과 똑같습니다.

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
# 그래서 샘플링 레이트를 낮출 때는 새 레이트가 담을 수 없는 주파수를 먼저 없애야 합니다.
# `load_audio`와 `librosa.load`는 그렇게 합니다. 샘플을 하나씩 건너뛰는 `y[::2]`는 그렇지 않습니다.
#
# | 샘플링 레이트 | 담을 수 있는 주파수 | 쓰이는 곳 |
# |---|---|---|
# | 8,000 Hz | 4,000 Hz 미만 | 전화 |
# | 16,000 Hz | 8,000 Hz 미만 | 음성 |
# | 22,050 Hz | 11,025 Hz 미만 | 모델에 쓰는 음악: 데이터는 절반, 소리는 거의 그대로 |
# | 44,100 Hz | 22,050 Hz 미만 | CD: 젊은 사람은 20,000 Hz쯤까지 듣습니다 |

# %%
low = load_audio(track, HParams(sample_rate=11025))
low_librosa, _ = librosa.load(track, sr=11025)
compare(low, low_librosa, 1e-6)

# %% [markdown]
# ### 몇 단계로 나눌까?
#
# $b$비트는 $2^b$개의 단계를 나타냅니다. 반올림하면 최대 반 단계의 오차가 생기고, 우리는 이 오차를
# 잡음으로 듣습니다. 비트가 하나 늘 때마다 오차는 절반이 되고, 신호 대 잡음비는 약 6 dB
# 좋아집니다(데시벨은 7절에서 다룹니다). 진폭이 최대인 사인파라면 $6.02\,b + 1.76$ dB입니다.


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
# 클립을 5비트로 들어 봅시다. 옛날 게임기에서 듣던 그 소리입니다.

# %%
play(quantize(clip[: 3 * SR // 2], 5))

# %% [markdown]
# 마지막은 부호화입니다. 16비트 WAV 파일은 형식을 설명하는 44바이트 헤더 다음에, 샘플마다 2바이트를
# 씁니다.

# %%
info = soundfile.info(track)
print(info.samplerate, "Hz,", info.channels, "channel,", info.subtype)
print(f"{44 + 2 * info.frames:,} bytes expected, {Path(track).stat().st_size:,} on disk")

# %% [markdown]
# ### 연습 문제
#
# **2.1** `clip[::2]`처럼 잘못된 방법으로 샘플링 레이트를 반으로 줄이고, `librosa.resample`의 결과와
# 귀로 비교해 봅시다. 무엇이 다른가요?
#
# <details><summary>정답</summary>
#
# 첫 번째에서는 5,512 Hz보다 높은 주파수가 모두 접혀 내려와 거친 쇳소리가 납니다. 라이드 심벌의
# 에일리어싱입니다. 두 번째는 조금 먹먹하게 들릴 뿐입니다.
#
# ```python
# right = librosa.resample(clip, orig_sr=SR, target_sr=SR // 2)
# display(play_all({"every other sample": clip[::2], "resampled": right}, SR // 2))
# ```
#
# </details>
#
# **2.2** 공식대로라면 8비트는 49.9 dB입니다. 사인파 대신 클립으로 재 봅시다. 왜 더 낮을까요?
#
# <details><summary>정답</summary>
#
# 클립은 표현할 수 있는 범위를 다 쓰지 않습니다. 평균 파워는 사인파보다 훨씬 작은데 잡음은
# 그대로입니다. 그래서 녹음할 때는 클리핑되지 않는 한 크게 녹음합니다.
#
# ```python
# for bits in (16, 8, 4):
#     error = quantize(clip, bits) - clip
#     print(f"{bits} bits: {10 * np.log10(np.mean(clip**2) / np.mean(error**2)):.1f} dB")
# ```
#
# </details>
#
# **2.3** `librosa.load`의 `offset`과 `duration` 인자를 써서 파일에서 클립에 해당하는 3초만 불러와
# 봅시다. 결과가 `clip`과 같은지 확인합니다.
#
# <details><summary>정답</summary>
#
# ```python
# part, _ = librosa.load(track, sr=SR, offset=8, duration=3)
# compare(clip, part, 1e-6)
# ```
#
# </details>

# %% [markdown]
# ## 3. 사람이 소리를 인지하는 방식
#
# 소리는 귀의 세 부분을 지납니다. 외이(Outer ear)가 소리를 모으고, 중이(Middle ear)의 뼈 세 개가
# 소리를 전달합니다. 내이(Inner ear)에는 액체로 찬 나선형 관인 *달팽이관*이 있어서, 소리를
# 주파수별로 나누어 신경 신호로 바꿉니다. 그 다음은 뇌의 일입니다. 인간의 소리 인지를 정보처리라고
# 생각하면 세 단계가 있고, 우리는 컴퓨터도 이와 같은 과정을 하길 원합니다.
#
# | 단계 | 사람 | 컴퓨터(이 노트북에서) |
# |---|---|---|
# | **Sensation** | 귀가 소리를 부호화 | 표본화, STFT |
# | **Perception** | 음높이, 음색, 크기, 길이 | 멜, dB, MFCC, CQT |
# | **Cognition** | 음계와 조성, 리듬, 구조, 기억, 감정 | 신경망, 어느 정도까지 |
#
# 오른쪽 열은 비유일 뿐입니다. 그래도 좋은 표현이 왜 필요한지 보여 줍니다. 듣는 일에 대해 모델이
# 스스로 알아내야 할 것이 적을수록, 음악을 배우는 데 필요한 곡도 적어집니다.
#
# ### 연습 문제
#
# **3.1** 얼마나 작은 음높이 차이를 들을 수 있을까요? 440 Hz 다음에 441, 443, 446, 455 Hz를 들어
# 봅시다.
#
# <details><summary>정답</summary>
#
# 대부분 443 Hz나 446 Hz에서 차이를 듣습니다. 1 %도 안 되는 차이입니다. 피아노에서 가장 작은 간격인
# 반음은 6 %입니다.
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
# **3.2** 음이 얼마나 길어야 음높이가 들릴까요? 440 Hz를 2, 5, 10, 50 ms 동안 들어 봅시다.
#
# <details><summary>정답</summary>
#
# 2 ms는 한 주기도 안 되어서 '딱' 하는 소리로 들립니다. 네다섯 주기인 10 ms쯤부터 음높이가 들립니다.
# 6절에서 보겠지만 스펙트럼도 다섯 주기쯤 필요합니다.
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
# ## 4. 파동
#
# 소리는 진동으로 공기가 압축되었다 풀렸다 하는 것입니다. 공기는 제자리에서 앞뒤로 움직일 뿐이고, 그
# 모양이 1초에 343 m쯤 나아갑니다. 질량의 이동은 없지만 에너지의 운반은 있습니다. 주기적인 파동에서
# 얻을 수 있는 물리량은 다음과 같습니다.
#
# - **진폭**(Amplitude): 압력이 얼마나 크게 변하는가. *세기*(Intensity)는 진폭의 제곱에 비례합니다.
# - **주파수**(Frequency): 1초 동안의 진동 횟수. 단위는 헤르츠(Hz)입니다.
# - **위상**(Phase): 시각 0에서 한 주기의 어디에 있는가. 각도로 나타냅니다.
#
# 한 번 진동하는 데 걸리는 시간이 **주기**(period) $T = 1/f$입니다. $\sin(\omega t)$의 주기는
# $2\pi/\omega$이므로 $\omega = 2\pi f$입니다.

# %%
for hz, name in ((27.5, "lowest piano key"), (440, "tuning fork"), (4186, "highest piano key")):
    period = f"period {1000 / hz:6.3f} ms = {SR / hz:5.1f} samples"
    print(f"{hz:6.1f} Hz ({name}): {period}, wavelength {343 / hz:5.2f} m")

# %% [markdown]
# ### 물리 음향과 심리 음향
#
# 음은 세 가지 면에서 서로 다를 수 있고, 각각에 이름이 두 개씩 있습니다. 하나는 물리에서 재는 양이고
# 하나는 귀가 느끼는 것입니다.
#
# | 물리 음향 | 파동의 성질 | 심리 음향 |
# |---|---|---|
# | **Intensity** | 진폭의 세기 | **Loudness**: 소리 크기 |
# | **Frequency** | 떨림의 빠르기 | **Pitch**: 음높이 |
# | **Tone-Color** | 한 주기의 모양과 그 변화 | **Timbre**: 음색 |
#
# 둘은 짝을 이루지만 같은 것은 아닙니다. 세기가 10배(10 dB)여도 두 배쯤 크게 들릴 뿐이고, 낮은 음이
# 3,000 Hz의 음과 같은 크기로 들리려면 세기가 더 커야 합니다. 음높이의 간격이 같다는 것은 주파수의
# *비율*이 같다는 뜻입니다. 음색은 크기와 음높이, 길이가 같은 두 음 사이에 남는 차이입니다.


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
# ### 복합파
#
# 세 번째 음은 **복합파**(Complex wave)입니다. 복수의 서로 다른 정현파들의 합으로 이루어진 파형이고,
# 우리가 듣는 대부분의 소리는 복합파입니다. 모든 주파수가 한 주파수의 배수이면, 그 주파수를
# *기음*(fundamental)이라 하고 나머지를 **배음**(harmonics)이라고 합니다. 이때 우리는 기음의 높이를
# 가진 음 하나를 듣습니다. 실제 음은 커졌다 작아지고 흔들리며, 음이라고 할 수 없는 부분도 섞여
# 있습니다. 그래서 일반적인 식에서는 진폭과 위상이 시간에 따라 변하고, 나머지를 따로 둡니다.
#
# $$x(n) \approx \sum_{k=1}^{K} a_k(n)\,\cos\big(\phi_k(n)\big) + e(n)$$
#
# $a_k(n)$은 순간 진폭(instantaneous amplitude), $\phi_k(n)$은 순간 위상(instantaneous phase)이고,
# $e(n)$은 나머지(residual)입니다. 숨소리, 활 긋는 소리, 드럼 소리가 여기에 들어갑니다. 원하는
# 모양의 파형을 만들려면 정현파가 몇 개나 필요할까요? 사각파는 진폭이 $4/(\pi k)$인 홀수 배음들의
# 합입니다.

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
# ### 연습 문제
#
# **4.1** `tone`은 모든 음의 세기를 똑같이 맞춥니다. 100 Hz, 1,000 Hz, 3,000 Hz를 들어 봅시다. 어느
# 것이 가장 크게 들리나요?
#
# <details><summary>정답</summary>
#
# 3,000 Hz가 단연 크게 들립니다. 귀가 가장 예민한 곳이고, 작은 스피커는 100 Hz를 잘 내지 못합니다.
#
# ```python
# display(play_all({f"{hz} Hz": tone(hz) for hz in (100, 1000, 3000)}))
# ```
#
# </details>
#
# **4.2** 220 Hz의 2배음부터 10배음까지로, 기음이 없는 음을 만들어 봅시다. 어떤 높이로 들리나요?
#
# <details><summary>정답</summary>
#
# 여전히 220 Hz로 들립니다. 파동이 1초에 220번 반복되기 때문입니다. 전화는 목소리의 기음을 전달하지
# 못하지만, 이 효과 덕분에 목소리의 높이를 알 수 있습니다.
#
# ```python
# without = tone(220, [0] + [1 / k for k in range(2, 11)], 1)
# display(play_all({"harmonics 1 to 10": tone(220, [1 / k for k in range(1, 11)], 1),
#                   "harmonics 2 to 10": without}))
# ```
#
# </details>
#
# **4.3** 삼각파는 진폭이 $8/(\pi k)^2$이고 부호가 번갈아 바뀌는 홀수 배음들의 합입니다. 빠진 파워가
# 1 %보다 작아지려면 정현파가 몇 개 필요할까요? 사각파는 어떨까요?
#
# <details><summary>정답</summary>
#
# 삼각파는 2개면 됩니다. 사각파는 20개가 넘게 필요합니다. 사인파로 꺾인 곳을 만들기보다 끊어진 곳을
# 만들기가 훨씬 어렵습니다.
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
# ## 5. 푸리에 변환
#
# 거꾸로, 파동에서 정현파들을 찾아낼 수 있을까요? 찾을 수 있습니다. 사인과 코사인을 하나로 묶는 공식
# 하나만 있으면 됩니다.
#
# ### 오일러 공식
#
# $$e^{i\theta} = \cos\theta + i\,\sin\theta$$
#
# 복소평면의 단위원 위에서 각도가 $\theta$인 점입니다. 각도를 시간에 따라
# $\theta = 2\pi\frac{k}{T}t$로 늘리면, 점은 $T$초 동안 $k$바퀴를 돕니다. 실수부는 코사인, 허수부는
# 사인이고 둘 다 주파수가 $k/T$입니다.

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
# ### 파동에 이 주파수가 얼마나 들어 있을까?
#
# $$A_k = \frac{1}{T}\int_{-T/2}^{T/2} f(t)\,\exp\!\Big(-i\,2\pi\frac{k}{T}t\Big)\,dt$$
#
# 안쪽부터 읽어 봅시다. $T$ 동안 거꾸로 $k$바퀴 도는 점을 파동에 곱하고 평균을 냅니다. 그러면 파동이
# 원점 둘레에 *감깁니다*. 파동에 $k$번 반복되는 성분이 없으면 고르게 감겨서 평균이 0이 됩니다.
# 있으면 한쪽으로 치우칩니다. 아래의 $f$에는 진폭 1로 5번, 진폭 0.5로 8번 반복되는 성분이 있습니다.
# (진폭이 $a$인 실수 코사인은 $a/2$가 됩니다. $\cos\theta = (e^{i\theta} + e^{-i\theta})/2$이므로
# 나머지 절반은 $-k$에 있습니다.)

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
# ### 크기와 위상
#
# 푸리에 변환이 끝나면 주파수마다 복소수 $X = X_R + i X_I$를 하나씩 얻습니다. 절댓값은 주파수의
# 강도이고, 각도는 시작할 때 한 주기의 어디에 있었는지를 나타냅니다.
#
# $$|X(k)| = \sqrt{X_R^2(k) + X_I^2(k)} \qquad
# \angle X(k) = \phi(k) = \arctan\frac{X_I(k)}{X_R(k)}$$
#
# 각각 **Spectrum magnitude**와 **phase spectrum**이라고 부릅니다. (몫의 아크탄젠트로는 $X$와 $-X$를
# 구별할 수 없습니다. 그래서 프로그램은 두 부호를 모두 보는 `arctan2`를 씁니다. `np.angle`도
# 그렇습니다.) 아래에서는 위상이 60도인 파동을 샘플 3개만큼 늦춥니다. 크기는 그대로이고 위상만
# 돕니다.

# %%
N, k, delay = 64, 4, 3
x = np.cos(2 * np.pi * k * np.arange(N) / N + np.pi / 3)
for name, wave in (("original", x), (f"{delay} samples later", np.roll(x, delay))):
    X = np.fft.fft(wave)[k] * 2 / N
    print(f"{name:15}: magnitude {np.abs(X):.3f}, phase {np.degrees(np.angle(X)):6.1f} degrees")
print(f"a delay of {delay} of {N} samples, {k} periods: {-360 * k * delay / N} degrees")

# %% [markdown]
# 기억해 둡시다. 소리가 *언제* 나는지는 위상에 들어 있습니다. 그런데 뒤에 나오는 feature는 대부분
# 위상을 버립니다.
#
# ### DFT (Discrete Fourier Transform)
#
# 컴퓨터에는 적분할 함수가 아니라 샘플 $y_0 \dots y_{N-1}$이 있습니다. 이 샘플들이 주기 $N$으로
# 반복하는 신호의 한 주기라고 하면, $N$개의 복소 정현파로 정확하게 표현할 수 있습니다.
#
# $$Y_k = \sum_{n=0}^{N-1} y_n\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big) \qquad
# y_n = \frac{1}{N}\sum_{k=0}^{N-1} Y_k\,\exp\!\Big(i\,2\pi\frac{k}{N}n\Big)$$
#
# $n$은 시간 인덱스, $k$는 주파수 인덱스, $Y_k$는 $k$번째 주파수에 대한 스펙트럼의 값입니다. 행렬과
# 벡터의 곱셈입니다. `np.fft.fft`는 같은 값을 *빠른* 푸리에 변환(FFT)으로 $N^2$번이 아니라
# $N \log_2 N$번 정도의 계산으로 구합니다. FFT는 다른 변환이 아니라 알고리즘입니다.


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
# $k$번 bin의 주파수는 $k \cdot SR / N$입니다. 샘플이 실수이므로 $N - k$번 bin은 $k$번 bin의
# 거울상(켤레복소수)이고, 새로운 정보가 없습니다. 0번부터 $N/2$번까지면 충분합니다.

# %%
print(f"bins are {SR / N:.2f} Hz apart; {N // 2 + 1} of them matter; the last is at {SR / 2} Hz")
print("bin 10 and bin N - 10 are conjugates:", np.allclose(Y[10], np.conj(Y[N - 10]), atol=1e-4))

# %% [markdown]
# 이제 스펙트럼에서 소리로 돌아가 봅시다. 가장 강한 정현파만 사용합니다. 몇 개만으로도 소리의
# 대부분을 만들 수 있습니다. 그래서 오디오 압축이 가능하고, 그래서 스펙트럼이 좋은 학습 데이터가
# 됩니다.

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
# ### 연습 문제
#
# **5.1** 64개의 샘플에 정확히 4주기가 들어가는 코사인은 bin 하나에만 나타납니다. 4.5주기인 코사인의
# 스펙트럼은 어떻게 생겼을까요?
#
# <details><summary>정답</summary>
#
# 모든 bin으로 새어 나가고, 4번과 5번이 가장 큽니다. DFT는 64개의 샘플이 반복된다고 가정하는데, 반
# 주기가 남으면 이어지는 곳에서 파형이 끊어집니다. 6절의 윈도우가 이 문제를 다룹니다.
#
# ```python
# for periods in (4, 4.5):
#     wave = np.cos(2 * np.pi * periods * np.arange(64) / 64)
#     print(periods, np.abs(np.fft.rfft(wave))[:10].round(1))
# ```
#
# </details>
#
# **5.2** 파스발 정리 $\sum |y_n|^2 = \frac{1}{N} \sum |Y_k|^2$를 `frame`과 `Y`로 확인해 봅시다.
# 무슨 뜻일까요?
#
# <details><summary>정답</summary>
#
# 시간 영역과 주파수 영역의 에너지가 같습니다. 변환은 에너지를 잃지도 더하지도 않습니다.
#
# ```python
# print(np.sum(frame**2), np.sum(np.abs(Y) ** 2) / N)
# ```
#
# </details>
#
# **5.3** 클립 전체의 스펙트럼에서 크기는 그대로 두고 위상만 난수로 바꾼 다음 들어 봅시다.
#
# <details><summary>정답</summary>
#
# 음은 모두 있지만 3초 전체에 퍼집니다. 긴 스펙트럼 하나에서 무엇을 연주했는지는 크기에, 언제
# 연주했는지는 위상에 들어 있습니다.
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
# 스펙트럼은 어떤 주파수가 있는지 알려 주지만, 언제 있는지는 알려 주지 않습니다. 하나는 올라가고
# 하나는 내려가는 음을 만들어 봅시다. 귀로 들으면 헷갈릴 일이 없지만, 두 음의 Spectrum magnitude는
# 같습니다.

# %%
t = np.arange(SR) / SR
up = 0.3 * np.sin(2 * np.pi * (200 * t + 400 * t**2))  # from 200 Hz to 1,000 Hz in a second
down = up[::-1]
compare(np.abs(np.fft.rfft(up)), np.abs(np.fft.rfft(down)), 1e-9)
play(np.concatenate([up, down]))

# %% [markdown]
# **STFT**(Short Time Fourier Transform)는 이러한 한계를 극복하기 위해서, 시간을 짧은 프레임으로
# 나눠서 프레임마다 따로 푸리에 변환을 합니다.
#
# $$X(l, k) = \sum_{n=0}^{N-1} w(n)\,x(n + lH)\,\exp\!\Big(-i\,2\pi\frac{k}{N}n\Big)$$
#
# | | 의미 | 플래그 | 여기서의 값 |
# |---|---|---|---|
# | $l$ | 프레임 인덱스 | | |
# | $k$ | 주파수 인덱스 | | |
# | $H$ | **Hop size**: 한 프레임에서 다음 프레임까지의 샘플 수 | `--hop_size` | 512 |
# | $w(n)$ | **Window function**: 프레임의 양 끝을 줄이는 가중치 | `--win_size` | 1024, Hann |
# | $N$ | **FFT size**: 한 번에 변환하는 샘플 수 | `--fft_size` | 1024 |
#
# 샘플 $N$개에서 $N/2 + 1$개의 주파수가 나옵니다. 22,050 Hz의 1초는 513(Frequency) x 44(Time) 크기의
# 복소수 매트릭스가 됩니다.

# %%
samples = clip[:SR]
S = stft(samples, hparams)
print(S.shape, S.dtype, S[0][0])
print(f"frames: 1 + {SR} // {hparams.hop_size} = {count_frames(SR, hparams)}")

# %% [markdown]
# librosa로는 이렇게 타이핑합니다.

# %%
S_librosa = librosa.core.stft(samples, n_fft=1024, hop_length=512, win_length=1024)
print(S_librosa.shape, len(S_librosa[0]), S_librosa[0][0])
compare(S, S_librosa, 1e-4)

# %% [markdown]
# $l$번 프레임은 $l H$번 샘플이 *가운데*에 오도록 자릅니다. 소리의 양 끝은 0으로 채웁니다. 20번
# 프레임을 식대로 직접 계산해 봅시다.

# %%
centre = 20 * hparams.hop_size
frame = clip[centre - 512 : centre + 512]
compare(np.fft.rfft(hann(hparams) * frame), S[:, 20], 1e-4)

# %% [markdown]
# **스펙트로그램**(Spectrogram)은 시간과 주파수에 따른 크기를 보여 줍니다. 이제 두 음이 다르게
# 보입니다.

# %%
figure, ax = plt.subplots(figsize=(9, 2.6))
plot_feature(np.concatenate([up, down]).astype(np.float32), stft_settings(hparams), ax)
ax.set_ylim(0, 2000)
plt.show()

# %% [markdown]
# 클립은 librosa로 그려 봅시다. `specshow`가 축에 눈금을 달려면 샘플링 레이트와 홉 크기를 알아야
# 합니다.

# %%
S_librosa = librosa.stft(clip, n_fft=1024, hop_length=512, win_length=1024)
log_S = librosa.amplitude_to_db(np.abs(S_librosa), ref=np.max)
plt.figure(figsize=(9, 2.6))
librosa.display.specshow(log_S, sr=SR, hop_length=512, x_axis="time", y_axis="linear", cmap=MAP)
plt.title("Power spectrogram")
plt.colorbar(format="%+02.0f dB")
plt.show()

# %% [markdown]
# ### 윈도우는 얼마나 길어야 할까?
#
# 윈도우의 길이(duration)는 $T = \text{window} / SR$입니다. 보통 **보고 싶은 가장 낮은 음의 주기보다
# 5배 이상 길게** 잡습니다. $T_\text{window} \ge 5\,T_\text{signal}$. 440 Hz라면 다음과 같습니다.

# %%
seconds = 5 / 440
print(f"5 / 440 Hz = {1000 * seconds:.1f} ms = {np.ceil(seconds * SR):.0f} samples at {SR} Hz")

# %% [markdown]
# 왜 5배일까요? 윈도우에 다섯 주기가 들어가면 배음들이 bin 다섯 개 간격으로 놓입니다($f$는 5번,
# $2f$는 10번 bin). Hann 윈도우는 정현파 하나를 bin 네 개 너비의 언덕으로 만듭니다(아래에서
# 확인합니다). 너비가 4인 언덕은 5만큼 떨어져 있으면 서로 나뉩니다. 2나 3만큼 떨어져 있으면 겹치고,
# 무엇이 보일지는 위상에 따라 달라집니다. 아래의 곡선들은 위상만 서로 다릅니다.

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
# 이 파이프라인의 윈도우는 샘플 1024개이고, 108 Hz부터 이 규칙을 만족합니다. A2 바로 아래입니다.
# 대부분의 목소리와 멜로디에는 충분하지만, 베이스 기타는 41 Hz에서 시작합니다.
#
# ### 어떤 윈도우를 쓸까?
#
# 프레임을 자르는 것은 윈도우를 곱하는 것입니다. 그냥 잘라도 네모난 윈도우를 곱한 셈입니다. 프레임은
# 파형의 아무 데서나 시작하고 끝나므로 그냥 자르면 불연속이 생기고, 거기에는 아무도 연주하지 않은
# 주파수가 들어 있습니다. 윈도우의 스펙트럼을 보면 정현파 하나가 어떻게 되는지 알 수 있습니다.
# **main-lobe**가 넓을수록 두 음이 더 멀리 떨어져 있어야 구별됩니다. **side-lobe**가 높을수록 큰
# 음이 작은 음을 가립니다. 둘은 Trade-off 관계이고, 둘 다 가장 좋은 윈도우는 없습니다.

# %%
figure, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharey="row")
for name, column in zip(WINDOWS, axes.T):
    plot_window(name, hparams.win_size, SR, column[0])
    plot_window_spectrum(name, hparams.win_size, SR, column[1])
axes[0, 0].set_ylabel("weight"), axes[1, 0].set_ylabel("level (dB)")
plt.show()

# %% [markdown]
# 사각 윈도우는 main-lobe가 bin 두 개로 가장 좁지만 side-lobe가 -13 dB입니다. 일반적으로는 Hann
# window가 쓰이고 여기서도 그렇습니다. main-lobe는 bin 네 개이고, side-lobe는 -31 dB에서 시작해
# 빠르게 작아집니다.

# %%
compare(hann(hparams), librosa.filters.get_window("hann", 1024), 1e-6)

# %% [markdown]
# ### Hop size는?
#
# 한 윈도우가 작아지는 동안 다음 윈도우가 커져야 합니다. 많은 프로그램이 윈도우의 1/4씩 움직여서,
# 이웃한 프레임이 샘플의 3/4을 공유합니다. 이 파이프라인은 절반씩 움직입니다. 저장하고 학습할
# 프레임이 절반으로 줄어듭니다.

# %%
frames = SR / hparams.hop_size
shared = 1 - hparams.hop_size / hparams.win_size
print(
    f"{frames:.1f} frames per second, {1000 / frames:.1f} ms apart; neighbours share {shared:.0%}"
)

# %% [markdown]
# ### Frequency와 Time Resolution의 Trade-off
#
# **긴 윈도우**는 가까운 주파수를 구별하지만 가까운 순간은 구별하지 못합니다. **짧은 윈도우**는
# 반대입니다. main-lobe의 너비는 bin 네 개, 곧 $4/T$입니다. Hann 윈도우라면 길이가 얼마든 너비와
# 길이를 곱하면 4입니다. 그림 전체를 더 선명하게 만들 수는 없고, 어느 축을 선명하게 볼지 고를 수만
# 있습니다.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, size in zip(axes, (256, 4096)):
    plot_feature(clip, stft_settings(hparams, size), ax)
    shown = f"lobe {4 * SR / size:.0f} Hz x window {1000 * size / SR:.0f} ms"
    ax.set(title=f"{size} samples: {shown} = {4 * SR / size * size / SR:.0f}", ylim=(0, 4000))
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# 왼쪽에서는 음이 두껍지만 시작과 끝이 분명합니다. 오른쪽에서는 음이 가느다란 선이지만 시작이
# 번집니다. (`--fft_size`가 `--win_size`보다 크면 프레임에 0을 덧붙입니다. 곡선의 점은 많아지지만 더
# 자세해지지는 않습니다.)
#
# ### 연습 문제
#
# **6.1** 홉 크기를 128, 256, 1024로 바꿔 봅시다. 프레임이 몇 개가 되고, 그 대가는 무엇일까요?
#
# <details><summary>정답</summary>
#
# 홉이 절반이면 프레임과 디스크 공간, 학습 시간이 두 배가 됩니다. 윈도우의 1/4보다 작아지면 새
# 프레임에는 이웃에 없는 정보가 거의 없습니다.
#
# ```python
# for hop in (128, 256, 512, 1024):
#     print(hop, stft(clip, dataclasses.replace(hparams, hop_size=hop)).shape)
# ```
#
# </details>
#
# **6.2** 440 Hz와 450 Hz의 두 음이 있습니다. 봉우리 두 개가 보이려면 Hann 윈도우가 얼마나 길어야
# 할까요? 먼저 해 보고, main-lobe의 너비로 설명해 봅시다.
#
# <details><summary>정답</summary>
#
# 4096개면 충분하고 2048개는 부족합니다. 4096개일 때 두 음은 bin 1.9개, 곧 main-lobe의 절반만큼
# 떨어져 있어서 두 언덕 사이의 골짜기가 겨우 보입니다. 2048개일 때는 bin 0.9개이고 하나로
# 합쳐집니다. 결과가 위상에 따라 달라지므로 위상 16개에 대한 파워의 평균을 구합니다.
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
# **6.3** `librosa.istft`는 STFT를 소리로 되돌립니다. 잃는 것이 없는지 확인해 봅시다. 그다음 위상을
# 버리고 `librosa.griffinlim`으로 추정하게 해 봅시다. 차이가 들리나요?
#
# <details><summary>정답</summary>
#
# 위상이 있으면 반올림 오차만 남고 클립이 그대로 돌아옵니다. 위상이 없으면 Griffin-Lim 알고리즘이
# 어울리는 위상을 찾아 주는데, 소리가 조금 텅 빈 느낌이 납니다.
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
# ## 7. 모델의 입력
#
# 주파수 영역은 이해가 되는데, 무엇을 모델의 Input으로 넣어야 할까요? 복소수 매트릭스는 그대로
# 학습하기 어렵습니다. 먼저 절댓값을 취해서 위상을 버립니다. (사실 이것도 중요한 정보입니다. 나중에
# 파형을 그대로 읽는 Sample CNN이 등장한 배경이기도 합니다: 10절.) 나머지는 *값*과 *주파수*를 어떤
# Scale로 보느냐에 따라 여러 가지가 있습니다. Linear-Scale과 Log-Scale 스펙트로그램, 멜
# 스펙트로그램, MFCC, CQT입니다.
#
# ### 값: 데시벨
#
# 귀가 견딜 수 있는 가장 큰 진폭은 들을 수 있는 가장 작은 진폭의 백만 배이고, 비율이 같으면 간격도
# 같게 들립니다. 그래서 로그를 취합니다.
#
# $$L = 20\,\log_{10}|X| \text{ dB}$$
#
# *파워* $|X|^2$에 로그를 취하고 10을 곱해도 같은 값입니다. 전압은 진폭이고, 제곱하면 파워입니다.

# %%
print("    dB    power ratio   amplitude ratio")
for decibel in (40, 20, 6, 3, 0, -3, -6, -20, -40):
    print(f"{decibel:+6d}  {10 ** (decibel / 10):12.4f}  {10 ** (decibel / 20):12.4f}")

# %% [markdown]
# 0.5 % 이내의 오차로, +6 dB는 진폭 2배, 파워 4배이고, +3 dB는 파워 2배입니다. +20 dB는 진폭 10배,
# 파워 100배입니다. 클립을 Linear Scale과 dB로 그려 봅시다.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3), sharey=True)
for ax, scale in zip(axes, ("none", "db")):
    plot_feature(clip, stft_settings(hparams, scale=scale), ax)
axes[0].set_title("magnitude"), axes[1].set_title("dB")
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# 두 그림의 숫자는 같지만, 왼쪽에서는 강한 bin 몇 개만 보입니다. librosa에는 데시벨 함수가 두 개
# 있습니다. 하나는 진폭, 하나는 파워에 씁니다. `top_db=None`을 주지 않으면 위에서 80 dB까지만
# 남깁니다.

# %%
magnitude = np.abs(stft(clip, hparams))
level = decibels(magnitude)
compare(level, librosa.amplitude_to_db(magnitude, ref=1, amin=1e-5, top_db=None), 1e-3)
compare(level, librosa.power_to_db(magnitude**2, ref=1, amin=1e-10, top_db=None), 1e-3)

# %% [markdown]
# 이 파이프라인의 feature는 기본으로 다른 로그, $\log_{10}(1 + 10x)$를 씁니다(`--scale tutorial`).
# $x$가 크면 로그처럼, 작으면 거의 선형으로 움직이고 0에서 끝납니다. 그래서 무음에도 값이 있고,
# 바닥값을 따로 정하지 않아도 됩니다. `musicnn`은 `pretrained.py`로 받는 미리 학습된 모델의
# 스케일로, $\log_{10}(1 + 10000x^2)$입니다.

# %%
x = np.array([0, 0.001, 0.01, 0.1, 1, 10, 100])
for name, (power, compress) in SCALES.items():
    print(f"{name:9}", "".join(f"{value:9.3f}" for value in compress(x**power)))

# %% [markdown]
# ### 주파수: 옥타브
#
# 음높이도 비율을 따릅니다. 264 Hz의 C'에서 시작하는 *순정률* 다장조 음계입니다.

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
# C'와 C''의 차이는 264 Hz이고 C''와 C'''의 차이는 528 Hz입니다. 두 배나 차이가 나지만 귀에는 똑같이
# 한 옥타브로 들립니다. 마지막 열에서는 둘 다 $\log_{10} 2 = 0.3010$입니다. (피아노는 다르게
# 조율합니다. 모든 반음의 비율이 $2^{1/12} \approx 1.0595$여서, 음이 대부분 정수비에서 조금씩
# 벗어납니다.)
#
# Linear-Scale 스펙트로그램은 513개의 bin 가운데 거의 절반을 5,000~10,000 Hz의 한 옥타브에 씁니다.
# 음악이 많이 모여 있는 110~220 Hz의 옥타브에는 다섯 개뿐입니다. 다른 주파수 Scale은 모두 같은
# 방법으로 이 문제를 풉니다. 가중치 매트릭스를 곱해서 bin들을 대역으로 묶습니다.
#
# $$Y = M \cdot X$$
#
# ($M$: mapping matrix, $X$: spectrogram, $Y$: scaled spectrogram)

# %%
hz = np.fft.rfftfreq(hparams.fft_size, 1 / SR)
for low in (110, 440, 1760, 5000):
    inside = (hz >= low) & (hz < 2 * low)
    print(f"{low:5d} to {2 * low:5d} Hz: {inside.sum():3d} of {len(hz)} bins")

# %% [markdown]
# ### Mel-Scale
#
# 사람은 인접한 주파수를 크게 구별하지 못하고, 높은 주파수일수록 더 그렇습니다. 어떤 음들이 같은
# 간격으로 떨어져 있는지 사람들에게 물어서 만든 음높이의 단위가 **멜**(mel)입니다. 1,000 Hz까지는
# 거의 선형이고 그 위로는 로그에 가깝습니다. 흔히 쓰는 공식에서는 1,000 Hz가 1,000 mel입니다.
#
# $$m = 2595\,\log_{10}\!\Big(1 + \frac{f}{700}\Big)$$

# %%
for f in (100, 500, 1000, 2000, 4000, 8000):
    print(f"{f:5d} Hz = {formula_mels(f):6.1f} mels")
f = np.arange(100, 8001, 100)
compare(formula_mels(f), librosa.hz_to_mel(f, htk=True), 0.1)

# %% [markdown]
# 다른 공식도 있습니다. librosa와 이 파이프라인은 기본으로 Slaney의 공식을 쓰고, 1,000 Hz 아래에서
# 정확히 선형입니다. 단위는 다르지만 중요한 것은 모양입니다.

# %%
plot_mel_scales(SR, plt.subplots(figsize=(8, 3))[1]).set_title("two scales, two y-axes")
plt.show()

# %% [markdown]
# mapping matrix에는 대역마다 삼각형이 하나씩, *멜 단위로* 같은 간격으로 있습니다. 삼각형은 중심
# 주변의 bin을 모으고, 이웃한 삼각형끼리 겹칩니다. 그림에는 잘 보이도록 24개만 그렸습니다.
# 파이프라인은 128개를 씁니다.

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
# 이제 모두 합쳐 봅시다. 파이프라인이 기본으로 학습하는 feature는 **log-mel**입니다. STFT의 크기에
# 멜 필터를 적용하고 log를 취합니다.

# %%
feature = log_mel(clip, hparams)
print(feature.shape)
plot_feature(clip, hparams, plt.subplots(figsize=(9, 3))[1])
plt.show()

# %% [markdown]
# 같은 것을 슬라이드의 `feature_extraction.py`처럼 librosa 함수로 타이핑해 봅시다. (지금의
# `librosa.filters.mel`은 키워드 인자만 받습니다.) 마지막 줄에서 시간이 앞으로 옵니다: (frames,
# mels).

# %%
S = librosa.stft(clip, n_fft=1024, hop_length=512, win_length=1024)
mel_basis = librosa.filters.mel(sr=SR, n_fft=1024, n_mels=128)
mel_S = np.dot(mel_basis, np.abs(S))
mel_S = np.log10(1 + 10 * mel_S)
mel_S = mel_S.T
compare(feature, mel_S, 1e-5)

# %% [markdown]
# `librosa.feature.melspectrogram`은 앞의 세 단계를 한 줄로 합니다. 기본값은 크기를
# 제곱하고(`power=2`) `n_fft=2048`을 쓰므로, 우리 값을 인자로 줍니다.

# %%
S = librosa.feature.melspectrogram(y=clip, sr=SR, n_fft=1024, hop_length=512, n_mels=128, power=1)
compare(mel_spectrogram(clip, hparams), S.T, 1e-5)

# %% [markdown]
# 슬라이드의 그림은 기본값으로 그린 것입니다. 위에 있는 우리 그림과 비교해 봅시다. 색은
# $\log_{10}(1 + 10x)$가 아니라 최댓값을 기준으로 한 데시벨입니다.

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
# Filter Bank는 서로 Overlapping 되어 있고, 악기 소리는 여러 대역에 한꺼번에 나타납니다. 그래서
# Filter Bank 에너지들 사이에 상관관계가 존재합니다. 고전적인 분류기는 상관관계가 적은 몇 개의
# 숫자로 더 잘 동작합니다. **MFCC**(Mel Frequency Cepstral Coefficients)는 세 단계로 구합니다.
#
# 1. 멜 스펙트로그램을 구하고 log를 취합니다(여기서는 dB).
# 2. 프레임마다 $N$개의 대역에 **DCT**(Discrete Cosine Transform)를 적용합니다.
# 3. 얻어진 계수에서 앞에서부터 몇 개만, 예를 들어 13개만 남기고 버립니다.
#
# $$X(k) = \sqrt{\frac{2}{N}}\;c_k
# \sum_{n=1}^{N} x(n)\,\cos\!\Big(\frac{\pi k}{N}\big(n - 0.5\big)\Big),
# \qquad c_0 = \tfrac{1}{\sqrt 2},\; c_k = 1 \text{ for } k > 0$$
#
# 스펙트럼을 다시 푸리에 변환한 셈이어서, spectrum의 글자를 뒤집어 *cepstrum*(켑스트럼)이라고
# 합니다. $k$번 계수는 반 파장이 $k$개인 코사인이 스펙트럼의 윤곽에 얼마나 들어 있는지를 나타냅니다.
# 먼저 식대로 계산해 봅시다.

# %%
x = decibels(mel_spectrogram(clip, hparams))  # (frames, 128)
n, k = np.arange(1, 129), np.arange(13)[:, None]
cosines = np.sqrt(2 / 128) * np.cos(np.pi * k / 128 * (n - 0.5))  # (13, 128)
cosines[0] /= np.sqrt(2)
by_formula = x @ cosines.T
compare(mfcc(clip, hparams), by_formula, 1e-3)

# %% [markdown]
# librosa로도 계산해 봅시다. librosa는 주파수가 앞에 옵니다.

# %%
S = librosa.feature.melspectrogram(y=clip, sr=SR, n_fft=1024, hop_length=512, n_mels=128, power=1)
log_mel_S = librosa.amplitude_to_db(S, ref=1, amin=1e-5, top_db=None)
mfcc_librosa = librosa.feature.mfcc(S=log_mel_S, n_mfcc=13)
mfcc_librosa = mfcc_librosa.astype(np.float32)  # to save memory (64 to 32 bits)
print(mfcc_librosa[0][:8])
compare(mfcc(clip, hparams), mfcc_librosa.T, 1e-3)

# %% [markdown]
# 변환의 행들은 정규직교이므로 전치행렬이 역변환입니다. 128개 대신 13개의 숫자로 되돌리면 매끄러운
# 윤곽이 나옵니다. 음색은 남고 배음 하나하나는 사라집니다.

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
# 정말 계수들이 대역들보다 덜 비슷할까요? 장르마다 한 곡씩 골라, 이웃한 대역과 이웃한 계수의
# 상관계수를 부호 없이 평균해 봅시다.

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
# 신경망에는 이런 과정이 덜 필요합니다. 대역을 어떻게 더할지 스스로 배우기 때문입니다. 게다가 한번
# 버린 계수는 되찾을 수 없습니다. 그래서 MFCC는 고전적인 분류기에, log-mel은 신경망에 씁니다.
#
# ### CQT (Constant-Q Transform)
#
# 멜이 귀를 따른다면 **CQT**는 음악의 음계를 따릅니다. 주파수들이 같은 비율로 놓이고, 여기서는 1/24
# 옥타브, 곧 4분음 간격입니다. 주파수와 대역폭의 비율 $Q = f/\Delta f$가 어디서나 같습니다. 그래서
# 주파수마다 윈도우의 길이가 다르고, 언제나 $Q$주기입니다.

# %%
Q = 1 / (2 ** (1 / hparams.bins_per_octave) - 1)
print(f"Q = {Q:.1f}")
for hz, name in ((32.70, "C1"), (440, "A4"), (4186, "C8")):
    print(f"{name} {hz:7.1f} Hz: window {1000 * Q / hz:6.1f} ms, bandwidth {hz / Q:6.2f} Hz")

# %% [markdown]
# 낮은 주파수에는 긴 윈도우, 높은 주파수에는 짧은 윈도우를 씁니다. Trade-off를 주파수마다 다르게
# 고르는 것입니다. 그리고 화음은 어느 조에서나 모양이 같습니다. 조를 옮기면 패턴이 그대로
# 이동합니다. 주파수 축을 따라 움직이는 필터에 잘 맞는 성질입니다. 한 옥타브 떨어진 두 음을 STFT와
# CQT로 봅시다.

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
# 클립의 CQT를 librosa로 구해 봅시다. 우리 `cqt`도 같은 함수를 부르므로 차이가 전혀 없습니다.

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
# ### 소리 하나, 그림 네 개
#
# 짧은 윈도우, 긴 윈도우, 멜, Constant-Q. 어느 하나가 정답인 것은 아니고, 저마다 무엇을 남길지
# 다르게 고릅니다. `python visualize.py song.wav`는 어떤 파일이든 이런 페이지로 그려 줍니다.

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
# 지금까지 쓴 함수들은 아래 파일에 있습니다. 모두 몇 줄뿐이고 식과 거의 같습니다.

# %%
for function in (load_audio, stft, hann, mel_filters, mel_spectrogram, log_mel, mfcc, cqt):
    print(f"{function.__name__:16} {function.__module__.replace('.', '/')}.py")

# %% [markdown]
# ### 연습 문제
#
# **7.1** 크기가 같은 두 소리를 더합니다. (가) 똑같은 소리일 때, (나) 서로 독립인 잡음일 때, 합은 몇
# dB 커질까요?
#
# <details><summary>정답</summary>
#
# (가) 6 dB. 진폭이 더해집니다. (나) 3 dB. 파워만 더해집니다.
#
# ```python
# first_noise, second_noise = np.random.default_rng(0).standard_normal((2, SR))
# for total in (first_noise + first_noise, first_noise + second_noise):
#     print(f"{10 * np.log10(np.mean(total**2) / np.mean(first_noise**2)):.1f} dB")
# ```
#
# </details>
#
# **7.2** `fft_size`를 1024로 두고 멜 대역을 256개, 512개로 늘려 봅시다. 무엇이 잘못되고, 어떻게
# 고칠 수 있을까요?
#
# <details><summary>정답</summary>
#
# 가장 낮은 대역들이 STFT의 bin보다 좁아집니다. 대역이 512개이면 76개에는 bin이 하나도 없어서 비어
# 있게 됩니다. `fft_size`를 키우면 됩니다.
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
# **7.3** MFCC 5개, 13개, 40개, 128개는 프레임을 얼마나 잘 나타낼까요? DCT를 되돌려서 오차를 dB로 재
# 봅시다.
#
# <details><summary>정답</summary>
#
# 13개이면 5 dB쯤 남습니다. 배음과 잡음입니다. 128개이면 스펙트럼이 그대로 돌아옵니다.
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
# **7.4** 클립을 반음 두 개만큼 올립니다. CQT는 bin 몇 개만큼 움직일까요? 먼저 예상해 봅시다.
#
# <details><summary>정답</summary>
#
# 한 옥타브에 24개이니 반음마다 2개이고, 따라서 4개만큼 움직입니다.
#
# ```python
# cqt_settings = own_settings(hparams, feature="cqt", scale="none")
# before, after = (cqt(wave, cqt_settings).mean(0) for wave in (clip, pitch_shift(clip, SR, 2)))
# print(np.correlate(after, before, "full").argmax() - (len(before) - 1))
# ```
#
# </details>

# %% [markdown]
# ## 8. 주요 Task
#
# 이 분야를 **MIR**(Music Information Retrieval)이라고 합니다. Task는 네 가지로 묶을 수 있습니다.
#
# | 묶음 | Task |
# |---|---|
# | **분류** (Classification) | 장르, 악기, 가수, 감정. 모두 합쳐서 *Auto-tagging* |
# | **유사도** (Similarity) | 커버곡 찾기, 허밍 검색, 음악 추천, 플레이리스트 |
# | **채보** (Transcription) | 멜로디, Onset, 비트와 템포, 화음과 조성, 구조 |
# | **생성** (Generation) | 작곡, 그리고 악보를 사람처럼 연주하기 |
#
# 음악 서비스는 앞의 두 가지에 크게 의지합니다. 곡이 수천만 개나 되고, 사람이 들을 수 있는 것은 그중
# 일부뿐이기 때문입니다. CV 도메인에서 사진 한 장에 여러 물체가 있듯이, 음악에도 장르, 분위기, 악기,
# 아티스트 같은 여러 Label이 담깁니다. 그래서 분류에는 두 종류가 있고, 마지막 단계만 다릅니다.
#
# - **여럿 중 하나**: 곡마다 장르는 하나입니다. Softmax가 출력을 합이 1인 확률로 만듭니다.
# - **여럿 중 몇 개든**: 곡마다 태그는 여러 개입니다(Multi-Label). Sigmoid가 출력 하나하나를 따로
#   확률로 만듭니다.

# %%
logits = torch.tensor([2.0, 1.0, -1.0])
for name, shares in (("softmax", logits.softmax(0)), ("sigmoid", logits.sigmoid())):
    print(f"{name}: {shares.numpy().round(2)}, sum {shares.sum():.2f}")

# %% [markdown]
# 태그로 문장을 만들 수도 있습니다. 데모의 `tags.csv`에는 작곡 프로그램이 고른 태그가 적혀 있습니다.
# 이것으로 문장의 빈칸을 채워 봅시다.

# %%
catalog = read_catalog(dataclasses.replace(hparams, task="tagging"))
tag_names = catalog.hparams.tags
for name in ("jazz/jazz.00006.wav", "metal/metal.00000.wav", "reggae/reggae.00000.wav"):
    given = [float(tag in catalog.tags[name]) for tag in tag_names]
    print(f"{name}: {describe_tags(given, tag_names)}")

# %% [markdown]
# `python train_test.py --task tagging`은 소리에서 이런 태그를 배우고, `python retrieve.py`는 비슷한
# 곡을 찾습니다. 여기서부터는 한 가지만 묻겠습니다. *이 곡은 어떤 장르일까요?*
#
# ### 연습 문제
#
# **8.1** 세 로짓에 모두 3을 더합니다. Softmax와 Sigmoid 중 어느 쪽의 확률이 바뀔까요?
#
# <details><summary>정답</summary>
#
# Sigmoid만 바뀝니다. Softmax는 로짓의 차이만 봅니다. 클래스끼리 경쟁하는 것입니다. Sigmoid는 각각
# 독립적으로 결정합니다.
#
# ```python
# for shifted in (logits, logits + 3):
#     print(shifted.softmax(0).numpy().round(2), shifted.sigmoid().numpy().round(2))
# ```
#
# </details>
#
# **8.2** 태그마다 몇 곡에 붙어 있을까요? 항상 "아니요"라고 답하는 모델의 정확도는 얼마일까요?
#
# <details><summary>정답</summary>
#
# 드문 태그에서는 아무 쓸모 없는 모델도 거의 다 맞힙니다. 그래서 태깅에서는 정확도 대신 ROC-AUC와
# PR-AUC를 봅니다.
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
# ## 9. 합성곱 신경망
#
# 신경망은 log-mel을 그림처럼 다룹니다. 가로가 프레임, 세로가 멜 대역입니다. 시각 세포는 저마다
# 장면의 작은 부분, 곧 *Receptive field*만 봅니다. **CNN**(Convolutional Neural Network)도
# 비슷합니다. 같은 작은 패턴을 모든 곳에서 찾습니다.
#
# ### Filter
#
# **필터**(또는 *커널*)는 어떤 특징이 데이터에 있는지 없는지를 검출해 주는 함수입니다. 작은 가중치
# 배열 $w$가 입력 위를 움직이면서, 자리마다 곱의 합을 출력합니다. 입력에 그 특징이 있으면 큰 값이
# 나오고, 없으면 0에 가까운 값이 나옵니다. (수학에서는 이것을 상관(correlation)이라고 합니다.
# 합성곱이라면 필터를 뒤집어야 하지만, 가중치는 학습하는 것이어서 차이가 없습니다.)
#
# $$\text{out}(i) = \sum_{j=0}^{k-1} w(j)\;x(i + j)$$

# %%
x = torch.tensor([[0.0, 0, 0, 5, 5, 5, 5, 0, 0, 0]])  # (channels, length)
w = torch.tensor([[[-1.0, 1]]])  # a step up: (filters, channels, kernel)
print("input: ", x.int().tolist()[0])
print("output:", functional.conv1d(x, w).int().tolist()[0])

# %% [markdown]
# 3 x 3 필터 두 개를 직접 만들어서 클립에 적용해 봅시다. 하나는 음의 *시작*을 찾습니다. 앞은 어둡고
# 뒤는 밝은 곳입니다. 하나는 *이어지는 음*을 찾습니다. 위아래가 어두운 밝은 선입니다. 신경망의
# **ReLU**처럼 음수는 0으로 만듭니다. 학습된 신경망에는 이런 필터가 수백 개 있고, 사람이 그린 것은
# 하나도 없습니다.

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
# ### Padding과 Stride
#
# 값이 $k$개인 필터는 $n$개의 값 안에서 $n - k + 1$번만 들어가므로, Feature Map의 크기가 입력보다
# 작아집니다. **패딩**은 이 현상을 방지하는 방법입니다. 입력의 외곽을 $p$개의 0으로 채웁니다.
# $k = 3$, $p = 1$이면 크기가 그대로입니다. **스트라이드** $s$는 필터가 움직이는 간격이고, 2이면
# 크기가 절반이 됩니다. 일반적으로는 다음과 같습니다.
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
# **풀링**은 출력의 크기를 일부러 줄이고, 학습할 것이 없습니다. *Max pooling*은 구간의 최댓값을
# 남깁니다. 패턴이 이 근처에 있었다는 뜻입니다. *Average pooling*은 평균을 남깁니다. 얼마나 많이
# 있었는지를 나타냅니다. Max pooling이 더 많이 쓰입니다.

# %%
x = torch.tensor([[[1.0, 3, 0, 0], [2, 8, 1, 1], [0, 0, 4, 4], [0, 4, 4, 4]]])
print("max:    ", functional.max_pool2d(x, 2).tolist()[0])
print("average:", functional.avg_pool2d(x, 2).tolist()[0])

# %% [markdown]
# 풀링을 하면 정확한 위치가 덜 중요해집니다. 입력이 한 프레임 움직이면 합성곱의 출력도 움직이지만,
# 풀링한 값은 그대로일 때가 많습니다. 아래에서는 봉우리가 움직여도 풀링한 값이 변하지 않습니다.

# %%
for place in (4, 5, 6):
    x = torch.zeros(1, 12)
    x[0, place] = 1
    print(x.int().tolist()[0], "->", functional.max_pool1d(x, 4).int().tolist()[0])

# %% [markdown]
# ### Fully Connected Layer
#
# 합성곱, 정규화, ReLU, 풀링이 모여 *블록* 하나가 됩니다. 블록을 쌓으면 앞 블록이 찾은 패턴들의
# 패턴을 더 긴 시간에 걸쳐 찾게 됩니다. 마지막에 남은 값들을 한 줄로 펼친(flatten) 것이
# **임베딩**(embedding)입니다. **FC layer**는 이 값들에 가중치를 주어 장르마다 점수, 곧
# **로짓**(logits)을 하나씩 냅니다.
#
# ### 연습 문제
#
# **9.1** 음의 *끝*을 찾는 3 x 3 필터와, *올라가는* 음을 찾는 필터를 만들어서 log-mel에 적용해
# 봅시다.
#
# <details><summary>정답</summary>
#
# 끝은 시작을 시간 방향으로 뒤집은 것입니다. 올라가는 음은 밝은 대각선입니다. 그림의 0번 행이 가장
# 낮은 대역이므로 가중치의 0번 행도 그렇습니다.
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
# **9.2** 커널이 3인 합성곱 세 개가 있고, 각각 뒤에 크기 2의 Max pooling이 있습니다. 출력값 하나는
# 입력 프레임을 몇 개나 볼까요? 먼저 계산하고, gradient로 재 봅시다.
#
# <details><summary>정답</summary>
#
# 22프레임입니다. 거꾸로 따라갑니다. 값 1개는 풀링 전에 2개, 커널 3이면 4개입니다. 다시 8개, 10개,
# 그리고 20개, 22개입니다. 아래에서는 보이는 프레임이 모두 gradient를 받도록 Average pooling을
# 씁니다.
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
# **9.3** 합성곱과 Max pooling의 입력을 한 프레임씩 옮겨 봅시다. 어느 쪽의 출력이 정확히 한 프레임
# 움직이나요?
#
# <details><summary>정답</summary>
#
# 스트라이드가 1인 합성곱입니다. 입력이 움직이면 출력도 그만큼 움직입니다(*equivariant*). 풀링은
# 입력이 움직여도 출력이 거의 그대로입니다(*invariant*).
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
# ## 10. 세 가지 CNN
#
# 음악 분류는 사람이 설계한 feature에서 학습한 feature로, Feature engineering에서 end-to-end
# learning으로 발전해 왔습니다.
#
# | | 입력 | 방법 | 여기서는 |
# |---|---|---|---|
# | (a) | 시간에 대해 요약한 MFCC | 표준 분류기 | `classic.py` |
# | (b) | 멜 스펙트로그램 | Label 없이 학습한 feature와 분류기 | `--model dictionary` |
# | (c) | 멜 스펙트로그램 | 딥러닝 | `train_test.py` |
# | (d) | 파형 | 딥러닝, *end-to-end* | `--feature waveform` |
#
# (c)와 (d)에는 세 종류의 신경망이 있고, 필터가 덮는 범위가 서로 다릅니다. 접어 둔 셀에 있는
# `show_shapes` 함수는 layer마다 출력의 크기를 보여 줍니다. PyTorch의 "meta" 장치에서 크기만
# 계산하므로 시간이 걸리지 않습니다.

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
# ### 1-D CNN
#
# 필터가 멜 대역은 *모두*, 프레임은 몇 개만 덮고, 시간에 따라서만 움직입니다. 대역이 곧 채널이므로
# 어느 대역인지 구별할 수 있습니다. 파라미터가 적고 빨리 학습되며 작은 데이터셋에서 잘 동작합니다.
# 하지만 같은 화음도 한 음 올라가면 다른 패턴이 됩니다. `Baseline`은 슬라이드의 신경망이고,
# 1,024프레임(23.8초)을 받습니다. 크기는 채널 x 프레임입니다.

# %%
show_shapes(1024, 128, model="Baseline")

# %% [markdown]
# ### 2-D CNN
#
# 필터가 대역 몇 개와 프레임 몇 개를 덮고, Computer Vision에서처럼 두 방향으로 움직입니다. 어느
# 높이에서든 같은 패턴을 찾으므로 pitch shifting의 영향을 덜 받습니다. 계산이 더 많이 필요하고, 큰
# 데이터셋에서 높은 성능을 보이는 편입니다. **FCN-4**(Choi et al., 2016)에서 FC layer는 마지막
# 하나뿐입니다. 크기는 채널 x 대역 x 프레임입니다. (이 신경망의 표에는 중간 크기가 24 x 85와 12 x
# 21로 적혀 있을 때가 많은데, 풀링 크기대로 계산하면 그렇게 되지 않습니다.)

# %%
show_shapes(1366, 96, model="FCN4")

# %% [markdown]
# ### Sample CNN
#
# 스펙트로그램도 학습하면 어떨까요? **SampleCNN**(Lee et al., 2017)은 input으로 파형 그 자체를
# 사용하고, 필터의 크기가 *샘플* 3개입니다. 이런 필터 하나로는 주파수를 거의 볼 수 없지만, 3씩
# 줄이는 단계를 열 번 거치면 값 하나가 $3^{10}$ = 59,049개의 샘플을 본 것이 됩니다. 스펙트로그램은
# 언제나 위상을 버립니다. 이 신경망은 무엇을 무시할지 스스로 배웁니다. 스트라이드와 풀링 덕분에
# 파동이 어디서 시작하든 답이 같아집니다. 저자들은 layer마다 필터들이 특정 주파수 대역에 반응하게
# 되고, 그 간격이 멜과 비슷하다는 것을 발견했습니다.

# %%
show_shapes(3**10, 1, model="SampleCNN", feature="waveform")
print(f"{3**10:,} samples = {3**10 / SR:.3f} s")

# %% [markdown]
# ### 연습 문제
#
# **10.1** `Baseline`의 첫 번째 합성곱에 가중치가 몇 개 있는지 손으로 계산해 봅시다. `FCN4`의 첫
# 번째 합성곱도 계산해 봅시다. 왜 이렇게 차이가 클까요?
#
# <details><summary>정답</summary>
#
# `Baseline`: 필터 32개 x 대역 128개 x 프레임 8개 + bias 32개 = 32,800. `FCN4`: 필터 128개 x 채널
# 1개 x 3 x 3 + bias 128개 = 1,280. 1-D 필터는 모든 대역을 덮지만, 2-D 필터는 가중치 9개를 모든
# 대역에서 다시 씁니다.
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
# **10.2** `Baseline`이 받을 수 있는 가장 짧은 청크는 몇 프레임일까요? 더 짧으면 어디서 문제가
# 생길까요?
#
# <details><summary>정답</summary>
#
# 청크가 짧으면 풀링을 거치는 동안 프레임이 남지 않습니다. 에러 메시지에 최솟값이 나옵니다.
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
# **10.3** 아래에서 학습할 모델은 `Compact1D`입니다. 128프레임 청크에 대해 `Compact2D`와 layer를
# 비교해 봅시다.
#
# <details><summary>정답</summary>
#
# ```python
# for model_name in ("Compact1D", "Compact2D"):
#     show_shapes(128, 128, model=model_name)
# ```
#
# </details>

# %% [markdown]
# ## 11. 파이프라인
#
# 단계마다 스크립트가 하나씩 있고, 따로따로 실행할 수 있습니다.
#
# | | 읽는 것 | 만드는 것 |
# |---|---|---|
# | `hparams.py` | 플래그 | 모든 단계의 설정 |
# | `data_augment.py` (선택) | 오디오 | 더 많은 학습 오디오 |
# | `feature_extraction.py` | 오디오와 목록 | log-mel 청크: `.npy`, `features.jsonl` |
# | `data_manager.py` | 이 파일들 | 정규화한 배치 |
# | `model.py` | 배치 | 로짓: 직접 고쳐 볼 파일 |
# | `train_test.py` | 위의 모든 것 | 학습하고 평가한 모델 |
#
# ### hparams
#
# feature와 모델, 학습에 사용할 하이퍼 파라미터를 한곳에 모아 둡니다. 그래서 명령 한 줄로 실험
# 하나를 할 수 있습니다. feature의 모양을 정하는 설정은 다음과 같습니다.

# %%
for name, value in hparams.feature_settings().items():
    print(f"--{name} {value}")

# %% [markdown]
# ### feature_extraction
#
# 오디오를 불러와서 변환하고, 앞의 1,024프레임(23.8초)을 128프레임짜리 **청크**(chunk)로 자릅니다.
# 이보다 짧은 곡은 무음으로 채웁니다. 곡마다 장르 이름의 폴더에 파일이 하나씩 생기고, 설정을 담은
# `features.jsonl`에 한 줄씩 기록됩니다.

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
# 반음 높거나, 조금 빠르거나, 잡음이 조금 섞여도 곡의 장르는 그대로입니다. 이렇게 Label을 바꾸지
# 않는 약간의 변화를 주어 학습 데이터를 늘립니다. 클립에 여섯 가지 효과를 모두 적용해서 들어 봅시다.

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
# 이 가운데 세 가지는 librosa에도 있습니다. 64비트로 계산하면 결과가 같습니다. 32비트에서는
# librosa가 위상을 계속 더하면서 자릿수를 잃습니다.

# %%
exact = clip.astype(np.float64)
compare(time_stretch(clip, SR, 1.25), librosa.effects.time_stretch(exact, rate=1.25), 1e-4)
compare(pitch_shift(clip, SR, 2), librosa.effects.pitch_shift(exact, sr=SR, n_steps=2), 1e-4)
compare(percussive(clip, SR, 1.5), librosa.effects.percussive(exact, margin=(1, 1.5)), 1e-4)

# %% [markdown]
# ### data_manager
#
# 분할마다 청크를 모아서 **정규화**(Normalize)합니다. 평균을 빼고 표준편차로 나눕니다. 둘 다 *train*
# 분할에서만 구합니다. valid나 test의 곡이 영향을 주면 데이터 누수가 됩니다.

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
# ### model, 그리고 학습하는 방법
#
# `Compact1D`는 수백 곡짜리 데이터셋을 위한 이 프로젝트의 1-D CNN입니다. `Runner`는 모델과 **손실
# 함수**(Criterion), **Optimizer**를 가지고 있습니다. 손실은 cross-entropy, 곧 정답 장르에 준 확률의
# 로그에 음의 부호를 붙인 값입니다. Optimizer는 손실의 gradient 반대 방향으로 가중치를 조금씩
# 움직입니다. 학습은 로짓, 손실, 업데이트의 반복입니다. 배치 하나로 열 번 업데이트해 봅시다. 모델은
# 이 배치를 금방 외웁니다. 아무렇게나 찍으면 $\ln 8 = 2.08$입니다.

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
# **Epoch**는 모든 학습 청크를 한 번씩 쓰는 것입니다. Epoch가 끝날 때마다 학습하지 않고 valid 분할의
# 손실을 잽니다. 남기는 것은 이 손실이 가장 낮았던 epoch의 가중치입니다. 여기처럼 one-cycle
# 스케줄을 쓰면 마지막 epoch의 가중치를 남깁니다. 이 가중치로 test 분할을 한 번만 평가합니다.
# 터미널에서는 같은 플래그로 `python train_test.py`를 실행하면 됩니다.

# %%
shutil.rmtree("runs/tutorial/mel", ignore_errors=True)  # from the last time you ran this
place = ["--dataset_path", hparams.dataset_path, "--run_path"]
train_test.main([*place, "runs/tutorial/mel", *recipe.split()])

# %% [markdown]
# ### 연습 문제
#
# **11.1** 데모의 곡은 30초이고 1,292프레임이지만, 1,024프레임만 씁니다. 전부 쓰려면 어떤 설정을
# 바꿔야 하고, 그때 곡마다 청크는 몇 개일까요?
#
# <details><summary>정답</summary>
#
# `--feature_length 0`입니다. 청크가 11개 나오고 그중 10개만 셉니다. 마지막 청크는 대부분 패딩이기
# 때문입니다.
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
# **11.2** 같은 배치로 30번 더 업데이트해 봅시다. 손실이 얼마나 낮아지나요? 오래 학습하기 전에 왜
# 이렇게 해 보면 좋을까요?
#
# <details><summary>정답</summary>
#
# 0에 가까워집니다. 배치 하나도 외우지 못하는 모델에는 버그가 있습니다. Label이 틀렸거나, gradient가
# 흐르지 않거나, learning rate가 맞지 않는 것입니다. 몇 초면 확인할 수 있습니다.
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
# **11.3** 정규화를 확인해 봅시다. 모델이 받는 청크의 평균과 표준편차를 분할마다 구합니다. 어느 것이
# 정확히 0과 1이고, 왜 모두 그렇지는 않을까요?
#
# <details><summary>정답</summary>
#
# train은 반올림 오차를 빼면 정확합니다. valid와 test는 train의 값을 쓰므로 비슷하기만 합니다.
#
# ```python
# for split, loader in zip(SPLITS, loaders):
#     values = torch.cat([batch for batch, _ in loader])
#     print(f"{split}: mean {values.mean():.3f}, deviation {values.std():.3f}")
# ```
#
# </details>

# %% [markdown]
# ## 12. 결과
#
# `Test Accuracy`는 3초짜리 청크를 하나하나 셉니다. `Test Track Accuracy`는 청크들의 확률을 평균한
# 다음 곡을 셉니다. 사람도 3초만 듣고 판단하지는 않을 것입니다. 구간은 test에 어떤 곡이 들어가느냐에
# 따라 이 숫자가 얼마나 달라질 수 있는지를 보여 줍니다. 32곡이면 많이 달라집니다.
#
# **학습 곡선**: train 분할의 손실은 계속 내려갑니다. valid 분할의 손실이 더 내려가지 않으면,
# 그때부터 신경망은 곡을 외우기 시작합니다. 이것을 *과적합*(overfitting)이라고 합니다.

# %%
folder = Path("runs/tutorial/mel")
report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
plot_learning_curves(read_history(folder), report["best_epoch"])
plt.show()

# %% [markdown]
# **혼동 행렬**(Confusion matrix)의 행은 정답 장르, 열은 모델의 답입니다. 대각선 밖에 있는 곡은 모두
# 혼동한 것입니다.

# %%
plot_confusion_matrix(np.array(report["confusion_matrix"]), list(report["per_genre"]))
plt.show()

# %% [markdown]
# 모델이 가장 확신했는데도 틀린 곡입니다. 들어 봅시다. 여러분이라면 맞혔을까요?

# %%
wrong = find_wrong(report)
name, verdict, share = wrong[0] if wrong else (report["tracks"][0]["track"], "all correct", 1)
print(f"{name}: {verdict}, with a probability of {share:.0%}")
play(load_audio(Path(hparams.dataset_path, name), hparams)[3 * SR : 8 * SR])

# %% [markdown]
# ### 신경망이 망설이는 곡
#
# 신경망은 청크마다 따로 답합니다. 대부분의 곡에서는 청크들의 답이 같습니다. 다음 셀은 답이 가장
# 자주 바뀌는 test 곡을 찾습니다. 바뀐 횟수가 같으면 평균 *엔트로피*가 높은 곡을 고릅니다. 청크의
# 엔트로피는 한 장르의 확률이 1이면 0비트이고, 8개 장르의 확률이 모두 같으면 3비트입니다.

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
# 맨 위의 띠는 청크마다 확률이 가장 높은 장르를 그 장르의 색으로 보여 줍니다. 그림을 따라가면서 들어
# 봅시다. 답이 바뀔 때 음악에서는 무슨 일이 일어나나요?
#
# ### 비슷한 곡 찾기
#
# 마지막 layer의 입력인 임베딩은 장르를 맞히는 것 말고도 쓸모가 있습니다. 임베딩이 비슷한 곡은 대개
# 비슷하게 들립니다. 두 임베딩의 *코사인*으로 유사도를 재고, 방향이 같으면 1입니다. test의 첫 번째
# 재즈 곡과 가장 비슷한 test 곡은 무엇일까요?

# %%
embeddings = np.stack([embed_track(Path(hparams.dataset_path, name), run) for name in test_tracks])
query = next(row for row, name in enumerate(test_tracks) if name.startswith("jazz"))
print(f"0 (1.0) {test_tracks[query]}")
rows, cosines = nearest(embeddings[query], embeddings, 5, [query])
for number, (row, cosine) in enumerate(zip(rows, cosines), start=1):
    print(f"{number} ({cosine:.4f}) {test_tracks[row]}")

# %% [markdown]
# ### 신경망을 쓸 가치가 있었을까?
#
# 10절의 (a), 고전적인 방법을 같은 곡에 적용해 봅시다. MFCC 13개의 시간에 대한 평균과 표준편차를
# SVM(support vector machine)에 넣습니다.

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
# 두 구간이 많이 겹치면, 32곡으로는 어느 방법이 더 좋은지 알 수 없습니다. 곡이나 난수 시드를
# 늘리거나 다른 데이터셋을 써야 합니다. `python compare.py`가 표를 만들어 줍니다. 그리고 합성한
# 곡만으로는 실제 음악에서 어느 쪽이 나은지 알 수 없습니다.
#
# ### 연습 문제
#
# **12.1** 트랙 정확도의 95 % 구간을 Wilson의 공식으로 직접 구해 봅시다. $z = 1.96$입니다. 구간의
# 너비를 절반으로 줄이려면 test 곡이 몇 개나 필요할까요?
#
# $$\Big(p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}\Big)
# \Big/ \Big(1 + \frac{z^2}{n}\Big)$$
#
# <details><summary>정답</summary>
#
# 4배쯤 필요합니다. 너비는 $n$의 제곱근에 반비례합니다.
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
# **12.2** 확률을 평균하는 대신, 청크들이 장르에 투표하게 해 봅시다. `predictions`로 두 규칙을
# 비교해 봅시다.
#
# <details><summary>정답</summary>
#
# 한두 곡 차이가 나지만, 32곡에서는 별 의미가 없습니다. 평균은 청크가 얼마나 확신하는지를
# 반영합니다. 투표는 그렇지 않고, 표가 같을 수도 있습니다.
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
# **12.3** 가장 비슷한 곡과 장르가 같은 test 곡은 몇 곡일까요? 신경망의 정확도보다 훨씬 높습니다. 왜
# 그럴까요? 힌트: 데모의 아티스트는 두 곡씩이고, 목록에 나란히 있습니다.
#
# <details><summary>정답</summary>
#
# 가장 비슷한 곡은 대개 같은 아티스트의 곡입니다. 임베딩에는 아티스트의 소리도 담겨 있습니다. 그
# 아티스트의 다른 곡을 빼면 맞는 답이 줄어듭니다. 한 아티스트가 두 분할에 나오면 안 되는 이유입니다.
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
# **12.4** 효과를 주어도 답이 그대로일까요? 재즈 곡 `track`과, 두 가지 효과를 준 복사본을 분류해
# 봅시다.
#
# <details><summary>정답</summary>
#
# 확률이 많이 달라진다면, 이런 복사본을 학습 데이터에 더하는 것이 도움이 될 수 있습니다.
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
# ### 더 해 봅시다
#
# - 윈도우를 바꿔 봅시다. 추출과 학습에 모두 `--win_size 2048 --fft_size 2048`을 줍니다. 어떤 장르가
#   좋아지나요?
# - `--feature cqt`, `--model Compact2D`, `--time_mask 16 --frequency_mask 16`을 써 봅시다.
# - `python data_augment.py --dataset_path dataset/demo`를 실행한 다음, `dataset/demo-augmented`로
#   추출하고 학습해 봅시다.
# - `python predict.py song.mp3 --run runs/tutorial/mel`에 좋아하는 노래를 넣어 봅시다. 어떤 장르가
#   나오나요?
# - `model.py`의 끝에 나만의 신경망을 만들고, 그 이름을 `--model`에 주어 봅시다.
# - 장르마다 폴더를 하나씩 만들어서 내 음악을 써 봅시다: `python dataset/make_lists.py my_music`.
#
# ### 참고 문헌
#
# - Davis and Mermelstein (1980): MFCC. Tzanetakis and Cook (2002): GTZAN을 처음 소개한 논문.
# - Sturm (2013), *The GTZAN dataset: its contents, its faults ...*. Kereliuk, Sturm and Larsen
#   (2015): 여기서 쓰는 fault-filtered split.
# - Choi, Fazekas and Sandler (2016), *Automatic tagging using deep convolutional neural networks*.
# - Lee, Park, Kim and Nam (2017), *Sample-level deep convolutional neural networks for music
#   auto-tagging using raw waveforms*.
# - Nam, Choi, Lee, Chou and Yang (2019), *Deep learning for audio-based music classification and
#   tagging*: 10절의 세 가지 신경망은 이 논문을 따랐습니다.
