import hashlib
import io
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from dataset import archives, gtzan
from dataset.gtzan import GENRES, TABLE, main, split_lists
from hparams import HParams
from support.errors import UserError
from support.files import lock
from tracks.catalog import read_catalog
from tracks.lists import load_lists

RATE = 22050
DIGEST = "1085d5c18da534d6ec100379239fd9b1de8a45082aa609757b2a2f50c851ab1b"
FOUR = ("disco", "jazz", "metal", "pop")


@pytest.fixture
def short_split(monkeypatch):
    """A split of 5 + 2 + 3 tracks of each of four genres, so that the tests are fast."""
    monkeypatch.setattr(gtzan, "TABLE", dict.fromkeys(FOUR, ("0-3,54", "5-6", "7-9")))
    return ["--genres", *FOUR, "--num_workers", "1"]


def write_copy(folder, suffix=".wav", seconds=30.0):
    """The 40 tracks of the short split as a copy of GTZAN has them."""
    rng = np.random.default_rng(0)
    for genre in FOUR:
        (folder / genre).mkdir(parents=True)
        for n in (0, 1, 2, 3, 5, 6, 7, 8, 9, 54):
            y = 0.1 * rng.standard_normal(int(seconds * RATE))
            soundfile.write(folder / genre / f"{genre}.{n:05d}{suffix}", y, RATE)
    return folder


def run_main(source, target, *words):
    return main([str(source), "--path", str(target), *words])


def test_the_tutorials_split_is_353_150_227():
    counts = {split: len(names) for split, names in split_lists(GENRES).items()}
    assert counts == {"train": 353, "valid": 150, "test": 227}
    counts = {split: len(names) for split, names in split_lists(TABLE).items()}
    assert counts == {"train": 443, "valid": 197, "test": 290}


def test_the_split_is_the_published_one():
    lists = split_lists(TABLE)
    assert "jazz/jazz.00073" in lists["test"]
    assert lists["valid"][:2] == ["blues/blues.00000", "blues/blues.00001"]
    text = "\n".join(name for names in lists.values() for name in names)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_splits_share_no_track_and_name_tracks_of_gtzan():
    names = [name for listed in split_lists(TABLE).values() for name in listed]
    assert len(set(names)) == len(names) == 930
    every = {f"{g}/{g}.{n:05d}" for g in TABLE for n in range(100)}
    assert set(names) <= every
    assert "jazz/jazz.00054" in split_lists(GENRES)["train"]


@pytest.mark.parametrize(
    ("genres", "counts"), [(GENRES, (353, 150, 227)), (list(TABLE), (443, 197, 290))]
)
def test_the_lists_of_a_copy_of_1000_tracks(tmp_path, monkeypatch, genres, counts):
    monkeypatch.setattr(gtzan, "fault", lambda path: "")
    for genre in TABLE:
        (tmp_path / "copy" / genre).mkdir(parents=True)
        for number in range(100):
            (tmp_path / "copy" / genre / f"{genre}.{number:05d}.wav").touch()
    words = ["--genres", *genres, "--num_workers", "1"]
    assert run_main(tmp_path / "copy", tmp_path / "gtzan", *words) == 0
    lists = load_lists(HParams(dataset_path=str(tmp_path / "gtzan")))
    assert tuple(map(len, lists.values())) == counts
    assert lists == {s: [f"{n}.wav" for n in names] for s, names in split_lists(genres).items()}
    listed = {name for names in lists.values() for name in names}
    placed = {p.relative_to(tmp_path / "gtzan").as_posix() for p in tmp_path.glob("gtzan/*/*")}
    assert placed == listed


@pytest.mark.parametrize("below", [".", "genres", "Data/genres_original"])
@pytest.mark.parametrize("suffix", [".wav", ".au"])
def test_a_folder_becomes_a_data_set(tmp_path, short_split, below, suffix, capsys):
    source = write_copy(tmp_path / "copy" / below, suffix)
    (source / "jazz" / f"._jazz.00000{suffix}").write_bytes(b"ghost")
    (tmp_path / "copy/images_original/jazz").mkdir(parents=True)
    (tmp_path / "copy/images_original/jazz/jazz00000.png").write_bytes(b"picture")
    assert run_main(tmp_path / "copy", tmp_path / "gtzan", *short_split) == 0
    assert "20/8/12 tracks for train/valid/test, 4 genres" in capsys.readouterr().out
    catalog = read_catalog(HParams(dataset_path=str(tmp_path / "gtzan")))
    assert catalog.hparams.genres == list(FOUR)
    assert catalog.lists["valid"][0] == f"disco/disco.00005{suffix}"
    files = {path.name for path in (tmp_path / "gtzan").rglob(f"*{suffix}")}
    assert len(files) == 40
    assert not any(name.startswith("._") for name in files)


