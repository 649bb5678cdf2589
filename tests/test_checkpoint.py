import pickle

import pytest
import torch

from checkpoint import load_checkpoint, save_checkpoint


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
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(tmp_path / "bad.pt")
    assert "run" not in capsys.readouterr().out


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, epoch=1)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, epoch=lambda: 2)
    assert load_checkpoint(path) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
