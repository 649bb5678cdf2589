import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import flags

import model
from support.errors import UserError
from train_test import main as train_main
from training import checkpoint
from training.checkpoint import (
    load_checkpoint,
    load_weights,
    model_code,
    new_folder,
    save_checkpoint,
)


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_saved_is_loaded(tmp_path):
    weights = {"w": torch.randn(2, 3)}
    save_checkpoint(tmp_path / "a.pt", model=weights, hparams={"genres": ["a"]}, mean=0.5)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(loaded.pop("model")["w"], weights["w"])
    assert loaded == {"hparams": {"genres": ["a"]}, "mean": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"model": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="holds more than plain values and tensors: it is not load"):
        load_checkpoint(tmp_path / "bad.pt")
    assert "run" not in capsys.readouterr().out


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, model={}, epoch=1)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, model={}, epoch=lambda: 2)
    assert load_checkpoint(path) == {"model": {}, "epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_truncated_checkpoint_is_a_message(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, model={"w": torch.zeros(100)})
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged, or holds more than"):
            load_checkpoint(path)


def test_other_files_are_not_taken_for_checkpoints(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(UserError, match="it holds no weights"):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(UserError, match="is missing: the run has not finished an epoch"):
        load_checkpoint(tmp_path / "b.pt")


def test_weights_of_another_model_are_a_message(tmp_path):
    save_checkpoint(tmp_path / "a.pt", model=torch.nn.Linear(2, 3).state_dict())
    with pytest.raises(UserError, match="holds the weights of another Linear: restore that class"):
        load_weights(torch.nn.Linear(2, 4), tmp_path / "a.pt")


def test_model_code_is_the_hash_of_the_file():
    text = Path(model.__file__).read_bytes()
    assert model_code() == hashlib.sha256(text).hexdigest()[:32]


def test_runs_started_at_once_get_separate_folders(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_folder, [tmp_path / "runs/a"] * 8))
    assert len(set(made)) == 8


def test_runs_are_named_and_never_overwritten(extracted, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint.time, "strftime", lambda _: "20260102-030405")
    for _ in range(2):
        train_main(flags(extracted, num_epochs=1))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "data-Baseline-20260102-030405",
        "data-Baseline-20260102-030405-2",
    ]
