"""Archives are read to their checksums, and their headers are not believed."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import archives
from dataset.archives import unpack
from support.errors import UserError

CONTENT = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
NAMES = [f"copy/jazz/jazz.0000{i}.wav" for i in range(4)]


def make_tar(members=(), names=NAMES, format=tarfile.PAX_FORMAT, **changed):
    """The bytes of a tar with the members `names`; `members` are headers without content."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=format) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(CONTENT)
            for key, value in changed.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(CONTENT))
        for info in members:
            tar.addfile(info)
    return data.getvalue()


def make_zip(names=NAMES, compression=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        for name in names:
            file.writestr(name, CONTENT)
    return data.getvalue()


def unpacked(data, folder):
    """The files, by path, that an archive of these bytes unpacks to."""
    folder.mkdir(exist_ok=True)
    (folder / "archive").write_bytes(data)
    unpack(folder / "archive", folder / "out", lambda path: path.suffix == ".wav")
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    return {path.relative_to(folder / "out").as_posix(): path.read_bytes() for path in files}


WHOLE = dict.fromkeys(NAMES, CONTENT)
PACKERS = {"tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
ARCHIVES = {name: pack(make_tar()) for name, pack in PACKERS.items()}
ARCHIVES |= {
    "zip": make_zip(),
    "stored": make_zip(compression=zipfile.ZIP_STORED),
    "bz2.zip": make_zip(compression=zipfile.ZIP_BZIP2),
    "xz.zip": make_zip(compression=zipfile.ZIP_LZMA),
    "two streams": gzip.compress(make_tar()[:5000]) + gzip.compress(make_tar()[5000:]),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_unpacks_to_what_was_packed(tmp_path, kind):
    assert unpacked(ARCHIVES[kind], tmp_path) == WHOLE


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read_whatever_the_format(tmp_path, format):
    names = [f"{'folder/' * 12}{'재즈' * 10}/jazz.00000.wav", "ü/a.wav"]
    if format != tarfile.USTAR_FORMAT:
        names += [f"{'long' * 50}/{'name' * 40}.wav"]
    found = unpacked(make_tar(names=names, format=format), tmp_path)
    assert found == dict.fromkeys(names, CONTENT)


def test_other_members_are_skipped_and_folders_and_owners_have_no_effect(tmp_path):
    folder = tarfile.TarInfo("copy/empty.wav")
    folder.type, folder.size = tarfile.DIRTYPE, 0
    names = [*NAMES, "notes.txt"]
    data = make_tar([folder], names, mode=0, uid=2**40, mtime=10**9, pax_headers={"comment": "x"})
    assert unpacked(data, tmp_path) == WHOLE


@settings(max_examples=200, deadline=None, database=None)
@given(st.sampled_from(["gz", "bz2", "xz", "zip", "stored", "xz.zip"]), st.randoms())
def test_no_flipped_bit_changes_a_file(tmp_path_factory, kind, random):
    data = bytearray(ARCHIVES[kind])
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    try:
        found = unpacked(data, tmp_path_factory.mktemp("flipped"))
    except UserError:
        return
    assert all(content == CONTENT for content in found.values())
    if "zip" not in kind and kind != "stored":  # a zip's pictures and names are not read
        assert found == WHOLE


@settings(max_examples=200, deadline=None, database=None)
@given(st.sampled_from(["tar", "gz", "bz2", "xz"]), st.floats(0, 0.9999))
def test_no_shorter_tar_unpacks(tmp_path_factory, kind, share):
    data = ARCHIVES[kind]
    end = len(make_tar()) - len(make_tar().rstrip(b"\0"))  # zeros at the end are one block or more
    cut = data[: int(share * (len(data) - (end if kind == "tar" else 1)))]
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpacked(cut, tmp_path_factory.mktemp("cut"))


def test_a_tar_that_ends_between_two_members_is_cut_short(tmp_path):
    data = make_tar()
    second = data.index(NAMES[2].encode())
    with pytest.raises(UserError, match=r"cannot be unpacked \(it is cut short\): get it again"):
        unpacked(data[:second], tmp_path)


def test_a_damaged_header_is_not_the_end(tmp_path):
    data = bytearray(make_tar())
    data[data.index(NAMES[2].encode())] ^= 1
    with pytest.raises(UserError, match=r"cannot be unpacked \(bad checksum\): get it again"):
        unpacked(data, tmp_path)


@pytest.mark.parametrize("behind", [b"garbage", make_tar(names=NAMES[:1])])
def test_nothing_follows_the_end_of_a_tar(tmp_path, behind):
    with pytest.raises(UserError, match=r"\(data follow its end mark\): get it again"):
        unpacked(make_tar() + behind, tmp_path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"size": -1}, "it states -1 bytes"),
        ({"size": -(2**60)}, "it states -1152921504606846976 bytes"),
        ({"mtime": 2**60}, "of the time 1152921504606846976"),
        ({"mtime": -(2**60)}, "of the time -1152921504606846976"),
        ({"pax_headers": {"size": "-5"}}, "it states -5 bytes"),
        ({"pax_headers": {"size": "x"}}, "invalid literal"),
        ({"pax_headers": {"path": "a/b\0.wav"}}, "embedded null byte"),
    ],
)
def test_impossible_headers_are_damage(tmp_path, changed, reason):
    info = tarfile.TarInfo(NAMES[0])
    for key, value in changed.items():
        setattr(info, key, value)
    format = tarfile.PAX_FORMAT if "pax_headers" in changed else tarfile.GNU_FORMAT
    data = info.tobuf(format) + bytes(1024)
    with pytest.raises(UserError, match=rf"cannot be unpacked \(.*{reason}.*\): get it again"):
        unpacked(data, tmp_path)


def test_records_of_no_length_do_not_last_forever(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 512
    data = info.tobuf(tarfile.USTAR_FORMAT) + b"0 a=b\n".ljust(512, b"0") + bytes(1024)
    with pytest.raises(UserError, match="has no length"):
        unpacked(data, tmp_path)


def zeros(gigabytes):
    """A small gzip file of many zeros."""
    return gzip.compress(bytes(10**8)) * (10 * gigabytes)


@pytest.mark.parametrize("first", [make_tar(), b""])
def test_ten_gigabytes_of_zeros_are_given_up_early(tmp_path, first):
    began = time.monotonic()
    with pytest.raises(UserError):
        unpacked(gzip.compress(first) + zeros(10), tmp_path)
    assert time.monotonic() - began < 5


def test_many_files_of_zeros_are_given_up_early(tmp_path):
    info = tarfile.TarInfo(NAMES[0])
    info.size = 90 * 2**20
    member = info.tobuf() + bytes(info.size)
    data = gzip.compress(member) * 20
    with pytest.raises(UserError, match="283 MB so far: too large for GTZAN"):
        unpacked(data, tmp_path)


def test_a_zip_that_states_less_than_it_holds_is_damaged(tmp_path):
    data = make_zip(NAMES[:1])
    size = len(CONTENT).to_bytes(4, "little")
    for wrong in (len(CONTENT) - 4, len(CONTENT) + 4):
        lie = data.replace(size, wrong.to_bytes(4, "little"))
        assert lie.count(wrong.to_bytes(4, "little")) == 2
        with pytest.raises(UserError, match="cannot be unpacked"):
            unpacked(lie, tmp_path)


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(archives.Stream, "parts", fill)
    with pytest.raises(UserError, match="No space left on device.*: free some space"):
        unpacked(make_tar(), tmp_path)
