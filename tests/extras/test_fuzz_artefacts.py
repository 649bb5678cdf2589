"""1,000 damaged artefacts: a message or the same result, and the remedy repairs them.

Damage by chance changes bytes, which a checksum tells. Other tries change a value and write the
file with a new checksum: then results can differ, but no try ends in an unexpected error.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GENRES, RATE, flags, write_data_set
from matplotlib import pyplot as plt

import data_augment
import feature_extraction
import predict
import retrieve
import train_test
import visualize
from compare import finished_report
from data_manager import load_dataset
from hparams import HParams
from support.errors import UserError
from support.files import json_line, read_json, write_json
from training.checkpoint import load_checkpoint, save_checkpoint
from training.results_table import add_result, make_row
from training.runs import format_runs

RUN, FEATURES, COPIES = Path("runs/one"), Path("features"), Path("data-augmented")
TABLE = Path("runs/compare/data.json")
WHOLE_HISTORY = Path("whole/runs/one/history.csv")
DATA = {"name": "data", "tracks": "0" * 32, "split": "", "sizes": "6/3/3", "chance": 33.3}
PREDICT = predict.main, ["data/jazz/jazz.00000.wav", "--device", "cpu"]
SEARCH = retrieve.main, ["data/jazz/jazz.00000.wav", "--device", "cpu"]
INDEX = retrieve.main, ["--index", "data", "--device", "cpu"]
RESUME = train_test.main, ["--resume", str(RUN), "--num_epochs", "3"]
DRAW = visualize.main, ["--run", str(RUN)]
AUGMENT = data_augment.main, ["--dataset_path", "data", "--augment_effects", "noise"]
NASTY = (  # values in the place of another one
    *(None, True, "", "x" * 5000, "\x1b[2J\n", "../../x", [], {}, [[[[]]]], {"a": {"b": []}}),
    *(-1, 0, 1.5, 2**31, 2**63, -(10**30), 10**400, 1e308, -1e-308, float("nan"), float("inf")),
)
DEEP = b"[" * 10**5
LIMIT = 400 << 20  # bytes by which the process may grow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make a folder with every artefact the current one; yields the settings of its run."""
    root, before = tmp_path_factory.mktemp("world"), Path.cwd()
    os.chdir(root)
    write_data_set(root / "data", seconds=1.1, sizes={"train": 2, "valid": 1, "test": 1})
    hparams = HParams(
        **{"dataset_path": "data", "feature_path": "features", "genres": list(GENRES)},
        **{"sample_rate": RATE, "fft_size": 256, "win_size": 256, "hop_size": 64, "num_mels": 16},
        **{"feature_length": 128, "num_epochs": 3, "batch_size": 3, "num_workers": 1},
        **{"device": "cpu", "optimizer": "adamw", "lr_schedule": "plateau", "learning_rate": 0.02},
    )
    with pytest.MonkeyPatch.context() as patch:
        # pictures take time: that of a run is drawn, but not saved
        patch.setattr("support.canvas.save_picture", lambda *_: None)
        patch.setattr(visualize, "save", draw)
        for main, words in (
            (feature_extraction.main, flags(hparams)),
            (train_test.main, flags(hparams, run_path=str(RUN))),
            *(INDEX, AUGMENT),
        ):
            assert not main(words)
        row = make_row("python compare.py", [read_json(RUN / "report.json")])
        add_result(TABLE, DATA | {"genres": list(GENRES)}, "rows", "one", row)
        for folder in (RUN, FEATURES, COPIES, TABLE.parent):
            shutil.copytree(folder, Path("whole") / folder)
        yield hparams
    os.chdir(before)


def draw(path, plot, *data):
    """Draw a page, and print what it shows."""
    plt.close(plot(*data))
    print(*data)


@pytest.fixture(autouse=True)
def bounded_memory(world):
    """Fail if a test needs much more memory than those before it."""
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < LIMIT


def restore(folder):
    """Make a folder what it was at first."""
    shutil.rmtree(folder)
    shutil.copytree(Path("whole") / folder, folder)


