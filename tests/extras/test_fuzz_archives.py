"""Damaged and lying archives, lists, tags and records: a clear error, or what was there before."""

import bz2
import gzip
import io
import json
import lzma
import resource
import shutil
import sys
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, sine

import data_augment
from dataset import check_leaks, gtzan
from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.tags import format_tags

PACKERS = {
    "tar": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
}
ROUNDS = 200  # of each kind of archive
TRACKS = ("jazz/jazz.00000.wav", "jazz/jazz.00001.wav", "jazz/jazz.00002.wav")
EXTREME = (0, 1, 0x20, 0x2F, 0x7F, 0x80, 0xFF)
FIELDS = {  # of a tar header: offset and length
    "name": (0, 100), "size": (124, 12), "mtime": (136, 12), "kind": (156, 1), "link": (157, 100),
    "magic": (257, 8), "prefix": (345, 155),
}  # fmt: skip
VALUES = (b"-1", b"77777777777", b"\x80" + bytes(10) + b"\x01", b"\xff" * 12, b"", b"x", b"/../a")
BUG = "a bug; the traceback is in"  # of any error that is not foreseen
LIMIT = 300 << 20  # bytes by which the process may grow


@pytest.fixture(scope="module")
def tracks():
    """Three tracks of 30 s, 8 bit, which compress well."""
    made = {}
    for number, name in enumerate(TRACKS):
        data, t = io.BytesIO(), np.arange(30 * 22050)
        y = 0.5 * np.sign(np.sin(t // 50 + number))
        soundfile.write(data, y, 22050, "PCM_U8", format="WAV")
        made[name] = data.getvalue()
    return made


def make_tar(tracks, changed=None):
    """The bytes of a tar; the header of each track is `changed`."""
    parts = []
    for name, content in tracks.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        header = bytearray(info.tobuf())
        if changed:
            changed(header)
        parts += [header, content, bytes(-len(content) % 512)]
    return b"".join([*parts, bytes(1024)])


def make_zip(tracks):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in tracks.items():
            file.writestr(name, content)
    return data.getvalue()


def lie(rng):
    """A function that changes a field of some tar headers, mostly with the right checksum."""

    def change(header):
        if rng.random() < 0.5:
            at, length = FIELDS[str(rng.choice(list(FIELDS)))]
            value = rng.choice(len(VALUES) + 1)
            value = rng.bytes(length) if value == len(VALUES) else VALUES[value]
            header[at : at + length] = value[:length].ljust(length, b"\0")
            if rng.random() < 0.9:
                header[148:156] = b" " * 8
                header[148:156] = b"%06o\0 " % sum(header)

    return change


def mutate(data, rng):
    """Bytes that were flipped, replaced, cut, put in, doubled or exchanged."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        end = len(data) if rng.random() < 0.6 else min(len(data), 600)
        start = 0 if rng.random() < 0.7 else max(0, end - 400)
        at, count = int(rng.integers(start, end)), int(rng.choice([1, 2, 4, 8]))
        change = rng.integers(0, 8)
        if change <= 2:
            data[at] ^= 1 << rng.integers(0, 8)
        elif change == 3:
            data[at : at + count] = bytes([rng.choice(EXTREME)]) * count
        elif change == 4:
            del data[at : at + int(rng.choice([rng.integers(1, 2000), len(data)]))]
        elif change == 5:
            data[at:at] = rng.bytes(int(rng.integers(1, 2000)))
        elif change == 6:
            data += data[int(rng.integers(0, len(data))) :]
        else:
            data[at : at + count] = rng.bytes(count)
    return bytes(data)


def change_archive(kind, tracks, whole, bomb, rng):
    """The bytes of an archive that was mutated, has lying headers, or has a bomb at its end."""
    choice = rng.random()
    if kind != "zip" and choice < 0.3:
        return PACKERS[kind](make_tar(tracks, lie(rng)))
    if choice < 0.35:
        return whole + bomb * int(rng.integers(1, 20))
    return mutate(whole, rng)


@pytest.fixture
def bounded():
    """Memory that grows no further than `LIMIT`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < LIMIT


@pytest.mark.parametrize("kind", [*PACKERS, "zip"])
def test_mutated_archives(tmp_path, monkeypatch, capsys, bounded, tracks, kind):
    monkeypatch.setattr(gtzan, "TABLE", {"jazz": ("0", "1", "2")})
    rng, made = np.random.default_rng(len(kind) + ord(kind[0])), {0: 0, 1: 0, 2: 0}
    archive, target = tmp_path / "in/archive", tmp_path / "in/gtzan"
    words = [str(archive), "--path", str(target), "--genres", "jazz", "--num_workers", "1"]
    archive.parent.mkdir()
    whole = make_zip(tracks) if kind == "zip" else PACKERS[kind](make_tar(tracks))
    bomb = PACKERS.get(kind, bytes)(bytes(10**6 if kind in ("zip", "tar") else 10**8))
    for _ in range(ROUNDS):
        archive.write_bytes(change_archive(kind, tracks, whole, bomb, rng))
        began = time.monotonic()
        try:
            status, error = gtzan.main(words), ""
        except UserError as caught:
            status, error = 2, str(caught)
        assert time.monotonic() - began < 10
        assert BUG not in error + capsys.readouterr().err
        made[status] += 1
        assert target.exists() == (status == 0)
        if status == 0 and kind != "tar":  # a plain tar has no checksum of its files
            found = {name: (target / name).read_bytes() for name in TRACKS}
            assert found == tracks
        assert {path.name for path in tmp_path.iterdir()} == {"in"}
        assert {path.name for path in archive.parent.iterdir()} <= {"archive", "gtzan"}
        shutil.rmtree(target, ignore_errors=True)
    assert min(made[0], made[2]) > 0, made


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The settings of a small data set for tagging, in the working directory."""
    monkeypatch.chdir(tmp_path)
    names = {"train": ["a/0.wav", "b/1.wav"], "valid": ["a/2.wav", "b/3.wav"], "test": ["a/4.wav"]}
    for split, listed in names.items():
        for name in listed:
            Path("data", name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(Path("data", name), sine(200 + 100 * int(name[2]), 0.5), RATE)
        text = "".join(f"{name}\n" for name in listed)
        Path("data", f"{split}_list.txt").write_text(text, encoding="utf-8")
    tags = {name: ["x", f"pitch:{name[0]}"] for listed in names.values() for name in listed}
    Path("data/tags.csv").write_text(format_tags(tags), encoding="utf-8")
    return HParams(dataset_path="data", task="tagging", num_workers=1)


def words_of(hparams, *more):
    return ["--dataset_path", hparams.dataset_path, "--num_workers", "1", *more]


@pytest.mark.parametrize("file", ["train_list.txt", "valid_list.txt", "tags.csv"])
def test_mutated_lists_and_tags(small, capsys, file):
    rng, path, refused = np.random.default_rng(3), Path("data", file), 0
    whole = path.read_bytes()
    for _ in range(ROUNDS):
        path.write_bytes(mutate(whole, rng))
        for read in (
            lambda: read_catalog(small),
            lambda: check_leaks.main(["data", "--num_workers", "1"]),
        ):
            try:
                read()
            except UserError as error:
                refused += 1
                assert BUG not in str(error)
        assert BUG not in capsys.readouterr().err
    assert refused


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name != "augmentation.json"
    }


def change_value(value, rng):
    """A value of JSON of which some part is another."""
    odd = [-1, 1e400, 2**70, None, True, "", "../a/0.wav", "/tmp/x", "a\0b", [], {}, [[[1]]], "é"]
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = str(rng.choice(list(value)))
        if rng.random() < 0.2:
            return {**value, str(rng.choice(["../a/0.wav", "a/0.wav", "x"])): value[key]}
        if rng.random() < 0.2:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: change_value(value[key], rng)}
    return odd[rng.integers(len(odd))]


def test_mutated_records_of_augmentation(small, capsys):
    words = words_of(small, "--augment_effects", "noise", "shift")
    assert data_augment.main(words) == 0
    folder, record = Path("data-augmented"), Path("data-augmented/augmentation.json")
    whole, expected, originals = record.read_bytes(), files_below(folder), files_below("data")
    plain = json.loads(whole)
    plain.pop("sha256")
    rng, refused = np.random.default_rng(4), 0
    for number in range(ROUNDS):
        text = mutate(whole, rng)
        if number % 2:  # without a hash, as of older versions
            text = json.dumps(change_value(plain, rng)).encode()
        record.write_bytes(text if number % 50 else b"[" * 10**5)
        try:
            assert data_augment.main(words) == 0
        except UserError as error:
            refused += 1
            assert BUG not in str(error)
        else:
            assert files_below(folder) == expected
        assert BUG not in capsys.readouterr().err
        assert files_below("data") == originals
    assert 0 < refused < ROUNDS
