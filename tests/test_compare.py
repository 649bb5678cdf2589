"""Recipes and seeds become one table: runs are started, continued, kept or refused."""

import dataclasses
import importlib
import json
import math
import re
import statistics
import threading
import time
from pathlib import Path

import pytest
import soundfile
from conftest import RATE, ROOT, save_run, sine
from filelock import FileLock
from sample_reports import some_report

import compare
from compare import main, parse, read_recipes, run_folder
from dataset.gtzan import GENRES as GTZAN_GENRES
from dataset.gtzan import split_lists
from hparams import CLASSICAL, HParams, in_group
from support.errors import UserError
from support.files import read_json, write_json
from support.flags import flag_words
from support.parallel import run_jobs
from tracks.catalog import read_catalog
from tracks.lists import load_lists
from training import results_table
from training.results_table import make_row, mcnemar

NET = {"model": "Compact1D", "optimizer": "adamw", "batch_size": 4, "num_epochs": 2}
SVM = {"feature": "mfcc", "model": "svm"}
DATA = ["--dataset_path", "data", "--num_workers", "1"]
OWN = Path("runs/compare/data.json")  # the table


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
    return read_json(OWN), OWN.with_suffix(".md").read_text(encoding="utf-8")


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
    OWN.unlink()
    main(command.split()[2:])
    again = read_json(OWN)["rows"]
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


def test_other_weights_to_start_from_make_another_run(recipes, extracted):
    catalog, folders = read_catalog(extracted), set()
    source = dataclasses.replace(extracted, feature="mfcc")
    Path("svm.args").write_text("--init_from runs/source --model svm", encoding="utf-8")
    for epoch in (1, 2, 2):
        save_run(source, "runs/source", epoch=epoch)
        [recipe] = read_recipes(*parse([*DATA, "--recipes", "svm.args"])).values()
        assert (recipe.hparams.feature, recipe.hparams.model) == ("mfcc", "svm")
        folders.add(run_folder(recipe, 0, catalog))
    assert len(folders) == 2


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
    (path,) = OWN.parent.glob("data-*.json")
    assert f"this table is {path}" in capsys.readouterr().out
    other = read_json(path)
    assert list(other["rows"]) == ["svm"]
    assert other["tracks"] != before["tracks"]
    compared(["svm.args"], "--scale", "db", *words)
    assert len(read_json(path)["rows"]) == 2


def test_the_pair_of_a_changed_row_is_removed(recipes, called):
    results, _ = compared(recipes, "--pair", "net", "svm")
    (pair,) = results["pairs"].values()
    assert compared(recipes)[0]["pairs"] == results["pairs"]  # rows as they were
    main([*DATA, "--num_seeds", "3", "--recipes", "svm.args"])
    assert read_json(OWN)["pairs"] == {}
    OWN.unlink()
    main(pair["command"].split()[2:])
    assert list(read_json(OWN)["pairs"].values()) == [pair]


def test_a_command_waits_for_another_on_the_same_run(recipes, called, capsys):
    compared(["svm.args"])
    (first, _) = sorted(Path("runs/compare/data").glob("svm-*.lock"))
    held = threading.Event()

    def hold():
        with FileLock(first):
            held.set()
            while called.count("feature_extraction.py") < 2:
                time.sleep(0.01)
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
    assert len(read_json(Path("results/data.json"))["rows"]) == 40