def test_a_partial_copy_is_reported_as_counts_and_in_a_file(tmp_path, short_split, capsys):
    source = write_copy(tmp_path / "copy")
    shutil.rmtree(source / "jazz")
    shutil.rmtree(source / "pop")
    (source / "disco/disco.00003.wav").write_bytes(b"no audio")
    assert run_main(source, tmp_path / "gtzan", *short_split) == 1
    *counts, named, nothing = capsys.readouterr().err.splitlines()
    assert counts == [
        *("broken: disco: 0 missing, 1 broken", "broken: jazz: 10 missing, 0 broken"),
        "broken: pop: 10 missing, 0 broken",
    ]
    assert named == f"broken: {tmp_path / 'gtzan-broken.txt'} names all 21"
    assert nothing.startswith("nothing was written to ")
    lines = (tmp_path / "gtzan-broken.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 21 and "jazz/jazz.00054: is missing, as .wav and as .au" in lines
    assert [line for line in lines if line.startswith("disco/disco.00003.wav: ")]
    assert run_main(source, tmp_path / "gtzan", *short_split, "--skip_broken") == 0


def test_a_wav_is_taken_before_an_au_and_capitals_are_too(tmp_path, short_split):
    source = write_copy(tmp_path / "copy")
    (source / "jazz/jazz.00000.au").write_bytes(b"broken")
    (source / "jazz/jazz.00001.wav").rename(source / "jazz/jazz.00001.WAV")
    assert run_main(source, tmp_path / "gtzan", *short_split) == 0
    names = {path.name for path in (tmp_path / "gtzan/jazz").iterdir()}
    assert {"jazz.00000.wav", "jazz.00001.WAV"} <= names
    assert "jazz.00000.au" not in names
    again = [*short_split, "--genres", "pop", "jazz", "pop", "--force"]
    assert run_main(source, tmp_path / "gtzan", *again) == 0
    lists = load_lists(HParams(dataset_path=str(tmp_path / "gtzan")))
    assert len(lists["train"]) == 10


def test_files_are_linked_where_that_can_be_and_else_copied(tmp_path, short_split, monkeypatch):
    source = write_copy(tmp_path / "copy")
    track = "pop/pop.00000.wav"
    assert run_main(source, tmp_path / "linked", *short_split) == 0
    assert (tmp_path / "linked" / track).samefile(source / track)

    def refuse(*paths):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    assert run_main(source, tmp_path / "copied", *short_split) == 0
    assert not (tmp_path / "copied" / track).samefile(source / track)
    assert (tmp_path / "copied" / track).read_bytes() == (source / track).read_bytes()


def test_a_track_that_differs_is_kept(tmp_path, short_split):
    source = write_copy(tmp_path / "copy")
    mine = tmp_path / "gtzan/jazz/jazz.00054.wav"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"repaired by hand")
    with pytest.raises(UserError, match="jazz.00054.wav: exists and differs; pass --force"):
        run_main(source, tmp_path / "gtzan", *short_split)
    assert [path for path in (tmp_path / "gtzan").rglob("*") if path.is_file()] == [mine]
    assert run_main(source, tmp_path / "gtzan", "--force", *short_split) == 0
    assert mine.samefile(source / "jazz/jazz.00054.wav")


def test_what_a_killed_command_left_is_removed(tmp_path, short_split):
    target = tmp_path / "out"
    (target / "jazz").mkdir(parents=True)
    for name in ("jazz/12-34.part", "56-78.part", "mine.part"):
        (target / name).write_bytes(b"half")
    assert run_main(write_copy(tmp_path / "copy"), target, *short_split) == 0
    assert [path.name for path in target.rglob("*.part")] == ["mine.part"]


def test_a_data_set_in_its_place_already_gets_its_lists(tmp_path, short_split):
    folder = write_copy(tmp_path / "gtzan")
    assert run_main(folder, folder, *short_split) == 0
    assert (folder / "train_list.txt").is_file()
    assert len(list(folder.rglob("*.wav"))) == 40


