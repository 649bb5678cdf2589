"""Errors of one item and of a script: what is printed, logged and returned."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.errors import UserError, continue_past_errors, explain, visible

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "import support.start\nfrom support.errors import run_script, UserError\n"


def run(body: str, tmp_path: Path) -> subprocess.CompletedProcess:
    code = f"{SCRIPT}{body}\nrun_script(main)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    options = {"capture_output": True, "encoding": "utf-8", "timeout": 60}
    return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, **options)


def start(body: str, tmp_path: Path, **environment: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", f"{SCRIPT}{body}\nrun_script(main)"],
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
        cwd=tmp_path,
        env=environment,
        text=True,
    )


def test_failures_are_reported_and_the_rest_follows(capsys):
    def double(number):
        if number == 2:
            raise PermissionError(13, "Permission denied")
        return 2 * number

    failed = []
    assert list(continue_past_errors(double, [1, UserError("unreadable"), 2, 3], failed)) == [2, 6]
    denied = "2 cannot be read (Permission denied): check its permissions and disk, or leave it out"
    assert failed == ["unreadable", denied]
    assert capsys.readouterr().err == f"broken: unreadable\nbroken: {denied}\n"


def test_an_unexpected_error_of_one_item_is_named_and_logged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = []
    assert list(continue_past_errors(lambda x: 1 // x, [1, 0, -1], failed)) == [1, -1]
    [message] = failed
    assert "0: unexpected ZeroDivisionError at test_errors.py:" in message
    assert "errors.log" in message
    log = Path("errors.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "ZeroDivisionError" in log


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "a.wav does not fit into memory"),
        (FileNotFoundError(2, "No such file"), "a.wav is missing"),
        (UserError("b.wav is empty"), "b.wav is empty"),
    ],
)
def test_an_expected_error_is_explained_without_a_log(error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert explain(error, "a.wav").startswith(text)
    assert not Path("errors.log").exists()


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_visible_text_has_one_line_and_acts_on_no_terminal(text):
    shown = visible(text)
    assert shown == visible(shown)
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & {"\x1b", "\x9b", "\b", "\0", "\u202e", "\u2066"}


def test_a_script_shows_control_characters_of_names(tmp_path):
    raised = "raise UserError('b\\x1b]0;x\\x07.wav is bad')"
    body = f"def main():\n print('a\\x1b[2J\\u202e.wav')\n {raised}"
    done = run(body, tmp_path)
    assert done.stdout == "a\\x1b[2J\\u202e.wav\n"
    assert done.stderr == "error: b\\x1b]0;x\\x07.wav is bad\n"
    assert done.returncode == 1


def test_an_unexpected_error_of_a_script_is_one_line_and_a_log(tmp_path):
    done = run("def main():\n {}['missing']", tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "unexpected KeyError" in done.stderr
    assert "KeyError" in (tmp_path / "errors.log").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_broken_pipe_ends_a_script_quietly(tmp_path):
    body = "def main():\n for _ in range(100_000): print('a line')"
    process = start(body, tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 128 + 13
    assert process.stderr.read() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to one process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_script_like_ctrl_c(name, tmp_path):
    body = (
        "import pathlib, signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # `nohup` ignores it
        "def main():\n try:\n  print('ready', flush=True)\n  time.sleep(60)\n"
        " finally:\n  pathlib.Path('written').touch()"
    )
    process = start(body, tmp_path)
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert process.stderr.read() == "interrupted\n"
    assert (tmp_path / "written").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to one process")
def test_ctrl_c_while_modules_load_prints_no_traceback(tmp_path):
    body = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('loading', flush=True)\ntime.sleep(60)\ndef main(): pass"
    )
    process = start(body, tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert process.stderr.read() == "interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to one process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_a_finalizer_is_not_lost(name, tmp_path):
    body = (
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"def rows():\n try: yield\n finally:\n  os.kill(os.getpid(), signal.{name})\n"
        "  time.sleep(9)\n"
        "def main():\n next(rows())\n for _ in range(200): time.sleep(0.1)"
    )
    process = start(body, tmp_path)
    assert process.wait(30) == 128 + getattr(signal, name)
    assert process.stderr.read() == "interrupted\n"


def test_a_child_ends_with_its_parent(tmp_path):
    body = "import time\ndef main():\n print('ready', flush=True)\n time.sleep(60)"
    process = start(body, tmp_path, END_WITH_PARENT="1")
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.stdin.close()  # as the system closes it when the parent ends
    assert process.wait(30) != 0
    assert time.monotonic() - began < 20
