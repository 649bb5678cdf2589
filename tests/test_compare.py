"""Recipes and seeds become one table: runs are started, continued, kept or refused."""

import dataclasses
import importlib
import json
import math
import statistics
import threading
import time
from pathlib import Path

import pytest
import soundfile
from conftest import RATE, ROOT, run, sine
from filelock import FileLock

import compare
from compare import main
from hparams import CLASSICAL, HParams, in_group
from support.errors import UserError
from support.flags import flag_words
from support.parallel import run_jobs
from training import results_table
from training.results_table import mcnemar

NET = {"model": "Compact1D", "optimizer": "adamw", "batch_size": 4, "num_epochs": 2}
SVM = {"feature": "mfcc", "model": "svm"}
DATA = ["--dataset_path", "data", "--num_workers", "1"]


@pytest.fixture
def recipes(settings):
    """The files of two recipes, in the current folder, with the small settings of the data set."""
    apart = {"dataset_path", "feature_path", "num_workers", "genres"}
    groups = (*CLASSICAL, "training", "augmentation")
    for name, changed, read in (("net", NET, groups), ("svm", SVM, CLASSICAL)):
        used = dataclasses.replace(settings, **changed)
        values = {f.name: getattr(used, f.name) for f in in_group(*read)}
        differ = {key: v for key, v in values.items() if v != getattr(HParams(), key)}
        words = [word for key in differ.keys() - apart for word in flag_words(key, differ[key])]
        Path(f"{name}.args").write_text(" ".join(words), encoding="utf-8")
    return ["net.args", "svm.args"]


@pytest.fixture
def called(monkeypatch):
    """The names of the scripts called; they run in this process, which saves time."""
    calls = []

    def call(script, words, log):
        calls.append(script)
        importlib.import_module(script.removesuffix(".py")).main(words)

    monkeypatch.setattr(compare, "call", call)
    return calls


def compared(recipes, *words):
    """Run the script's main with two seeds; returns its results and its table."""
    main([*DATA, "--num_seeds", "2", *words, "--recipes", *recipes])
    results = Path("results/data.json").read_text(encoding="utf-8")
    return json.loads(results), Path("results/data.md").read_text(encoding="utf-8")


