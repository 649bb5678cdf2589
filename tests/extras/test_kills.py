"""Commands that are killed, stopped or run two at once, at any moment, end as a single one does.

Each try is a process forked from one that has loaded all modules, so that most of its time is work.
"""

import contextlib
import dataclasses
import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import GENRES, RATE, ROOT, flags, sine, write_data_set
from test_interruption import contents, outcome

from hparams import CLASSICAL, HParams, in_group
from support import canvas
from support.errors import run_script
from support.files import read_json, write_text
from support.flags import flag_words
from training.index_files import read_index

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and forks")
SCRIPTS = (
    *("feature_extraction", "data_augment", "train_test", "classic", "predict", "retrieve"),
    *("visualize", "compare", "dataset.demo", "dataset.make_lists", "dataset.check_leaks"),
    *("dataset.gtzan", "training.plots", "training.report", "torch._dynamo"),
)
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TWICE = 12  # tries of two at once, for each command
WAIT = 60  # seconds until a process counts as hanging
ORPHAN = 15  # seconds that a child may outlive its parent
BUSY = ("another command", "another extraction", "is not empty")
HPARAMS = HParams(
    **{"dataset_path": "data", "feature_path": "features", "genres": list(GENRES)},
    **{"sample_rate": RATE, "fft_size": 256, "win_size": 256, "hop_size": 64, "num_mels": 16},
    **{"feature_length": 256, "num_epochs": 6, "batch_size": 4, "num_workers": 1, "device": "cpu"},
    **{"learning_rate": 0.02, "optimizer": "adamw", "mixup": 0.3, "random_offset": True},
)
EXTRACT = ["feature_extraction", *flags(HPARAMS)]
TRAIN = ["train_test", *flags(HPARAMS, run_path="runs/one")]
INDEX = ["retrieve", "--run", "runs/one", "--device", "cpu", "--index", "data"]
RESUME = ["train_test", "--resume", "runs/one", "--num_epochs"]
COMPARE = ["compare", *flags(HPARAMS, "data"), "--num_seeds", "1", "--recipes"]


def words(line):
    """The words of a command line."""
    return line.split()


def report(path):
    """A report without what the clock decides."""
    values = read_json(path)
    return {key: value for key, value in values.items() if key != "minutes"}


def whole_files(folder):
    """The bytes of the files of a folder, without locks; fails if a part of a file is left."""
    found = {p: d for p, d in contents(folder).items() if ".lock" not in p.name}
    assert not [path for path in found if path.suffix == ".part"]
    return found


def index_entries(folder):
    """The tracks and embeddings of the index, without the names of its files."""
    [path] = (folder / "runs/one/index").iterdir()
    whole_files(path)
    index = read_index(path)
    return index.tracks, index.embeddings.tolist()


def newest_report(folder):
    """The report of the newest run that has one."""
    paths = (folder / "runs").glob("*/report.json")
    return report(max(paths, key=lambda path: path.stat().st_mtime_ns))


def different_reports(folder):
    """The reports of all runs, equal ones once."""
    return {json.dumps(report(path)) for path in (folder / "runs").glob("*/report.json")}


def comparison(folder):
    """The scores in the table of compare.py."""
    rows = read_json(folder / "runs/compare/data.json")["rows"]
    return {name: (row["scores"], row["command"]) for name, row in rows.items()}


def copies(folder):
    """The files of an augmented data set; its record has times that links change."""
    found = whole_files(folder / "data-augmented")
    return {path: data for path, data in found.items() if path.suffix != ".json"}


def tables(folder):
    """The tables that predict.py writes."""
    return [(folder / name).read_bytes() for name in ("p.json", "p.csv")]


def run_one(folder):
    """What the run of the name "one" computed; its folder has no part of a file."""
    whole_files(folder / "runs/one")
    return outcome(folder / "runs/one")


def continue_training(folder):
    """The command that continues a run, or begins it if nothing is there to continue."""
    return [*RESUME, "6"] if (folder / "runs/one/hparams.json").exists() else TRAIN


@dataclasses.dataclass
class Stage:
    """A command, what it needs, what it writes, and what counts of that."""

    command: list[str]
    outputs: list[str]
    result: Callable[[Path], Any]
    before: list[list[str]] = dataclasses.field(default_factory=list)
    again: Callable[[Path], list[str]] | None = None  # the command that continues
    tries: tuple[int, int] = (0, 0)  # kills and signals