def test_rows_with_weights_of_other_data_stand_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = some_report() | {"valid": {"track_accuracy": 0.5}, "minutes": 1.0}
    origin = {"run": "other", "trained_on": "many songs", "note": "it may hold some of these"}
    data = {"name": "data", "tracks": "0", "sizes": "1/1/4", "genres": [*"abc"], "chance": 25.0}
    table = Path("data.json")
    results_table.add_result(
        Path("alone.json"), data, "rows", "a", make_row("", [report | {"origin": origin}])
    )
    assert Path("alone.md").read_text(encoding="utf-8").count("| recipe |") == 1
    for name, more in (
        ("tuned", {"origin": origin}),
        ("scratch", {}),
        ("probe", {"origin": origin}),
    ):
        results_table.add_result(table, data, "rows", name, make_row("command", [report | more]))
    own, apart = (
        table.with_suffix(".md").read_text(encoding="utf-8").split("With weights that were")
    )
    assert "| scratch |" in own
    assert not {"| tuned |", "| probe |"} & {line[:9] for line in own.splitlines()}
    assert "| tuned |" in apart
    assert "| probe |" in apart
    assert "\n- `other` was trained on many songs; it may hold some of these.\n" in apart


def test_minutes_are_never_powers_of_ten():
    assert [results_table.format_minutes(each) for each in (0.0123, 7.04, 99.7, 1234.5)] == [
        *("0.012", "7", "100", "1234")
    ]


def test_a_recipe_that_fails_does_not_stop_the_others(recipes, called, capsys):
    Path("bad.args").write_text("@net.args --chunk_length 15", encoding="utf-8")
    with pytest.raises(UserError, match="bad: failed, see above; other rows are written"):
        compared(["bad.args", *recipes])
    assert "*** bad: --model Compact1D: Compact1D takes chunks of 16 " in capsys.readouterr().out
    assert list(read_json(OWN)["rows"]) == ["net", "svm"]


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


def test_published_figures_are_below_the_table_of_their_whole_split(
    recipes, called, monkeypatch, settings, data_set
):
    monkeypatch.setattr(results_table, "PUBLISHED", Path("published"))
    Path("published").mkdir()
    split = results_table.split_digest(load_lists(settings))
    text = f"<!-- split {split} -->\nPublished: 63.4 %\n"
    Path("published/other-name.md").write_text(text, encoding="utf-8")
    _, table = compared(["svm.args"])
    assert table.endswith("\n\nPublished: 63.4 %\n")
    OWN.unlink()
    remove_track(data_set)  # a partial copy
    _, table = compared(["svm.args"])
    assert "Published" not in table


def test_the_published_figures_are_for_the_tutorials_split_of_gtzan():
    lists = {s: [f"{n}.au" for n in names] for s, names in split_lists(GTZAN_GENRES).items()}
    shown = results_table.find_published(results_table.split_digest(lists))
    assert "63.4 %" in shown and "353/150/227" in shown and "<!--" not in shown
    for split in lists:
        partial = lists | {split: lists[split][1:]}
        assert not results_table.find_published(results_table.split_digest(partial))
    swapped = dict(zip(lists, (lists["valid"], lists["train"], lists["test"])))
    assert not results_table.find_published(results_table.split_digest(swapped))


def test_tables_are_published_only_on_request(recipes, called):
    Path("results").mkdir()
    compared(["svm.args"])
    assert not list(Path("results").iterdir())
    own = OWN.read_bytes()
    main([*DATA, "--num_seeds", "1", "--publish", "--recipes", "svm.args"])
    assert OWN.read_bytes() == own
    assert list(read_json(Path("results/data.json"))["rows"]) == ["svm"]
    assert "| svm | 1 |" in Path("results/data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "seeds", "label"),
    [
        ({"machine": "a Cray"}, "2", "svm (2 seeds, CPU, {here})"),
        ({"machine": ""}, "2", "svm (2 seeds, CPU, {here})"),  # of an earlier version
        ({"device": "GPU:0"}, "3", "svm (3 seeds, CPU, {here})"),
        ({}, "1", "svm (1 seed, CPU, {here})"),
    ],
)
def test_a_row_of_another_machine_or_with_more_seeds_is_kept(
    recipes, called, capsys, changed, seeds, label
):
    before, _ = compared(recipes, "--pair", "svm", "net")
    here, row = before["rows"]["svm"]["machine"], before["rows"]["svm"] | changed
    if not row["machine"]:
        del row["machine"]
    label = label.format(here=here)
    write_json(OWN, before | {"rows": before["rows"] | {"svm": row}})
    words = [*DATA, "--num_seeds", seeds, "--pair", "svm", "net", "--recipes", *recipes]
    for _ in range(2):  # the second time it replaces its own row
        main(words)
        after = read_json(OWN)
        assert after["rows"]["svm"] == row
        assert len(after["rows"][label]["minutes"]) == int(seeds)
        assert len(after["rows"]) == len(before["rows"]) + (2 if seeds == "1" else 1)
        # three seeds replace the row of net, and the pair was tested on the scores before
        kept = None if seeds == "3" else before["pairs"]["svm net"]
        assert after["pairs"].get("svm net") == kept
        assert [pair["rows"][0] for pair in after["pairs"].values()][-1] == label
        shown = f"*** the row svm ({results_table.describe_place(row)}) is kept; the new one is "
        assert shown + label in capsys.readouterr().out