def reports_of(name):
    """The reports of a recipe's runs, by seed."""
    paths = sorted(Path("runs/compare/data").glob(f"{name}-*/report.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def test_rows_hold_the_scores_of_the_runs(recipes, called, capsys):
    results, table = compared(recipes)
    assert table in capsys.readouterr().out
    assert list(results["rows"]) == ["net", "svm"]
    reports = reports_of("net")
    assert [report["track_accuracy"] for report in reports] == (
        results["rows"]["net"]["scores"]["test tracks"]
    )
    cells = table.splitlines()[6].split(" | ")
    valid = [100 * report["valid"]["chunk_accuracy"] for report in reports]
    assert cells[2] == f"{statistics.mean(valid):.1f} ± {statistics.stdev(valid):.1f}"
    assert cells[0] == "| net" and cells[1] == "2"
    assert cells[7] == f"{reports[0]['parameters']:,}"
    right = round(statistics.mean(report["correct_tracks"] for report in reports))
    share, z = right / 6, 1.959964  # Wilson (1927), equation 1
    middle, half = share + z**2 / 12, z * math.sqrt(share * (1 - share) / 6 + z**2 / 144)
    low, high = ((middle + sign * half) / (1 + z**2 / 6) for sign in (-1, 1))
    assert cells[6] == f"{100 * low:.0f} to {100 * high:.0f}"
    assert "(33.3 % for always predicting" and "12/6/6 tracks of 3 classes" in table


def test_nothing_finished_is_repeated_and_rows_are_kept(recipes, called):
    before, _ = compared(recipes)
    del called[:]
    after, _ = compared(recipes)
    assert called == ["feature_extraction.py"] * 2, "which extracts nothing"
    assert after == before
    results, _ = compared(["svm.args"], "--scale", "db")
    assert list(results["rows"]) == ["net", "svm", "svm --scale db"]
    assert results["rows"]["net"] == before["rows"]["net"]


def test_each_row_names_the_command_that_makes_it(recipes, called):
    results, table = compared(["svm.args"], "--scale", "db")
    (row,) = results["rows"].values()
    command = row["command"]
    assert f"    {command}\n" in table
    assert command.startswith("python compare.py --recipes svm.args --num_seeds 2 --seed 0 ")
    Path("results/data.json").unlink()
    main(command.split()[2:])
    again = json.loads(Path("results/data.json").read_text(encoding="utf-8"))["rows"]
    assert again["svm --scale db"]["scores"] == row["scores"]


def test_interrupted_runs_are_continued(recipes, called, capsys):
    results, _ = compared(recipes)
    for path in Path("runs/compare/data").glob("*-1-*/report.json"):
        path.unlink()
    del called[:]
    capsys.readouterr()
    again, _ = compared(recipes)
    assert sorted(called) == [
        *("classic.py", "feature_extraction.py", "feature_extraction.py", "train_test.py")
    ]
    assert "Continuing runs/compare/data/net-1-" in capsys.readouterr().out.replace("\\", "/")
    for name, row in results["rows"].items():
        assert again["rows"][name]["scores"] == row["scores"]


def test_other_settings_tracks_or_sources_make_another_run(recipes, called, data_set, monkeypatch):
    compared(["net.args"])
    assert len(reports_of("net")) == 2
    compared(["net.args"], "--learning_rate", "0.02")
    assert len(reports_of("net")) == 4
    monkeypatch.setattr(compare, "model_code", lambda: "of a changed model.py")
    compared(["net.args"])
    assert len(reports_of("net")) == 6
    names = (data_set / "train_list.txt").read_text(encoding="utf-8").splitlines()
    (data_set / "train_list.txt").write_text("\n".join(names[1:]), encoding="utf-8")
    compared(["net.args"])
    assert len(reports_of("net")) == 8


def replace_audio(data_set):
    """Put other audio under the name of a track, of the same length."""
    soundfile.write(data_set / "jazz/jazz.00000.wav", sine(500, 2.1), RATE)


def remove_track(data_set):
    """Remove a track from its list."""
    path = data_set / "train_list.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [(replace_audio, []), (remove_track, []), (lambda _: None, ["--genres", "jazz", "metal"])],
)
def test_a_table_belongs_to_one_set_of_audio_lists_and_genres(
    recipes, called, data_set, capsys, change, words
):
    before, table = compared(["svm.args"])
    change(data_set)
    after, kept = compared(["svm.args"], *words)
    assert (after, kept) == (before, table), "the first table is lost"
    (path,) = Path("results").glob("data-*.json")
    assert f"this table is {path}" in capsys.readouterr().out
    other = json.loads(path.read_text(encoding="utf-8"))
    assert list(other["rows"]) == ["svm"]
    assert other["tracks"] != before["tracks"]
    compared(["svm.args"], "--scale", "db", *words)
    assert len(json.loads(path.read_text(encoding="utf-8"))["rows"]) == 2


def test_the_pair_of_a_changed_row_is_removed(recipes, called):
    results, _ = compared(recipes, "--pair", "net", "svm")
    (pair,) = results["pairs"].values()
    assert compared(recipes)[0]["pairs"] == results["pairs"]  # rows as they were
    main([*DATA, "--num_seeds", "1", "--recipes", "svm.args"])
    after = json.loads(Path("results/data.json").read_text(encoding="utf-8"))
    assert after["pairs"] == {}
    main(pair["command"].split()[2:])
    again = json.loads(Path("results/data.json").read_text(encoding="utf-8"))
    assert list(again["pairs"].values()) == [pair]


def test_a_command_waits_for_another_on_the_same_run(recipes, called, capsys):
    compared(["svm.args"])
    (first, _) = sorted(Path("runs/compare/data").glob("svm-*.lock"))
    held = threading.Event()

    def hold():
        with FileLock(first):
            held.set()
            time.sleep(0.5)

    threading.Thread(target=hold).start()
    held.wait()
    began = time.monotonic()
    compared(["svm.args"])
    assert time.monotonic() - began > 0.4
    assert (
        "svm, seed 0: another command is running it; waiting until it ends"
        in capsys.readouterr().out
    )


def test_rows_of_two_commands_at_once_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results_table, "format_results", lambda results: "")
    data = {"name": "data", "tracks": "0"}

    def add(number):
        results_table.add_result(
            Path("results/data.json"), data, "rows", str(number), {"scores": {}}
        )

    list(run_jobs(add, list(range(40)), 8))
    results = json.loads(Path("results/data.json").read_text(encoding="utf-8"))
    assert len(results["rows"]) == 40


def test_minutes_are_never_powers_of_ten():
    assert [results_table.format_minutes(each) for each in (0.0123, 7.04, 99.7, 1234.5)] == [
        *("0.012", "7", "100", "1234")
    ]


