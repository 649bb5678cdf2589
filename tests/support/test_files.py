"""Locks between commands, the newest of some files, and names that no other file takes."""

import os
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from support.errors import UserError
from support.files import free_name, lock, newest, write_atomic


def test_a_lock_that_another_command_holds_is_an_error(tmp_path):
    path = tmp_path / "new" / "data.lock"
    with (
        lock(path, "unused"),
        pytest.raises(UserError, match="wait for its end"),
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