def plant_faults(folder):
    """One fault of each kind; returns what the report must say of each track."""
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.standard_normal(30 * RATE)
    jazz = folder / "jazz"
    (jazz / "jazz.00000.wav").unlink()
    (jazz / "jazz.00001.wav").write_bytes(b"")
    whole = (jazz / "jazz.00002.wav").read_bytes()
    (jazz / "jazz.00002.wav").write_bytes(whole[: len(whole) // 2])
    (jazz / "jazz.00054.wav").write_text("corrupt", encoding="utf-8")
    soundfile.write(jazz / "jazz.00005.wav", np.stack([noise, noise], axis=1), RATE)
    soundfile.write(jazz / "jazz.00006.wav", noise, 44100)
    soundfile.write(jazz / "jazz.00007.wav", noise[: 20 * RATE], RATE)
    soundfile.write(jazz / "jazz.00008.wav", 0 * noise, RATE)
    soundfile.write(jazz / "jazz.00009.wav", 0 * noise + 0.5, RATE)
    soundfile.write(folder / "pop/pop.00005.wav", np.full(30 * RATE, np.nan), RATE, "FLOAT")
    return {
        "jazz/jazz.00000": "is missing, as .wav and as .au",
        "jazz/jazz.00001.wav": "cannot be read (no audio: empty",
        "jazz/jazz.00002.wav": "is cut short, it holds 15.0 s of the 30.0 s that its header states",
        "jazz/jazz.00054.wav": "cannot be read (no audio: text",
        "jazz/jazz.00005.wav": "has 2 channels, not one",
        "jazz/jazz.00006.wav": "has a sample rate of 44100 Hz, not 22050",
        "jazz/jazz.00007.wav": "lasts 20.00 s, not 29.9 to 30.7",
        "jazz/jazz.00008.wav": "is silent or constant",
        "jazz/jazz.00009.wav": "is silent or constant",
        "pop/pop.00005.wav": "holds samples that are not numbers (NaN)",
    }


def test_each_fault_is_found_by_name_and_no_other(tmp_path, short_split, capsys):
    source = write_copy(tmp_path / "copy")
    expected = plant_faults(source)
    assert run_main(source, tmp_path / "gtzan", *short_split) == 1
    captured = capsys.readouterr()
    broken = [line for line in captured.err.splitlines() if line.startswith("broken: ")]
    assert len(broken) == len(expected)
    for name, reason in expected.items():
        found = [line for line in broken if line.startswith(f"broken: {name}: {reason}")]
        assert len(found) == 1, (name, reason, broken)
        assert "list" not in found[0]
    assert "30 of 40 tracks are fine, 10 broken or missing" in captured.out
    assert not (tmp_path / "gtzan").exists()


def test_broken_tracks_can_be_left_out(tmp_path, short_split, capsys):
    source = write_copy(tmp_path / "copy")
    plant_faults(source)
    assert run_main(source, tmp_path / "gtzan", "--skip_broken", *short_split) == 0
    assert "16/5/9 tracks for train/valid/test" in capsys.readouterr().out
    pop = HParams(dataset_path=str(tmp_path / "gtzan"), genres=["pop"])
    assert len(read_catalog(pop).lists["valid"]) == 1


def make_tar(path, members):
    """A tar of (name, content) or TarInfo members."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_archive_becomes_a_data_set(tmp_path, short_split, make):
    source = write_copy(tmp_path / "copy")
    members = [
        (f"Data/genres_original/{path.relative_to(source).as_posix()}", path.read_bytes())
        for path in source.rglob("*.wav")
    ]
    members += [("Data/images_original/jazz/jazz00000.png", b"x"), ("Data/f.csv", b"1")]
    members += [("Data/genres_original/jazz/._jazz.00000.wav", b"ghost")]
    archive = make(tmp_path / "gtzan.bin", members)
    (tmp_path / "out").mkdir()
    assert run_main(archive, tmp_path / "out/gtzan", *short_split) == 0
    assert len(list((tmp_path / "out/gtzan").rglob("*.wav"))) == 40
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gtzan"]


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def huge(name):
    """A header that states 10 GB, as those of zeros compress to little."""
    info = tarfile.TarInfo(name)
    info.size = 10 * 10**9
    return info


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (("../x", b"1"), "leads out of its folder"),
        (("genres/jazz/../../../x", b"1"), "leads out of its folder"),
        (("/tmp/x", b"1"), "leads out of its folder"),
        (("C:\\x", b"1"), "leads out of its folder"),
        (link("jazz/jazz.00000.wav", "/etc/passwd", tarfile.SYMTYPE), "is a link or a device"),
        (link("jazz/jazz.00000.wav", "../../x", tarfile.LNKTYPE), "is a link or a device"),
        (link("jazz/jazz.00000.wav", "", tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_unsafe_tars_are_refused(tmp_path, short_split, member, reason):
    archive = make_tar(tmp_path / "a.tar.gz", [("jazz/jazz.00001.wav", b"1"), member])
    check_refusal(archive, tmp_path, short_split, reason)


def check_refusal(archive, tmp_path, short_split, reason):
    """The archive is refused for the reason, and nothing is left of it."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=reason):
        run_main(archive, tmp_path / "gtzan", *short_split)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "jazz/..\\..\\x"])