def test_a_recipe_that_fails_does_not_stop_the_others(recipes, called, capsys):
    Path("bad.args").write_text("@net.args --chunk_length 15", encoding="utf-8")
    with pytest.raises(UserError, match="bad: failed, see above; other rows are written"):
        compared(["bad.args", *recipes])
    assert "*** bad: --model Compact1D: Compact1D takes chunks of 16 " in capsys.readouterr().out
    rows = json.loads(Path("results/data.json").read_text(encoding="utf-8"))["rows"]
    assert list(rows) == ["net", "svm"]


def test_a_pair_is_tested_track_by_track(recipes, called):
    _, table = compared(recipes, "--pair", "net", "svm")
    assert "McNemar's test on the test tracks, net against svm:" in table
    net, svm = reports_of("net"), reports_of("svm")
    for seed in (0, 1):
        only_net, only_svm, p = mcnemar(net[seed], svm[seed])
        line = f"- seed {seed}: only the first is right on {only_net} tracks, only the second on"
        assert f"{line} {only_svm}, p = {p:.2g}" in table


def test_mcnemar_is_the_exact_test_of_the_tracks_that_differ():
    def report(right):
        rows = [
            {"track": str(i), "genre": "a", "predicted": "ba"[ok]} for i, ok in enumerate(right)
        ]
        return {"tracks": rows}

    a, b = report([1] * 12 + [0] * 8), report([1] * 4 + [0] * 8 + [1] * 2 + [0] * 6)
    assert mcnemar(a, b)[:2] == (8, 2)
    assert mcnemar(a, b)[2] == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(a, a) == (0, 0, 1.0)
    with pytest.raises(UserError, match="needs the same tracks"):
        mcnemar(a, {"tracks": a["tracks"][1:]})


def test_published_figures_are_below_the_table_of_their_data(recipes, called, monkeypatch):
    monkeypatch.setattr(results_table, "PUBLISHED", Path("results/published"))
    Path("results/published").mkdir(parents=True)
    Path("results/published/data.md").write_text("Published: 63.4 %\n", encoding="utf-8")
    _, table = compared(["svm.args"])
    assert table.endswith("\n\nPublished: 63.4 %\n")
    assert "63.4 %" in (ROOT / "results/published/gtzan.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no recipe: pass for example --recipes"),
        (["--recipes", "svm.args", "./svm.args"], "--recipes has svm twice"),
        (["--recipes", "svm.args", "--resume", "x"], "--resume x: each run has its own"),
        (["--recipes", "svm.args", "--run_path", "x"], "--run_path x: each run has its own"),
        (["--recipes", "svm.args", "net.args", "--pair", "svm"], "--pair svm: name two"),
        (["--recipes", "svm.args", "net.args", "--pair", "svm", "x"], "--pair svm x: name two"),
        (["--recipes", "few.args"], "few.args names genres: pass them by --genres"),
        (
            ["--recipes", "own.args"],
            "own.args names a data set: pass it by --dataset_path",
        ),
    ],
)
def test_wrong_commands_are_messages(recipes, data_set, words, message):
    Path("own.args").write_text("@svm.args --dataset_path ./data", encoding="utf-8")
    Path("few.args").write_text("@svm.args --genres jazz metal", encoding="utf-8")
    data = [] if "own.args" in words else DATA
    with pytest.raises(UserError, match=message):
        main([*data, *words])


def test_a_damaged_table_is_a_message(recipes, called):
    Path("results").mkdir()
    Path("results/data.json").write_text("{", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"data.json is damaged, or of another version .* delete it; "
    ):
        main([*DATA, "--recipes", "svm.args"])


def test_as_a_command_failures_are_named_with_their_log(recipes, data_set):
    (data_set / "jazz/jazz.00000.wav").write_bytes(b"no audio")
    words = [*DATA, "--recipes", "svm.args", "--num_seeds", "1"]
    done = run("compare.py", *words, cwd=".")
    assert done.returncode == 1
    assert "*** svm: feature_extraction.py failed: " in done.stdout
    assert Path("runs/compare/data/svm-features.log").read_text(encoding="utf-8")
    assert done.stderr.startswith("error: svm: failed, see above")
    words += ["--skip_broken", "--max_minutes", "20"]  # which classic.py does not read
    done = run("compare.py", *words, cwd=".")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| svm --max_minutes 20.0 | 1 |" in done.stdout
