"""The table of degraded test tracks: the report's own accuracy, real differences, and gaps."""

import numpy as np
import pytest
import soundfile
import torch
from conftest import flags, save_run

from audio.degradations import DEGRADATIONS
from audio.effects import change_speed
from support.errors import UserError
from support.files import read_json
from tracks.catalog import read_catalog
from train_test import main, train_run
from training.robustness import measure_robustness

LEARNING = {"model": "Compact1D", "optimizer": "adamw", "learning_rate": 0.003, "batch_size": 4}


def test_a_finished_run_gets_the_table_without_training_again(extracted, tmp_path, monkeypatch):
    words = flags(extracted, run_path="runs/one", num_epochs=3, **LEARNING)
    main([*words, "--robustness"])
    report = read_json(tmp_path / "runs/one/report.json")
    rows = report.pop("robustness")
    assert list(rows) == list(DEGRADATIONS)
    assert rows["unchanged"] == {"track_accuracy": report["track_accuracy"]}
    assert rows["unchanged"] == rows["no band above 8 kHz"], "the audio has 8000 Hz"
    kept = {
        name: (tmp_path / "runs/one" / name).read_bytes() for name in ("best.pt", "history.csv")
    }
    octave = {
        "unchanged": DEGRADATIONS["unchanged"],
        "an octave up": lambda y, rate, seed: np.tile(change_speed(y, rate, 2), 2),
        "MP3": DEGRADATIONS["MP3 at 64 kbit/s"],
    }
    monkeypatch.setattr("training.robustness.DEGRADATIONS", octave)
    monkeypatch.setattr(soundfile, "write", no_encoder)
    main(["--resume", "runs/one", "--robustness"])
    again = read_json(tmp_path / "runs/one/report.json")
    rows = again.pop("robustness")
    assert again | {"minutes": 0} == report | {"minutes": 0}
    assert rows["unchanged"] == {"track_accuracy": report["track_accuracy"]}
    assert report["track_accuracy"] >= 5 / 6
    assert rows["an octave up"]["track_accuracy"] <= 3 / 6, "genres are an octave apart"
    for name, data in kept.items():
        assert (tmp_path / "runs/one" / name).read_bytes() == data
    text = (tmp_path / "runs/one/report.txt").read_text(encoding="utf-8")
    assert f"\n  unchanged     track accuracy {100 * report['track_accuracy']:.1f} %\n" in text
    assert text.endswith("\n  MP3           libsndfile cannot write MP3 here (no such format)\n")


def no_encoder(*_, **__):
    raise ValueError("no such format")


def test_tags_have_the_table_too(extracted_tags):
    folder, report = save_run(extracted_tags, "runs/tags").parent, {"left_out": {"train": ["dull"]}}
    catalog = read_catalog(extracted_tags)
    rows = measure_robustness(folder, torch.device("cpu"), catalog, report)
    assert {tuple(row) for row in rows.values()} == {("roc_auc", "pr_auc")}


def test_without_audio_training_does_not_start(extracted, data_set):
    (data_set / "jazz/jazz.00007.wav").unlink()
    with pytest.raises(UserError, match="1 test tracks have no audio, such as .*jazz.00007.wav: "):
        train_run(extracted, robustness=True)
