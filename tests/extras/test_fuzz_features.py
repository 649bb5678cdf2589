"""Mutated manifests, feature files and lists: an error that names them, or the same data."""

import dataclasses
import io
import pickle
import random

import numpy as np
import pytest
from conftest import flags

from data_manager import get_dataloader
from feature_extraction import main as extract_main
from hparams import HParams
from support.errors import UserError
from support.files import json_line, parse_lines
from tracks.feature_files import npy_header

VALUES = [
    *(0, -1, 10**300, -(2**63), 2**64, 1e308, -1e308, 0.5, True, None, "", "x" * 5000, [], {}),
    *("\0", "../../x", [[]], {"a": 1}, 10**4000),
]


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change, cut, double, move or insert some bytes."""
    start, length = draw.randrange(len(data) + 1), draw.choice([1, 2, 9, 200, 3000])
    part, after = data[start : start + length], data[start + length :]
    junk = draw.choice([draw.randbytes(length), b"[" * 9999, b"\n" * length, b"9" * length, b""])
    if draw.random() < 0.3 and part:
        return data[:start] + bytes([part[0] ^ 1 << draw.randrange(8)]) + part[1:] + after
    return data[:start] + draw.choice([junk, junk + part, part + part, part[::-1]]) + after


def mutate_value(data: bytes, draw: random.Random) -> bytes:
    """Change a value of a line, and sign the line as a hostile writer would."""
    lines = data.splitlines()
    number = draw.choice([0, draw.randrange(len(lines))])
    values = parse_lines([lines[number]])[0]
    owner = draw.choice([values, *(v for v in values.values() if isinstance(v, dict))])
    owner[draw.choice(sorted(owner))] = draw.choice(VALUES)
    lines[number] = json_line(values)[:-1]
    return b"\n".join([*lines, b""])


def odd_arrays() -> list[bytes]:
    """Files that `numpy.load` reads, or that look so, but that no extraction writes."""
    arrays = [np.zeros(shape, np.float32) for shape in ((2, 16, 128), (1, 128, 16), (4096,), ())]
    arrays += [np.zeros((2, 128, 16), kind) for kind in ("<f8", ">f4", "<i4", "O", "<c8", "S4")]
    arrays.append(np.asfortranarray(np.zeros((2, 128, 16), np.float32)))
    made = []
    for save in (np.save, np.savez):
        for array in arrays:
            file = io.BytesIO()
            save(file, array)
            made.append(file.getvalue())
    made += [npy_header((2**40, 128, 16)), npy_header((2, -128, 16)), pickle.dumps(print), b""]
    # NumPy evaluates the text of a header
    made += [b"\x93NUMPY\3\0" + b"\xff" * 4 + b"{" * 9999, b"\x93NUMPY\1\0v\0" + b"[" * 16506]
    return made


def contents(hparams: HParams) -> list[np.ndarray]:
    """All chunks of all splits as training gets them; raises `UserError`."""
    parts = []
    for loader in get_dataloader(hparams):
        parts += [x.numpy() for x, _ in loader]
    return parts


def is_refused(hparams: HParams, expected: list[np.ndarray]) -> bool:
    """Whether training refuses the data; otherwise it is as expected, in memory or on disk."""
    refused = 0
    for cache_gb in (4.0, 0.0):
        try:
            found = contents(dataclasses.replace(hparams, cache_gb=cache_gb))
        except UserError as error:
            assert "unexpected" not in str(error)
            refused += 1
        else:
            assert all(map(np.array_equal, found, expected))
    return refused > 0


@pytest.fixture
def expected(extracted):
    """What training gets from the features as they are."""
    return contents(extracted)


def heal(hparams, capsys, status=(0,)):
    """Extract again; no track may fail in an unexpected way."""
    assert extract_main(flags(hparams)) in status
    captured = capsys.readouterr()
    assert "unexpected" not in captured.err + captured.out


def test_mutated_manifests_are_refused_and_repaired(extracted, expected, capsys):
    path, draw, refused = extracted.feature_folder() / "features.jsonl", random.Random(1), 0
    whole = path.read_bytes()
    for _ in range(300):
        path.write_bytes(mutate(whole, draw))
        refused += is_refused(extracted, expected)
        heal(extracted, capsys)
        assert not is_refused(extracted, expected)
        path.write_bytes(whole)
    assert refused > 200  # others have lost an unfinished last line, or have a line twice


def test_values_that_no_extraction_writes_end_in_no_traceback(extracted, expected, capsys):
    path, draw = extracted.feature_folder() / "features.jsonl", random.Random(2)
    whole = path.read_bytes()
    for _ in range(200):
        path.write_bytes(mutate_value(whole, draw))
        for cache_gb in (4.0, 0.0):
            try:
                contents(dataclasses.replace(extracted, cache_gb=cache_gb))
            except UserError as error:
                assert "run `python" in str(error)
        try:
            heal(extracted, capsys)
        except UserError as error:
            assert "are of the data set" in str(error)
    path.write_bytes(whole)
    assert not is_refused(extracted, expected)


def test_mutated_feature_files_are_refused_and_repaired(extracted, expected, capsys):
    paths, draw = sorted(extracted.feature_folder().rglob("*.npy")), random.Random(3)
    for odd in [None] * 270 + odd_arrays():
        path = draw.choice(paths)
        whole = path.read_bytes()
        changed = mutate(whole, draw) if odd is None else odd
        path.write_bytes(changed)
        assert is_refused(extracted, expected) == (changed != whole)
        heal(extracted, capsys)
        if path.read_bytes() != whole:  # extraction sees sizes and headers
            assert len(changed) == len(whole)
            path.unlink()  # as the message of training says
            heal(extracted, capsys)
        assert path.read_bytes() == whole


def test_mutated_lists_are_read_or_refused(extracted, data_set, capsys):
    draw = random.Random(4)
    for number in range(200):
        path = data_set / f"{draw.choice(['train', 'valid', 'test'])}_list.txt"
        whole = path.read_bytes()
        path.write_bytes(mutate(whole, draw))
        for hparams in (extracted, dataclasses.replace(extracted, genres=[])):
            try:
                contents(hparams)
            except UserError as error:
                assert "unexpected" not in str(error)
        if number % 10 == 0:
            try:
                heal(extracted, capsys, status=(0, 1))
            except UserError as error:
                assert path.name in str(error)
        path.write_bytes(whole)
