"""Predictions of files of any length equal the test report; unreadable files are named."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import RATE, ROOT, flags, rename_to_bytes, save_run, sine, write_long
from sample_reports import some_report

import predict
from feature_extraction import main as extract_main
from predict import clock_time, main, parse, predict_track
from support.errors import UNSEEN, UserError, run_script
from tracks.likeness import find_spread
from train_test import main as train_main
from training.checkpoint import load_checkpoint
from training.trained_run import TrainedRun

SUMMARY = {"names": "", "mean": 0.0, "std": 1.0}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "changed", [{"feature_length": 340, "chunk_length": 170, "scale": "db"}, {"precision": "bf16"}]
)
def test_a_test_track_has_the_probabilities_of_the_report(settings, tmp_path, changed):
    hparams = dataclasses.replace(settings, **changed)
    assert extract_main(flags(hparams)) == 0
    train_main(flags(hparams, run_path="runs/one"))
    rows = read_json(tmp_path / "runs/one/report.json")["tracks"]
    files = [str(tmp_path / "data" / row["track"]) for row in rows]
    (tmp_path / "features").rename(tmp_path / "gone")  # the checkpoint alone is enough
    words = [*files, "--json", "all.json", "--device", "cpu"]
    assert main([*words, "--min_confidence", "0"]) == 0
    made = read_json(tmp_path / "all.json")["tracks"]
    assert [row["predicted"] for row in made] == [row["predicted"] for row in rows]
    for mine, theirs in zip(made, rows):
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)


def test_half_an_ogg_is_predicted_with_a_warning(weights, tmp_path, capsys):
    path = tmp_path / "a.ogg"
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    soundfile.write(path, 0.1 * noise, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main([str(path), "--device", "cpu"]) == 0
    assert f"warning: {path} has no end mark: it may be cut short" in capsys.readouterr().err


def test_genres_are_printed_with_the_run_and_the_length(weights, data_set, capsys):
    assert main([str(data_set / "jazz"), "--top", "2", "--device", "cpu"]) == 0
    first, second, *lines = capsys.readouterr().out.splitlines()
    words = f"{data_set}, genre, Baseline, weights of epoch 3"
    assert first == f"Run: {weights.parent} ({words})"
    assert second == "The first 2.0 s of each track, as the run was tested; --whole takes all"
    assert len(lines) == 8
    assert lines[0].startswith(f"{data_set / 'jazz' / 'jazz.00000.wav'}: ")
    assert lines[0].count("%") == 2


def test_tags_are_printed_with_a_sentence(extracted, data_set, capsys):
    lists = [(data_set / f"{split}_list.txt").read_text() for split in ("train", "valid", "test")]
    lines = ["track,tempo:slow,loud", *(f"{n},{int('j' in n)},1" for n in "".join(lists).split())]
    lines[1] = lines[1][:-1] + "0"
    (data_set / "tags.csv").write_text("\n".join(lines), encoding="utf-8")
    train_main(flags(extracted, task="tagging", run_path="runs/tags", tags=["tempo:slow"]))
    report = read_json(Path("runs/tags/report.json"))["tracks"][0]
    track = str(data_set / report["track"])
    capsys.readouterr()
    assert main([track, "--json", "tags.json", "--timeline", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    share = report["probabilities"]["tempo:slow"]
    assert f"{track}: tempo:slow {100 * share:.1f} %\n" in out
    made = read_json(Path("tags.json"))["tracks"][0]
    assert made["probabilities"]["tempo:slow"] == pytest.approx(share, abs=1e-5)
    assert made["predicted"] == ("tempo:slow" if share > 0.5 else "")
    assert Path(f"{Path(track).name}-timeline.png").exists()


def test_likely_tags_fill_the_tutorials_sentence(settings, data_set, capsys):
    tags = {"song:very danceable": 3, "emotion:happy": 2, "emotion:sad": -2, "emotion:exciting": 1}
    hparams = dataclasses.replace(settings, task="tagging", tags=list(tags))
    model = load_checkpoint(save_run(hparams, "runs/tags"))["model"]
    weight, bias = list(model)[-2:]  # of the last layer: its bias alone decides
    model |= {weight: model[weight] * 0, bias: torch.tensor([*tags.values()], dtype=torch.float)}
    save_run(hparams, "runs/tags", model=model)
    track = str(data_set / "jazz/jazz.00000.wav")
    assert main([track, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"{track}: song:very danceable 95.3 %, emotion:happy 88.1 %, emotion:exciting 73.1 %",
        "  This is a [very danceable] song that is [happy] and [exciting].",
    ]


def test_unreadable_files_are_named_and_the_others_predicted(weights, data_set, tmp_path, capsys):
    (tmp_path / "text.mp3").write_text("no music\n" * 1000, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    good = str(data_set / "jazz/jazz.00000.wav")
    names = ["text.mp3", "empty", "missing.wav", good]
    assert main([*names, "--csv", "all.csv", "--json", "all.json"]) == 1
    out, err = capsys.readouterr()
    assert good in out
    for message in (
        "broken: text.mp3 cannot be read (no audio: text, under the name .mp3)",
        "broken: empty has no audio that libsndfile reads",
        "broken: missing.wav is missing",
        "3 of 4 could not be read",
    ):
        assert message in err
    assert len(err.splitlines()) == 4
    with open("all.csv", encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert header == ["track", "begin", "end", "predicted", "classical", "jazz", "metal"]
    assert row[:3] == [good, "0.0", "2.048"]
    assert sum(map(float, row[4:])) == pytest.approx(1, abs=1e-5)
    values = read_json(tmp_path / "all.json")
    assert len(values["tracks"]) == 1
    assert len(values["broken"]) == 3


def test_a_name_that_is_not_utf_8_is_shown_with_escapes(weights, data_set, capsys):
    path = rename_to_bytes(data_set / "jazz/jazz.00000.wav")
    shown = str(path).replace("\udce9", r"\udce9")
    words = [str(path.parent), "--timeline", "--json", "all.json", "--csv", "all.csv"]
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: main(words))
    assert stop.value.code == 0
    assert f"{shown}: " in capsys.readouterr().out
    assert str(path) in [row["track"] for row in read_json(Path("all.json"))["tracks"]]
    assert f"\n{shown},0.0," in Path("all.csv").read_text(encoding="utf-8")
    assert Path(f"{path.name}-timeline.png").exists()


def test_a_file_that_cannot_be_written_does_not_stop_the_others(weights, data_set, capsys):
    Path("all.json").mkdir()
    good = data_set / "jazz/jazz.00000.wav"
    long = good.rename(good.with_name("가" * 83 + ".wav"))  # 253 bytes, of 255
    folder = str(data_set / "jazz")
    for table in ("all.csv", str(Path("new", "all.csv"))):
        assert main([folder, "--timeline", "--json", "all.json", "--csv", table]) == 1
        out, err = capsys.readouterr()
        assert f"{table}: 8 tracks\n" in out
        assert err.splitlines()[0].startswith(f"broken: {long.name}-timeline.png cannot be written")
        assert err.splitlines()[1].startswith("broken: all.json cannot be written (Is a directory)")
        assert err.splitlines()[2:] == ["2 files could not be written, see above"]
        assert len(Path(table).read_text(encoding="utf-8").splitlines()) == 1 + 2 * 8
    assert len(list(Path().glob("*.png"))) == 7
    assert main([folder, "--csv", str(Path("all.csv", "all.csv"))]) == 1
    assert "cannot be written (" in capsys.readouterr().err
    assert not list(Path().glob("*.part"))


def test_an_interrupted_command_writes_the_finished_tracks(weights, data_set, capsys, monkeypatch):
    def interrupt(path, *rest):
        if path.name == "jazz.00003.wav":
            raise KeyboardInterrupt
        return predict_track(path, *rest)

    monkeypatch.setattr(predict, "predict_track", interrupt)
    words = [str(data_set / "jazz"), "--json", "all.json", "--csv", "all.csv"]
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: main(words))
    assert stop.value.code == 130
    out, err = capsys.readouterr()
    assert out.endswith("\nall.json: 3 tracks\nall.csv: 3 tracks\n")
    assert err == "interrupted\n"
    assert len(read_json(Path("all.json"))["tracks"]) == 3
    assert len(Path("all.csv").read_text(encoding="utf-8").splitlines()) == 1 + 3


def test_a_file_shorter_than_a_chunk_is_padded_with_a_note(weights, tmp_path, capsys):
    soundfile.write(tmp_path / "a.flac", sine(440, 0.2), RATE)
    assert main(["a.flac"]) == 0
    assert "(0.2 s, shorter than a chunk of 1.0 s: padded with silence)" in capsys.readouterr().out


def test_a_timeline_shows_the_whole_track_as_text_picture_and_table(weights, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_long(tmp_path / folder / "long.wav", 8.5)
    assert main(["a", "b", "--timeline", "--csv", "all.csv", "--json", "all.json"]) == 0
    out = capsys.readouterr().out
    assert "All of each track" in out
    assert re.search(r"\n        0:00 to 0:0\d  (classical|jazz|metal) \d\d\.\d %\n", out)
    for name in ("long.wav-timeline.png", "long.wav-timeline-2.png"):
        assert f"  {name}\n" in out
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    timeline = read_json(tmp_path / "all.json")["tracks"][0]["timeline"]
    assert [row["begin"] for row in timeline] == [1.024 * i for i in range(8)]
    assert timeline[-1]["end"] == 8.192  # 8.5 s: less than half of a ninth chunk
    with open("all.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 2 * 8


def test_the_run_is_named_with_its_data_task_and_score(weights, data_set, capsys):
    report = some_report() | {"tracks": [], "num_tracks": 4}
    (weights.parent / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (weights.parent.parent / "later").mkdir()
    (weights.parent.parent / "later/hparams.json").write_text("{}", encoding="utf-8")
    assert main([str(data_set / "jazz/jazz.00000.wav")]) == 0
    note, first = capsys.readouterr().out.splitlines()[:2]
    assert note == f"*** {Path('runs/later')} is newer, but has no weights (best.pt)"
    assert first.endswith("data, genre, Baseline, weights of epoch 3, track accuracy 75.0 %)")


def test_a_silent_track_is_called_silent_and_not_a_genre(weights, tmp_path, capsys):
    y = sine(300, 3)
    soundfile.write("zeros.wav", 0 * y, RATE)
    soundfile.write("opposite.wav", np.stack([y, -y], axis=1), RATE)  # its mix to mono is zero
    soundfile.write("quiet.wav", 1e-3 * y, RATE)
    names = ["zeros.wav", "opposite.wav", "quiet.wav"]
    assert main([*names, "--json", "all.json", "--csv", "all.csv"]) == 0
    out = capsys.readouterr().out
    assert "\nzeros.wav: silent\n" in out and "\nopposite.wav: silent\n" in out
    assert re.search(r"\nquiet.wav: (classical|jazz|metal) ", out)
    *silent, quiet = read_json(tmp_path / "all.json")["tracks"]
    for row in silent:
        assert (row["predicted"], row["unlike"]) == ("silent", False)
        assert row["probabilities"] == dict.fromkeys(("classical", "jazz", "metal"))
    assert sum(quiet["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    with open("all.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[3:] for row in rows[:2]] == [["silent", "", "", ""]] * 2
    assert float(rows[2][4]) > 0


def test_a_track_below_the_runs_confidence_is_unsure(settings, tmp_path, capsys):
    decision = {"temperature": 2.0, "min_confidence": 0.99}
    save_run(settings, "runs/one", decision=decision)
    soundfile.write("song.wav", sine(300, 3), RATE)
    soundfile.write("short.wav", np.zeros(RATE // 5), RATE)
    words = ["song.wav", "short.wav", "--json", "all.json", "--csv", "all.csv", "--timeline"]
    assert main(words) == 0
    out = capsys.readouterr().out
    share = r"(classical|jazz|metal) \d\d\.\d %"
    assert re.search(
        rf"\nsong.wav: unsure \({share}, {share}, {share}\)\n +0:00 to .*  {share}\n", out
    )
    assert "\nshort.wav: silent\n" in out
    values = read_json(tmp_path / "all.json")
    song, short = values["tracks"]
    assert values["min_confidence"] == 0.99
    assert (song["predicted"], short["predicted"]) == ("unsure", "silent")
    assert sum(song["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    best = max(song["probabilities"], key=song["probabilities"].get)
    assert {row["predicted"] for row in song["timeline"]} == {best}, "only tracks are unsure"
    assert main([*words[:-1], "--top", "1"]) == 0
    assert ",unsure,0." in Path("all.csv").read_text(encoding="utf-8")
    assert main([*words[:-1], "--min_confidence", "0"]) == 0
    assert f"\nsong.wav: {best} " in capsys.readouterr().out
    assert f",{best},0." in Path("all.csv").read_text(encoding="utf-8")


def test_a_temperature_of_the_run_divides_logarithms_of_probabilities(settings, data_set):
    track = data_set / "jazz/jazz.00000.wav"
    plain, hot = (
        predict_track(track, TrainedRun(save_run(settings, "runs/one", decision=decision), "cpu"))
        for decision in ({}, {"temperature": 4.0})
    )
    logits = np.log(plain.chunks)
    expected = np.exp(logits / 4) / np.exp(logits / 4).sum(1, keepdims=True)
    np.testing.assert_allclose(hot.chunks, expected, rtol=1e-5)
    mean = plain.chunks.mean(0) ** (1 / 4)
    np.testing.assert_allclose(hot.probabilities, mean / mean.sum(), rtol=1e-5)


def test_tags_count_from_the_runs_threshold_and_are_never_unsure(settings, data_set, capsys):
    hparams = dataclasses.replace(settings, task="tagging", tags=["mood:calm", "mood:sad"])
    model = load_checkpoint(save_run(hparams, "runs/tags"))["model"]
    weight, bias = list(model)[-2:]  # of the last layer: its bias alone decides
    model |= {weight: model[weight] * 0, bias: torch.tensor([-1.5, -2.5])}  # 18.2 % and 7.6 %
    decision = {"threshold": 0.1}
    save_run(hparams, "runs/tags", model=model, decision=decision)
    track = str(data_set / "jazz/jazz.00000.wav")
    assert main([track, "--json", "all.json", "--timeline"]) == 0
    out = capsys.readouterr().out
    assert "\n  This is a song that is [calm].\n        0:00 to 0:02  mood:calm 18.2 %\n" in out
    assert read_json(Path("all.json"))["tracks"][0]["predicted"] == "mood:calm"
    with pytest.raises(UserError, match="--min_confidence 0.5: .* says yes or no to each tag"):
        main([track, "--min_confidence", "0.5"])


def test_a_silent_part_of_a_timeline_is_called_silent(weights, tmp_path, capsys):
    y = sine(300, 8 * 1.024)
    y[int(2 * 1.024 * RATE) : int(5 * 1.024 * RATE)] = 0
    soundfile.write("gap.wav", y, RATE)
    assert main(["gap.wav", "--timeline", "--json", "all.json", "--csv", "all.csv"]) == 0
    assert re.search(r" 0:02 to 0:05  silent\n", capsys.readouterr().out)
    [track] = read_json(tmp_path / "all.json")["tracks"]
    assert track["predicted"] != "silent"
    found = [row["predicted"] == "silent" for row in track["timeline"]]
    assert found == [False] * 2 + [True] * 3 + [False] * 3
    assert set(track["timeline"][3]["probabilities"].values()) == {None}
    assert Path("all.csv").read_text(encoding="utf-8").count(",silent,,,\n") == 3
    assert Path("gap.wav-timeline.png").exists()
    soundfile.write("zeros.wav", 0 * y, RATE)
    assert main(["zeros.wav", "--timeline"]) == 0
    assert "\n        0:00 to 0:08  silent\n" in capsys.readouterr().out


def test_silence_is_found_in_streams_too(weights, monkeypatch):
    run = TrainedRun(weights, "cpu")
    y = np.concatenate([sine(300, 1.5 * 1.024), np.zeros(RATE * 3, dtype=np.float32)])
    soundfile.write("end.wav", y, RATE)
    whole = predict_track("end.wav", run, whole=True)
    assert whole.silent.tolist() == [False, False, True, True]
    monkeypatch.setattr("audio.chunks.LONGEST_WHOLE", 0)
    assert predict_track("end.wav", run, whole=True).silent.tolist() == whole.silent.tolist()


def test_a_track_unlike_those_of_training_is_warned_of(settings, data_set, capsys):
    names = [data_set / f"{genre}/{genre}.00000.wav" for genre in settings.genres]
    levels = [
        predict_track(path, TrainedRun(save_run(settings, "runs/a"), "cpu")).level for path in names
    ]
    spread = find_spread(np.repeat(levels, 10, axis=0))
    splits = {"train": SUMMARY | {"tracks": 30, "spread": spread}}
    save_run(settings, "runs/one", splits=splits)
    soundfile.write("noise.wav", 0.9 * np.sign(sine(3, 3)), RATE)
    words = ["--run", "runs/one", "--json", "all.json"]
    assert main([*map(str, names), "noise.wav", *words]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:4] == "*** "]
    assert len(lines) == 1
    assert lines[0].startswith(
        f"*** noise.wav is unlike the tracks that this run was trained on ({data_set}: 30 tracks, "
    )
    made = read_json(Path("all.json"))["tracks"]
    assert [row["unlike"] for row in made] == [False] * 3 + [True]


def test_training_keeps_what_the_warning_needs(extracted, data_set):
    train_main(flags(extracted, run_path="runs/few", num_epochs=1))
    summary = load_checkpoint(Path("runs/few/best.pt"))["splits"]["train"]
    assert (summary["tracks"], summary["spread"]) == (12, None), "too few tracks"
    lines = [f"{path.parent.name}/{path.name}\n" for path in sorted(data_set.glob("*/*.wav"))]
    (data_set / "train_list.txt").write_text("".join(lines[:22]), encoding="utf-8")
    for split, line in (("valid", lines[22]), ("test", lines[23])):
        (data_set / f"{split}_list.txt").write_text(line, encoding="utf-8")
    train_main(flags(extracted, run_path="runs/many", num_epochs=1))
    run = TrainedRun("runs/many/best.pt", "cpu")
    assert run.train["tracks"] == 22
    found = [run.is_unlike(predict_track(data_set / line[:-1], run).level) for line in lines[:22]]
    assert sum(found) == 1, "the farthest 1 % of the train split itself"


def test_damaged_numbers_of_the_warning_are_a_message(settings, data_set):
    for spread in (3, {"median": [0]}, {"median": "a", "scale": [1, 1], "limit": 1}):
        path = save_run(settings, "runs/one", splits={"train": SUMMARY | {"spread": spread}})
        with pytest.raises(UserError, match=r"best\.pt is damaged .*train again"):
            TrainedRun(path, "cpu")


def write_hostile(rng, folder):
    """Write a file whose name has characters that terminals and spreadsheets act on."""
    signs = list("=+-@\t\r\n\x1b\x07\x7f\x9b\u202e\u2066\u200f\u2028ab'\",;＝가 ")
    name = "".join(rng.choice(signs, rng.integers(1, 12))) + ".wav"
    soundfile.write(folder / name, sine(300, 0.1), RATE)
    return name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows such names")
def test_hostile_names_neither_reach_the_terminal_nor_become_formulas(
    weights, tmp_path, capsys, rng, monkeypatch
):
    folder = tmp_path / "names"
    folder.mkdir()
    names = {write_hostile(rng, folder) for _ in range(200)}
    (folder / "\x1b]0;broken\u202e.wav").write_text("text", encoding="utf-8")
    monkeypatch.chdir(folder)
    words = ["--json", "../all.json", "--csv", "../all.csv", "--run", str(tmp_path / weights)]
    assert main([".", *words]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4 + len(names) and err.count("\n") == 2
    assert out.isascii() or not UNSEEN.search(out.replace("\n", "") + err.replace("\n", ""))
    assert {row["track"] for row in read_json(tmp_path / "all.json")["tracks"]} == names
    with open(tmp_path / "all.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    cells = [row[0] for row in rows]
    assert {cell if cell in names else cell.removeprefix("'") for cell in cells} == names
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n＝"]
    assert all(float(value) >= 0 for row in rows for value in row[4:])


def test_classes_that_look_like_formulas_are_text_in_a_table(settings, data_set):
    genres = ["=1+1", "@b", "-c"]
    save_run(dataclasses.replace(settings, genres=genres), "runs/one")
    assert main([str(data_set / "jazz/jazz.00000.wav"), "--csv", "all.csv"]) == 0
    with open("all.csv", encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert header[4:] == ["'=1+1", "'@b", "'-c"]
    assert row[3] in header[4:]


def test_times_look_like_those_of_a_clock():
    assert [clock_time(t) for t in (0, 59.6, 61, 3599.2, 3600, 36061)] == [
        *("0:00", "1:00", "1:01", "59:59", "1:00:00", "10:01:01")
    ]


def test_flags_can_be_between_files():
    args = parse(["a.wav", "--top", "2", "b.wav", "--timeline"])
    assert (args.files, args.top, args.whole) == (["a.wav", "b.wav"], 2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "arguments are required: files"),
        (["a.wav", "--top", "0"], "--top 0: must be 1 or more"),
        (["a.wav", "--min_confidence", "30"], "--min_confidence 30: must be from 0 to 1"),
        (["a.wav", "--json", "x", "--csv", "./x"], "--json x: is the file of --csv too"),
    ],
)
def test_wrong_flags_end_with_a_message(words, message, capsys):
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err


def test_predicting_loads_no_heavy_library_that_it_does_not_need(weights, data_set):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import predict; predict.main([sys.argv[2]]); "
        "heavy = {'sklearn', 'matplotlib', 'librosa', 'data_manager'}; "
        "sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    words = [sys.executable, "-c", code, str(ROOT), str(data_set / "jazz/jazz.00000.wav")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stderr.strip() == ""
