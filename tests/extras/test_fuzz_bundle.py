"""Hand-made checkpoints: one message, or the right weights; never anything else."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from bundles import made_of, make_index, make_messages, make_wheel, random_tensors

import pretrained
from pretrained import PRETRAINED, PUBLISHED, main
from support.errors import UserError
from training.checkpoint import load_checkpoint
from training.musicnn import convert

NAME = "musicnn-msd"
ROUNDS = 200
EXTREME = (0, 1, 0x7F, 0x80, 0xFF)


@pytest.fixture
def tensors(tmp_path, monkeypatch):
    """Random weights as if published."""
    monkeypatch.chdir(tmp_path)
    made = random_tensors(NAME, np.random.default_rng(0))
    monkeypatch.setitem(PUBLISHED, NAME, made_of(made, NAME))
    return made


def mutate(data, rng):
    """Bytes that were changed, cut, put in or doubled."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, count = int(rng.integers(0, len(data) + 1)), int(rng.choice([1, 1, 2, 8]))
        change = rng.integers(0, 7)
        if change <= 1 and at < len(data):
            data[at] ^= 1 << rng.integers(0, 8)
        elif change == 2:
            data[at : at + count] = bytes([rng.choice(EXTREME)]) * count
        elif change == 3:
            data[at : at + count] = rng.bytes(count)
        elif change == 4:
            del data[at : at + count]
        elif change == 5:
            data[at:at] = data[max(0, at - 50) : at] if rng.random() < 0.5 else rng.bytes(count)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def test_mutated_indexes_give_a_message_or_the_right_weights(tensors, monkeypatch, capsys):
    rng, outcomes = np.random.default_rng(1), {"right": 0, "refused": 0}
    messages, data = make_messages(tensors)
    expected = convert(make_index(messages), data, PUBLISHED[NAME].hparams)
    for number in range(ROUNDS):
        if number % 2:  # behind right checksums
            index = make_index(mutate(messages, rng), int(rng.random() < 0.1))
        else:
            index = mutate(make_index(messages), rng)
        wheel = make_wheel(Path("a.whl"), {"MSD_musicnn": (index, data)}).read_bytes()
        monkeypatch.setattr(pretrained, "WHEEL_HASH", hashlib.sha256(wheel).hexdigest())
        try:
            main([NAME, "--wheel", "a.whl"])
        except UserError as error:
            outcomes["refused"] += 1
            assert len(str(error).splitlines()) == 1
            assert "restore " in str(error)
            assert not list(PRETRAINED.glob("*"))
            continue
        outcomes["right"] += 1
        found = load_checkpoint(PRETRAINED / NAME / "best.pt")["model"]
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected)
        shutil.rmtree(PRETRAINED / NAME)
    assert outcomes["refused"] > ROUNDS / 2 and outcomes["right"], outcomes
    assert "Traceback" not in capsys.readouterr().err