STAGES = {
    "extraction": Stage(
        EXTRACT, ["features"], lambda folder: whole_files(folder / "features"), tries=(10, 4)
    ),
    "augmentation": Stage(
        ["data_augment", "--dataset_path", "data", "--augment_effects", "noise", "speed"],
        *(["data-augmented"], copies),
        tries=(8, 4),
    ),
    "training": Stage(
        *(TRAIN, ["runs"], run_one, [EXTRACT], continue_training),
        tries=(9, 4),
    ),
    "resume": Stage(
        *([*RESUME, "9"], ["runs"], run_one, [EXTRACT, TRAIN]),
        tries=(8, 4),
    ),
    "index": Stage(INDEX, ["runs"], index_entries, [EXTRACT, TRAIN], tries=(9, 4)),
    "classic": Stage(
        ["classic", *flags(HPARAMS, *CLASSICAL, model="svm")],
        *(["runs"], newest_report, [EXTRACT]),
        tries=(5, 3),
    ),
    "predict": Stage(
        words("predict --run runs/one --device cpu --json p.json --csv p.csv data"),
        *(["p.json", "p.csv"], tables),
        [EXTRACT, TRAIN],
        tries=(5, 4),
    ),
    "gtzan": Stage(
        words("dataset.gtzan gtzan.tar.gz --path gtzan --genres jazz pop --num_workers 1"),
        *(["gtzan", ".gtzan.unpacked"], lambda folder: whole_files(folder / "gtzan")),
        tries=(6, 3),
    ),
}
OTHERS = {  # commands that are only run two at once
    "new runs": Stage(
        ["train_test", *flags(HPARAMS, num_epochs=2)], ["runs"], different_reports, [EXTRACT]
    ),
    "evaluate": Stage(
        words("retrieve --run runs/one --device cpu --evaluate"),
        *(["runs"], lambda folder: read_json(folder / "runs/one/retrieval.json"), [EXTRACT, TRAIN]),
    ),
    "visualize": Stage(
        ["visualize", "--run", "runs/one"],
        *(["runs"], lambda folder: sorted(whole_files(folder / "runs")), [EXTRACT, TRAIN]),
    ),
    "demo": Stage(
        words("dataset.demo --path demo --tracks_per_genre 10 --seconds 1"),
        *(["demo"], lambda folder: whole_files(folder / "demo")),
    ),
    "make_lists": Stage(
        words("dataset.make_lists lists"),
        *(["lists"], lambda folder: whole_files(folder / "lists")),
    ),
    "check_leaks": Stage(words("dataset.check_leaks data"), [], lambda folder: 0),
}


@pytest.fixture(scope="module")
def context():
    """What forks processes, from one that has loaded everything."""
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload([*SCRIPTS, "test_kills"])
    with pytest.MonkeyPatch.context() as patch:
        places = ROOT, ROOT / "tests", ROOT / "tests/extras"
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
        process = chosen.Process(target=int)
        process.start()
        process.join()
    return chosen


@pytest.fixture
def show(capsys):
    """A function that prints how many tries of a command ended how."""

    def print_counts(name, counter):
        with capsys.disabled():
            print(f"\n{name:20}", ", ".join(f"{n} {what}" for what, n in counter.items()))

    return print_counts


def work(folder, command, output):
    """Run a command in this process, as its script does."""
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it
    script, *arguments = command
    with open(output, "w", encoding="utf-8") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    sys.argv = [f"{script.rpartition('.')[2]}.py", *arguments]
    module = importlib.import_module(script)
    if script == "dataset.gtzan":
        module.TABLE = dict.fromkeys(("jazz", "pop"), ("0-2", "5-6", "7-8"))

    if script != "visualize":  # drawing would take most of the time
        canvas.save_picture = lambda path, *_: write_text(path, "a picture")

    def main():
        Path(f"{output}.began").touch()
        return module.main(arguments)

    run_script(main)


def wait(ready, seconds):
    """Wait until `ready()` is true; fail after some seconds."""
    began = time.monotonic()
    while not ready():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)