def attempt(main, words=()):
    """Run a command; return whether it failed with a message, and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            failed = bool(main(words) if words else main())
        except (UserError, OSError) as error:
            print(f"error: {error}")
            failed = True
        except SystemExit as error:
            failed = error.code != 0
    assert "unexpected" not in out.getvalue(), out.getvalue()
    return failed, out.getvalue()


def results(folder=RUN):
    """All that a run computed."""
    report = read_json(folder / "report.json")
    del report["minutes"]
    last = load_checkpoint(folder / "last.pt", sealed=True)
    weights = load_checkpoint(folder / "best.pt")["model"]
    tensors = [value.tolist() for value in (*weights.values(), *last["model"].values())]
    settings = {name: read_json(folder / "hparams.json")[name] for name in last["hparams"]}
    return report, tensors, last["history"], (folder / "history.csv").read_bytes(), settings


def damage(data, rng):
    """Bytes of which some are changed, cut off, put in or doubled."""
    at, count = int(rng.integers(len(data))), int(rng.choice([1, 2, 8, 100]))
    changed = bytearray(data)
    changed[at] ^= 1 << rng.integers(8)
    return rng.choice(
        np.array(
            [
                bytes(changed),
                bytes(changed),
                data[:at],
                data[:at] + rng.bytes(count) + data[at + count :],
                data[:at] + bytes(count) + data[at + count :],
                data[:at] + data[at + count :],
                data[:at] + DEEP + data[at:],
                data[:at] + b"9" * 5000 + data[at:],
                data[: at + count] + data[at:],
                data + data,
                b"",
            ],
            dtype=object,
        )
    )


def change(value, rng):
    """A copy of a value of which a part, at any depth, is another value, or is left out."""
    if not isinstance(value, dict | list | tuple) or not value or rng.random() < 0.1:
        return NASTY[rng.integers(len(NASTY))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    parts = dict(value) if isinstance(value, dict) else list(value)
    if rng.random() < 0.1:
        del parts[key]
    else:
        parts[key] = change(value[key], rng)
    return tuple(parts) if isinstance(value, tuple) else parts


def damaged(path, rounds, rng):
    """Damage a file in another way each round; yields the number of the round."""
    whole = (Path("whole") / path).read_bytes()
    for number in range(rounds):
        path.write_bytes(damage(whole, rng))
        yield number


def changed_json(path, rounds, rng):
    """Change a JSON file in another way each round, and write it with its hash."""
    whole = read_json(Path("whole") / path)
    for number in range(rounds):
        changed = change(whole, rng)
        write_json(path, changed if isinstance(changed, dict) else {"a": changed})
        yield number


def changed_checkpoint(path, rounds, rng, save=save_checkpoint):
    """Change a checkpoint in another way each round, and write it with its hash."""
    whole = load_checkpoint(Path("whole") / path)
    for number in range(rounds):
        changed = change(whole, rng)
        save(path, **changed if isinstance(changed, dict) else {"a": changed})
        yield number


def train_again():
    """Follow the remedy for damaged checkpoints."""
    (RUN / "last.pt").unlink(missing_ok=True)
    assert not attempt(*RESUME)[0]


def test_best_pt(world, rng):
    expected = attempt(*PREDICT)
    failed = 0
    for number in damaged(RUN / "best.pt", 200, rng):
        found = attempt(*PREDICT)
        assert found[0] or found == expected
        failed += found[0]
        if number % 20 == 0:
            train_again()
            assert attempt(*PREDICT) == expected
    assert failed > 150
    for save in (save_checkpoint, lambda path, **parts: torch.save(parts, path)):
        for _ in changed_checkpoint(RUN / "best.pt", 60, rng, save):
            attempt(*PREDICT)
    restore(RUN)


def test_last_pt(world, rng):
    expected, failed = results(), 0
    for number in damaged(RUN / "last.pt", 120, rng):
        if attempt(*RESUME)[0]:
            failed += 1
            if number % 10 == 0:
                train_again()
        else:
            assert results() == expected
    assert failed > 90
    restore(RUN)
    for _ in changed_checkpoint(RUN / "last.pt", 30, rng, lambda p, **parts: torch.save(parts, p)):
        assert attempt(*RESUME)[0]
    for _ in changed_checkpoint(RUN / "last.pt", 60, rng):
        attempt(*RESUME)
    restore(RUN)


def test_hparams_json(world, rng):
    expected = results()
    for tries in (damaged, changed_json):
        for _ in tries(RUN / "hparams.json", 30, rng):
            assert not attempt(*RESUME)[0]
            assert results() == expected
    (RUN / "last.pt").unlink()
    failed = 0
    for _ in damaged(RUN / "hparams.json", 60, rng):
        if attempt(*RESUME)[0]:
            failed += 1
        else:
            assert results() == expected
            (RUN / "last.pt").unlink()
    assert failed > 45
    for _ in changed_json(RUN / "hparams.json", 40, rng):
        attempt(train_test.main, ["--resume", str(RUN), "--num_epochs", "1"])
        (RUN / "last.pt").unlink(missing_ok=True)
    restore(RUN)


def test_history_csv(world, rng):
    expected, failed = attempt(*DRAW), 0
    for number in damaged(RUN / "history.csv", 60, rng):
        found = attempt(*DRAW)
        assert found[0] or found == expected
        failed += found[0]
        if number % 10 == 0:
            assert not attempt(*RESUME)[0]
            assert (RUN / "history.csv").read_bytes() == WHOLE_HISTORY.read_bytes()
    assert failed > 50
    (RUN / "last.pt").unlink()
    for _ in damaged(RUN / "history.csv", 40, rng):
        attempt(*DRAW)
    restore(RUN)


def test_report_json(world, rng):
    expected, whole = attempt(*DRAW), results()
    for number in damaged(RUN / "report.json", 60, rng):
        found = attempt(*DRAW)
        assert found[0] or found == expected
        with contextlib.redirect_stdout(io.StringIO()):
            assert found[0] == (finished_report(RUN) is None)
        attempt(format_runs)
        if number % 10 == 0:
            assert not attempt(*RESUME)[0]
            assert results() == whole
    for _ in changed_json(RUN / "report.json", 60, rng):
        attempt(*DRAW)
        attempt(format_runs)
        with contextlib.redirect_stdout(io.StringIO()):
            report = finished_report(RUN)
        assert report is None or make_row("", [report])
    restore(RUN)


def test_results_json(world, rng):
    whole, data = read_json(TABLE), DATA | {"genres": list(GENRES)}
    failed = 0

    def add():
        add_result(TABLE, data, "rows", "one", whole["rows"]["one"])

    for tries in (damaged, changed_json):
        for _ in tries(TABLE, 50, rng):
            if attempt(add)[0]:
                failed += 1
                TABLE.unlink()
                assert not attempt(add)[0]
                assert read_json(TABLE) == whole
            elif tries is damaged:
                assert whole.items() <= read_json(TABLE).items()
    assert failed > 60
    restore(TABLE.parent)


@pytest.mark.parametrize("name", ["index.jsonl", "embeddings-1.f32"])
def test_index(world, rng, name):
    expected, failed = attempt(*SEARCH), 0
    [path] = RUN.glob(f"index/*/{name}")
    for _ in damaged(path, 75, rng):
        found = attempt(*SEARCH)
        shorter = "Index: " in found[1] and "11 tracks" in found[1]  # as if killed by its last one
        assert found[0] or found == expected or shorter
        failed += found[0]
        assert not attempt(*INDEX)[0]
        assert attempt(*SEARCH) == expected
        restore(path.parent)
    assert failed > 50
    restore(RUN)


def test_index_of_other_entries(world, rng):
    [path] = RUN.glob("index/*/index.jsonl")
    lines = (Path("whole") / path).read_bytes().splitlines(keepends=True)
    for _ in range(60):
        number = int(rng.integers(len(lines)))
        values = json.loads(lines[number])
        del values["line_crc32"]
        changed = change(values, rng)
        with contextlib.suppress(ValueError):  # not a number, which no line has
            line = json_line(changed if isinstance(changed, dict) else {"a": changed})
            path.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        attempt(*SEARCH)
        assert not attempt(*INDEX)[0]
        assert not attempt(*SEARCH)[0]
        restore(path.parent)
    restore(RUN)


def test_augmentation_json(world, rng):
    path = COPIES / "augmentation.json"

    def contents():
        files = (path for path in COPIES.rglob("*") if path.suffix in (".wav", ".txt"))
        return {path: path.read_bytes() for path in files}

    expected, failed = contents(), 0
    for tries in (damaged, changed_json):
        for number in tries(path, 60, rng):
            if attempt(*AUGMENT)[0]:
                failed += 1
                if number % 10 == 0:
                    shutil.rmtree(COPIES)
                    assert not attempt(*AUGMENT)[0]
            if number % 10 == 0 or tries is damaged:
                assert contents() == expected
    assert failed > 60
    restore(COPIES)


def test_features(world, rng):
    def load():
        found[:] = [load_dataset(split, world)[0].tobytes() for split in ("train", "valid", "test")]

    found, failed = [], 0
    load()
    expected = found.copy()
    names = ["features.jsonl", *(str(p.relative_to(FEATURES)) for p in FEATURES.rglob("*.npy"))]
    for name in names[:3]:
        for _ in damaged(FEATURES / name, 30, rng):
            found.clear()
            if attempt(load)[0]:
                failed += 1
                if name.endswith(".npy"):
                    (FEATURES / name).unlink()
            assert found in ([], expected)
            assert not attempt(feature_extraction.main, flags(world))[0]
            load()
            assert found == expected
    assert failed > 50
    restore(FEATURES)


def test_retrieval_json(world, rng):
    values = {"scores": {"embeddings": {"precision": 0.5}}, "tracks": 3}
    write_json(Path("whole/retrieval.json"), values)
    for _ in damaged(Path("retrieval.json"), 10, rng):
        try:
            assert values.items() <= read_json(Path("retrieval.json")).items()
        except ValueError:
            continue
