"""The benchmarks compare like with like."""

import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import bench_loading
import bench_startup
from bench_extraction import compare_folder
from bench_training import our_way, taught_way
from side_by_side import call_in_process, compare, limit_cores, run, synthesize, table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks need Linux")


def test_time_and_memory_are_measured_for_the_process():
    seconds, megabytes = run(["-c", "import time; x = bytes(60_000_000); time.sleep(0.3)"])
    assert seconds > 0.3
    assert megabytes > 60
    assert run(["-c", "print('seconds 12.5')"])[0] == 12.5
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run(["-c", "1 / 0"])


def test_ratios_are_computed_within_pairs():
    taught, ours = iter([(9, 1), (2, 100), (6, 90)]), iter([(1, 1), (1, 50), (2, 60)])
    row = compare("x", lambda: next(taught), lambda: next(ours), 2)
    assert row == ("x", "4.00 s", "1.50 s", "**2.50** (2.00 to 3.00)", "100 MB / 60 MB")
    assert table([row]).count("|") == 18


def test_one_core_is_one():
    with limit_cores(1):
        assert run(["-c", "import os; print('seconds', len(os.sched_getaffinity(0)))"])[0] == 1


def test_both_ways_extract_the_same_features(tmp_path):
    call_in_process(synthesize, tmp_path / "data", 3, 22050, 1, "flac")
    row = compare_folder("x", tmp_path / "data", tmp_path, 1)  # raises if they differ
    assert row[0] == "x"
    assert len(list((tmp_path / "ours").rglob("*.npy"))) == 3


def test_both_ways_load_all_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_loading, "SIZES", dict.fromkeys(("train", "valid", "test"), 8))
    bench_loading.synthesize(tmp_path, 1, taught=True)
    for name in ("TAUGHT", "OURS"):  # both count the chunks of 730 tracks
        code = getattr(bench_loading, name).replace("5840", str(3 * 8 * 8))
        monkeypatch.setattr(bench_loading, name, code)
    genres = " ".join(bench_loading.GENRES)
    assert run(["-c", bench_loading.TAUGHT, tmp_path / "taught", genres])[0] > 0
    assert bench_loading.load(tmp_path, 4)[0] > 0


def test_the_start_of_training_is_measured(tmp_path):
    flags = bench_startup.synthesize(tmp_path, 50)
    assert run(["-c", bench_startup.CODE, *flags])[0] > run(["-c", bench_startup.CODE])[0]


def test_both_ways_score_the_same():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 128, 128)).astype(np.float32), rng.integers(0, 8, 40)
    for name in ("Baseline", "Small2D"):
        taught = taught_way(name, "eval", torch.device("cpu"), x, y)()
        ours = our_way(name, "eval", "fp32", torch.device("cpu"), x, y)()
        assert ours == pytest.approx(taught, rel=1e-4)
