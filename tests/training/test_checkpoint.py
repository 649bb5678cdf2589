import hashlib
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

import model
from support.errors import UserError
from training.checkpoint import (
    load_checkpoint,
    load_weights,
    model_code,
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
        with pytest.raises(
            UserError, match=r"is damaged \(.*copy it from its source again, or del"
        ):
            load_checkpoint(path)


@pytest.mark.parametrize("write", [save_checkpoint, lambda path, **parts: torch.save(parts, path)])
def test_any_changed_bit_is_noticed_or_changes_nothing(tmp_path, rng, write):
    """The second way is that of older versions, whose files have the zip's checksums alone."""
    path, weights = tmp_path / "a.pt", torch.arange(300.0)
    write(path, model={"w": weights}, epoch=3)
    whole, noticed = path.read_bytes(), 0
    for _ in range(400):
        changed = bytearray(whole)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            parts = load_checkpoint(path)
        except UserError as error:
            assert "is damaged" in str(error)
            noticed += 1
        else:
            assert torch.equal(parts["model"]["w"], weights) and parts["epoch"] == 3
    assert noticed > 200
    path.write_bytes(whole)
    assert load_checkpoint(path)["epoch"] == 3


def zipped(path, members, **options):
    """Write a zip of members, (name, bytes) each."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_torch_does_not_write_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "a.pt"
    zipped(path, [("a/data.pkl", bytes(10**8))], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(UserError, match="its parts are larger than the file"):
        load_checkpoint(path)
    zipped(path, [("a/data.pkl", b"1"), ("a/data.pkl", b"2")])
    with pytest.raises(UserError, match="a part occurs twice"):
        load_checkpoint(path)


def test_a_last_pt_without_a_hash_is_not_resumed_from(tmp_path):
    torch.save({"model": {}, "epoch": 1}, tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt")["epoch"] == 1
    with pytest.raises(
        UserError, match=r"it has no hash.*delete .*last.pt and run `python train_t"
    ):
        load_checkpoint(tmp_path / "last.pt", sealed=True)


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