def test_unsafe_zips_are_refused(tmp_path, short_split, name):
    archive = make_zip(tmp_path / "a.zip", [(name, b"1")])
    check_refusal(archive, tmp_path, short_split, "leads out of its folder")


def test_links_in_zips_are_refused(tmp_path, short_split):
    info = zipfile.ZipInfo("jazz/jazz.00000.wav")
    info.external_attr = 0o120777 << 16
    archive = make_zip(tmp_path / "a.zip", [(info, b"/etc/passwd")])
    check_refusal(archive, tmp_path, short_split, "which is a link")


def test_archives_of_endless_zeros_are_refused(tmp_path, short_split):
    path = tmp_path / "a.tar"
    path.write_bytes(huge("jazz/jazz.00000.wav").tobuf() + bytes(1024))
    check_refusal(path, tmp_path, short_split, "10000 MB, 10000 MB so far: too large for GTZAN")
    zeros = [("jazz/jazz.00000.wav", bytes(101 * 2**20))]
    archive = make_zip(tmp_path / "a.zip", zeros)
    check_refusal(archive, tmp_path, short_split, "106 MB so far: too large for GTZAN")


def test_archives_of_endless_headers_are_refused(tmp_path, short_split):
    info = tarfile.TarInfo("jazz/jazz.00000.wav")
    info.pax_headers = {"comment": "x" * 2**21}
    archive = make_tar(tmp_path / "a.tar.gz", [info])
    check_refusal(archive, tmp_path, short_split, "holds a header of 2 MB")


def test_all_members_together_are_bounded(tmp_path, short_split, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_ARCHIVE", 1000)
    members = [(f"jazz/jazz.0000{i}.wav", bytes(400)) for i in range(3)]
    for make in (make_tar, make_zip):
        archive = make(tmp_path / f"{make.__name__}.bin", members)
        check_refusal(archive, tmp_path, short_split, "0 MB so far: too large for GTZAN")


def test_an_encrypted_archive_is_a_message(tmp_path, short_split):
    path = make_zip(tmp_path / "a.zip", [("jazz/jazz.00000.wav", b"1")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    path.write_bytes(data)
    check_refusal(path, tmp_path, short_split, "cannot be unpacked")


def test_a_truncated_archive_is_a_message(tmp_path, short_split):
    noise = os.urandom(200_000)
    path = make_tar(tmp_path / "a.tar.gz", [("jazz/jazz.00000.wav", noise)])
    path.write_bytes(path.read_bytes()[:100_000])
    check_refusal(path, tmp_path, short_split, "cannot be unpacked")
    path.write_bytes(b"text")
    check_refusal(path, tmp_path, short_split, "cannot be unpacked")


def test_no_copy_there(tmp_path, short_split):
    with pytest.raises(UserError, match="is missing: name the folder or archive of your copy"):
        run_main(tmp_path / "nowhere", tmp_path / "gtzan", *short_split)
    with pytest.raises(UserError, match="has no genre folders with tracks such as"):
        run_main(tmp_path, tmp_path / "gtzan", *short_split)


def test_lists_that_differ_are_kept(tmp_path, short_split):
    source = write_copy(tmp_path / "copy")
    (tmp_path / "gtzan").mkdir()
    (tmp_path / "gtzan/train_list.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="train_list.txt exists and differs: pass --force"):
        run_main(source, tmp_path / "gtzan", *short_split)
    assert not list((tmp_path / "gtzan").glob("*/*"))
    assert (tmp_path / "gtzan/train_list.txt").read_text(encoding="utf-8") == "mine"
    assert run_main(source, tmp_path / "gtzan", "--force", *short_split) == 0


def test_unreadable_folders_are_named(tmp_path, short_split, deny, capsys):
    source = write_copy(tmp_path / "copy")
    deny(source / "jazz")
    assert run_main(source, tmp_path / "gtzan", "--skip_broken", *short_split) == 0
    captured = capsys.readouterr()
    assert f"broken: {source / 'jazz'} cannot be read (Permission denied): " in captured.err
    assert "15/6/9 tracks for train/valid/test" in captured.out
    deny(source)
    with pytest.raises(UserError, match="has no genre folders with tracks such as"):
        run_main(source, tmp_path / "gtzan", *short_split)
    assert f"broken: {source / 'pop'} cannot be read (Permission denied)" in capsys.readouterr().err


def test_a_second_command_says_who_makes_the_data_set(tmp_path, short_split):
    source = write_copy(tmp_path / "copy")
    with (
        lock(tmp_path / "gtzan.lock", "", delete=True),
        pytest.raises(UserError, match=rf"makes .*gtzan: wait .*\(held by .*{os.getpid()} on"),
    ):
        run_main(source, tmp_path / "gtzan", *short_split)
    assert run_main(source, tmp_path / "gtzan", *short_split) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "gtzan"]