def session(leader):
    """The processes of a session that run: those that a process has started, and itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it can end at any moment
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
            if int(number) == leader and state != "Z":
                found.append(path.parent.name)
    return found


def copy(source, target):
    """Copy a file or folder, with its times, if it is there."""
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def remove(path):
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def write_archive(folder):
    """Write a copy of GTZAN with two short genres, as an archive."""
    copy_of = folder / "copy/genres"
    for genre in ("jazz", "pop"):
        (copy_of / genre).mkdir(parents=True)
        for number in (0, 1, 2, 5, 6, 7, 8):
            path = copy_of / genre / f"{genre}.{number:05d}.wav"
            soundfile.write(path, sine(200 + number, 30, 22050), 22050)
    shutil.make_archive(folder / "gtzan", "gztar", folder / "copy")


def write_recipes(folder):
    """Write recipes of a network and of a classifier."""
    apart = {"dataset_path", "feature_path", "genres", "device", "num_workers"}
    for name, changed in (("net", {}), ("svm", {"model": "svm"})):
        used = dataclasses.replace(HPARAMS, **changed)
        kept = in_group(*CLASSICAL) if changed else dataclasses.fields(HParams)
        values = {f.name: getattr(used, f.name) for f in kept if f.name not in apart}
        differ = {key: v for key, v in values.items() if v != getattr(HParams(), key)}
        line = " ".join(word for key, value in differ.items() for word in flag_words(key, value))
        (folder / f"{name}.args").write_text(line, encoding="utf-8")


class World:
    """A folder with a data set, in which a stage runs again and again."""

    def __init__(self, folder, stage, context):
        self.folder, self.stage, self.context, self.number = folder, stage, context, 0
        folder.mkdir(parents=True)
        write_data_set(folder / "data")
        shutil.copytree(folder / "data", folder / "lists", ignore=lambda _, n: {"train_list.txt"})
        for path in (folder / "lists").glob("*_list.txt"):
            path.unlink()
        write_archive(folder)
        write_recipes(folder)
        for command in stage.before:
            assert self.run(command)[0] == 0
        self.kept = folder.with_name(f"{folder.name}-kept")
        for name in stage.outputs:
            copy(folder / name, self.kept / name)
        began = time.monotonic()
        status, text = self.run(stage.command)
        assert status == 0, text
        self.seconds = time.monotonic() - began
        self.expected = self.stage.result(self.folder)

    def start(self, command):
        """Start a command and wait until it works; return the process and its output's path."""
        self.number += 1
        output = self.folder / f"out{self.number}"
        process = self.context.Process(target=work, args=(self.folder, command, output))
        process.start()
        wait(lambda: Path(f"{output}.began").exists() or not process.is_alive(), WAIT)
        return process, output

    def end(self, process, output):
        """Wait for a process; return its status and what it printed, which has no bug in it."""
        process.join(WAIT)
        assert process.exitcode is not None, output.read_text(encoding="utf-8")
        text = output.read_text(encoding="utf-8")
        assert "Traceback" not in text and "unexpected" not in text, text
        return process.exitcode, text

    def run(self, command):
        """Run a command to its end."""
        return self.end(*self.start(command))

    def reset(self):
        """Restore what was there before the stage."""
        for name in self.stage.outputs:
            remove(self.folder / name)
            copy(self.kept / name, self.folder / name)

    def disturb(self, number, draw):
        """Send a signal at a random moment, then continue; return whether it met the command."""
        self.reset()
        process, output = self.start(self.stage.command)
        time.sleep(draw.uniform(0, self.seconds))
        if process.is_alive():
            os.kill(process.pid, number)
        status, text = self.end(process, output)
        wait(lambda: not session(process.pid), ORPHAN)
        met = status == (-number if number == signal.SIGKILL else 128 + number)
        assert met or status == 0, (status, text)
        assert not met or number == signal.SIGKILL or "interrupted" in text
        command = self.stage.command
        if self.stage.again:
            command = self.stage.again(self.folder)
        status, text = self.run(command)
        assert status == 0 or (not met and "is not empty" in text), text
        assert self.stage.result(self.folder) == self.expected
        if not met:  # the first run, which was timed, can have been a slow one
            self.seconds *= 0.9
        return met

    def twice(self, draw):
        """Run the command two at once; return whether one of them said that it has to wait."""
        self.reset()
        first = self.start(self.stage.command)
        time.sleep(draw.choice([0, draw.uniform(0, 0.5 * self.seconds)]))
        ended = [self.end(*each) for each in (self.start(self.stage.command), first)]
        statuses = sorted(status for status, _ in ended)
        assert statuses in ([0, 0], [0, 1]), ended
        for status, text in ended:
            assert status == 0 or any(busy in text for busy in BUSY), text
        assert self.stage.result(self.folder) == self.expected
        return statuses == [0, 1]


def disturb_all(stage, signals, folder, context):
    """Disturb a stage once for each signal, in two worlds; return how often each signal met it."""

    def disturb(part):
        number, met = part, Counter()
        draw, world = random.Random(number), World(folder / str(number), stage, context)
        for each in signals[number::2]:
            met["tries"] += 1
            while not world.disturb(each, draw):  # it had ended already
                met["too late"] += 1
                assert met["too late"] < 30
            met[each.name] += 1
        return met

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(disturb, range(2)), Counter())


@pytest.mark.parametrize("name", STAGES)
def test_a_disturbed_command_continues_to_the_same_end(name, tmp_path, context, show):
    stage = STAGES[name]
    kills, stops = stage.tries
    signals = [signal.SIGKILL] * kills + [SIGNALS[number % 3] for number in range(stops)]
    show(name, disturb_all(stage, signals, tmp_path, context))


def test_compare_killed_alone_leaves_no_orphan(tmp_path, context, show):
    stage = Stage([*COMPARE, "net.args"], ["runs", "features"], comparison)
    signals = [signal.SIGKILL] * 5 + [*SIGNALS]
    show("compare", disturb_all(stage, signals, tmp_path, context))


@pytest.mark.parametrize("name", [*STAGES, *OTHERS, "compare"])
def test_two_at_once_end_as_one_does(name, tmp_path, context, show):
    stage = Stage([*COMPARE, "svm.args"], ["runs", "features"], comparison)
    stage = (STAGES | OTHERS).get(name, stage)
    world, draw = World(tmp_path / "world", stage, context), random.Random(0)
    refused = sum(world.twice(draw) for _ in range(TWICE))
    show(f"two of {name}", Counter({"one refused": refused, "both right": TWICE - refused}))