def test_a_row_of_this_machine_is_replaced_by_one_with_more_seeds(recipes, called, capsys):
    compared(["svm.args"])
    main([*DATA, "--num_seeds", "3", "--recipes", "svm.args"])
    (row,) = read_json(OWN)["rows"].values()
    assert len(row["minutes"]) == 3
    assert "is kept" not in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda p: p.stem)
def test_the_tables_of_this_project_are_whole_and_shown(path):
    results = results_table.read_table(path)
    assert "sha256" in json.loads(path.read_text(encoding="utf-8"))
    shown = path.with_suffix(".md").read_text(encoding="utf-8")
    assert shown == results_table.format_results(results)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no recipe: pass for example --recipes"),
        (["--recipes", "svm.args", "./svm.args"], "--recipes has svm twice"),
        (["--recipes", "svm.args", "--resume", "x"], "--resume x: each run has its own"),
        (["--recipes", "svm.args", "--run_path", "x"], "--run_path x: each run has its own"),
        (["--recipes", "svm.args", "net.args", "--pair", "svm"], "--pair svm: name two"),
        (["--recipes", "svm.args", "net.args", "--pair", "svm", "x"], "--pair svm x: name two"),
        (["--recipes", "svm.args", "--init_from", "x"], "^svm: x: has no weights"),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "{",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"num_tracks": 6', '"num_tracks": 7'),
        lambda text: re.sub(r' "sha256".*\n', ' "x": 0\n', text).replace('s": 6', 's": -6'),
        lambda text: re.sub(r' "sha256".*\n', ' "x": 0\n', text).replace('"rows"', '"row"'),
        lambda text: re.sub(r' "sha256".*\n', ' "x": 0\n', text).replace("minutes", "hours"),
    ],
)
def test_a_damaged_table_is_a_message(recipes, called, change):
    compared(["svm.args"])
    text = OWN.read_text(encoding="utf-8")
    OWN.write_text(change(text), encoding="utf-8")
    assert OWN.read_text(encoding="utf-8") != text
    with pytest.raises(UserError, match=r"data.json is damaged \(.*\): delete it; runs are kept"):
        main([*DATA, "--recipes", "svm.args"])
    OWN.unlink()
    compared(["svm.args"])
    assert OWN.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("rows", [{}, {"rows": 5}])
def test_a_pair_of_no_rows_is_damage(tmp_path, rows):
    values = read_json(ROOT / "results/demo.json")
    write_json(tmp_path / "x.json", values | {"pairs": {"a b": {"text": "", "command": ""} | rows}})
    with pytest.raises(UserError, match=r"x.json is damaged \((KeyError|TypeError): "):
        results_table.read_table(tmp_path / "x.json")


def test_a_damaged_report_is_made_again(recipes, called):
    before, _ = compared(recipes)
    for name in ("net", "svm"):
        path, _ = sorted(Path("runs/compare/data").glob(f"{name}-*/report.json"))
        path.write_bytes(path.read_bytes()[:-40])
    after, _ = compared(recipes)
    for name, row in before["rows"].items():
        assert after["rows"][name]["scores"] == row["scores"]
