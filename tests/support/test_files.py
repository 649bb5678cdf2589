"""Locks between commands, the newest of some files, and names that no other file takes."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from support.errors import UserError
from support.files import (
    explain_damage,
    free_name,
    is_unchanged,
    lock,
    newest,
    own_path,
    read_json,
    source_state,
    write_atomic,
    write_json,
)


def test_a_lock_that_another_command_holds_is_an_error(tmp_path):
    path = tmp_path / "new" / "data.lock"
    with (
        lock(path, "unused"),
        pytest.raises(
            UserError, match=rf"wait for its end \(held by .*, process {os.getpid()} on "
        ),
        lock(path, "another command is writing: wait for its end"),
    ):
        raise AssertionError("two commands hold the lock")
    with lock(path, "it is free again"):
        pass


def test_a_lock_is_released_after_an_error(tmp_path):
    path = tmp_path / "data.lock"
    with pytest.raises(ValueError, match="inside"), lock(path, "unused"):
        raise ValueError("inside")
    with lock(path, "it is free again"):
        pass


def test_a_waiting_lock_says_so_and_waits(tmp_path, capsys):
    path, held, order = tmp_path / "data.lock", threading.Event(), []

    def hold():
        with FileLock(path):
            held.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with lock(path, "data: waiting", wait=True):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().out == "data: waiting\n"


def test_the_newest_is_the_one_modified_last(tmp_path):
    assert newest([]) is None
    paths = [tmp_path / name for name in "abc"]
    for path, time_ns in zip(paths, (5, 9, 7)):
        path.touch()
        os.utime(path, ns=(time_ns, time_ns))
    assert newest(iter(paths)) == paths[1]


def test_a_name_that_is_taken_gets_a_number():
    taken = set()
    made = [free_name(Path("out", name), taken) for name in ("a.b.png", "a.b.png", "c", "a.b.png")]
    assert made == [Path("out", name) for name in ("a.b.png", "a.b-2.png", "c", "a.b-3.png")]
    assert taken == {*made}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.bin"
    write_atomic(path, lambda file: file.write(b"old"))

    def half(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(UserError, match=r"a.bin cannot be written \(disk full\)"):
        write_atomic(path, half)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_json_comes_back_and_any_change_of_a_value_is_noticed(tmp_path):
    path, values = tmp_path / "a.json", {"é": [1, 2.5, None], "b": {"c": "x\udcff"}}
    write_json(path, values)
    assert read_json(path) == values
    rng, data = np.random.default_rng(0), path.read_bytes()
    for _ in range(200):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            found = read_json(path)
        except ValueError:
            continue
        # a flip in the key of the hash leaves the values and adds a key
        assert {key: found.get(key) for key in values} == values


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"a": NaN} x', "\xff"])
def test_damaged_json_is_explained(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with (
        pytest.raises(UserError, match=r"a.json is damaged \(.*\): make it again"),
        explain_damage(path, "make it again"),
    ):
        read_json(path)


def test_a_source_is_recognized_by_its_content_too(tmp_path):
    path, other = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(bytes(200_000))
    state = source_state(path)
    assert is_unchanged(path, state)
    os.link(path, other)  # changes only the time of the inode
    assert is_unchanged(path, state)
    for place in (0, 199_999):
        data = bytearray(200_000)
        data[place] = 1
        path.write_bytes(data)
        os.utime(path, ns=(state["mtime_ns"],) * 2)
        assert not is_unchanged(path, state)


def test_a_pipe_is_not_a_source(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UserError, match="is not a file"):
        source_state(tmp_path / "a.wav")


def test_a_path_through_a_link_is_not_ours(tmp_path):
    (tmp_path / "copies").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "copies/jazz").symlink_to(tmp_path / "source")
    assert own_path(tmp_path / "copies", "pop/a.wav") == tmp_path / "copies/pop/a.wav"
    for name in ("jazz/a.wav", "../a.wav"):
        with pytest.raises(UserError, match="leads out of"):
            own_path(tmp_path / "copies", name)
