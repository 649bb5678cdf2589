"""Compare recipes: run each with several seeds on one data set, and tabulate the results.

    python compare.py --dataset_path dataset/demo --recipes recipes/compact1d.args
    python compare.py --dataset_path dataset/demo --recipes recipes/*.args --pair compact1d mfcc-svm

Any other flag applies to all runs and overrides their recipe. Runs are in `runs/compare/<data>`. A
finished run is not repeated, and an interrupted one is continued, unless settings, tracks, features
or model.py have changed. `runs/compare/<data>.json` keeps the rows of all commands, and
`runs/compare/<data>.md` shows them; with `--publish` both are in `results`. A table belongs to one
set of lists and audio; if these differ, the table is `<data>-<digest>`.
"""

import support.start  # first: Ctrl-C ends it quietly while modules load

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hparams import CLASSICAL, HParams, in_group
from support.errors import UserError, run_script
from support.files import hash_file, lock, own_path
from support.flags import (
    command_line,
    flag_words,
    given_flags,
    make_parser,
    replace_given,
    setting,
)
from support.forms import check_form, is_number, is_share
from support.parallel import run_jobs
from support.rules import check_rules, positive
from tracks.catalog import LABELS, Catalog, digest, read_catalog
from tracks.lists import genre_of, source_path
from training.build import is_network
from training.checkpoint import model_code, read_report
from training.results_table import (
    OWN,
    Report,
    add_result,
    choose_table,
    make_pair,
    make_row,
    split_digest,
)
from training.runs import lock_run, named_weights
from training.transfer import parse_settings

ROOT = Path(__file__).resolve().parent


@dataclasses.dataclass
class Comparison:
    """The settings of this script."""

    recipes: list[str] = setting([], "comparison", "files of flags to compare, one per row")
    num_seeds: int = setting(3, "comparison", "runs of each recipe, with seeds from --seed on")
    pair: list[str] = setting([], "comparison", "two recipes to compare with McNemar's test")
    publish: bool = setting(False, "comparison", "write the table to results, not to runs/compare")

    def validate(self) -> None:
        """Raise `UserError` for settings that cannot work."""
        check_rules(self, [positive("num_seeds")])


class Recipe(NamedTuple):
    """A file of flags, the flags for all runs, and the settings that result."""

    path: Path
    given: dict[str, Any]
    hparams: HParams

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.stem

    @property
    def label(self) -> str:
        """The name of its row: that of the file, and the flags for all runs except data flags."""
        data = {f.name for f in in_group("data")}
        given = {name: value for name, value in self.given.items() if name not in data}
        return " ".join([self.name, *as_words(given)])

    @property
    def folder(self) -> Path:
        """The folder of all runs on the data set."""
        return OWN / self.hparams.data_name()

    def words(self, *groups: str) -> list[str]:
        """Return words of a command line: the file, and the flags for all runs in these groups."""
        names = {f.name for f in (in_group(*groups) if groups else dataclasses.fields(HParams))}
        return [f"@{self.path}", *as_words({n: v for n, v in self.given.items() if n in names})]


def as_words(settings: dict[str, Any]) -> list[str]:
    """Return settings as words of a command line."""
    return [word for name, value in settings.items() for word in flag_words(name, value)]


def parse(argv: Sequence[str] | None = None) -> tuple[HParams, Comparison, dict[str, Any]]:
    """Parse the command line; return also, by name, the flags for all runs."""
    parser = make_parser(HParams(), Comparison())
    given = given_flags(parser, argv)
    hparams: HParams = replace_given(HParams(), given, parser)
    comparison: Comparison = replace_given(Comparison(), given, parser)
    # neither the settings of this script nor the first seed are flags of all runs
    own = {f.name for f in dataclasses.fields(Comparison)} | {"seed"}
    return hparams, comparison, {n: value for n, value in given.items() if n not in own}


def read_recipes(
    hparams: HParams, comparison: Comparison, given: dict[str, Any]
) -> dict[str, Recipe]:
    """Read the recipes, by name; the flags for all runs override theirs.

    Raises `UserError` if there is no recipe, if two share a name, if one is for tagging or names
    data of its own, and if `pair` does not name two of them.
    """
    for name in given.keys() & {"resume", "run_path", "model"}:
        raise UserError(f"--{name} {given[name]}: each run has its own; leave it out")
    recipes: dict[str, Recipe] = {}
    for path in map(Path, comparison.recipes):
        if path.stem in recipes:
            raise UserError(f"--recipes has {path.stem} twice: their rows would share a name")
        settings = read_settings(path, given)
        if not LABELS[settings.task].are_folders:
            raise UserError(f"{path.stem}: --task {settings.task} has no accuracies to compare")
        if settings.dataset_path != hparams.dataset_path:
            raise UserError(f"{path} names a data set: pass it by --dataset_path, for all recipes")
        if settings.genres != hparams.genres:
            raise UserError(f"{path} names genres: pass them by --genres, for all recipes")
        recipes[path.stem] = Recipe(path, given, settings)
    if not recipes:
        raise UserError("no recipe: pass for example --recipes recipes/compact1d.args")
    pair = comparison.pair
    if pair and not (len(pair) == len({*pair} & recipes.keys()) == 2):
        raise UserError(f"--pair {' '.join(pair)}: name two of the recipes: {', '.join(recipes)}")
    return recipes


def read_settings(path: Path, given: dict[str, Any]) -> HParams:
    """Read a recipe and the flags for all runs. Raises `UserError` if they contradict a run."""
    words = [f"@{path}", *as_words(given)]
    name = given_flags(make_parser(HParams()), words).get("model", HParams().model)
    try:
        # a classifier keeps its name; a network's is that of the run it starts from
        return parse_settings(words, model=is_network(name))
    except UserError as error:
        raise UserError(f"{path.stem}: {error}") from error


def run_folder(recipe: Recipe, seed: int, catalog: Catalog) -> Path:
    """Return the folder of a run: its name has a hash of everything that affects the outcome."""
    fields = in_group("feature", "model", "training", "augmentation")
    irrelevant = {"device", "tensorboard"}  # a run on another device is not repeated
    settings = {f.name: getattr(recipe.hparams, f.name) for f in fields if f.name not in irrelevant}
    start = recipe.hparams.init_from
    # classifiers do not depend on model.py, unless they classify what a network makes of a track
    code = model_code() if is_network(recipe.hparams.model) or start else ""
    tracks = [digest(split) for split in catalog.splits.values()]
    weights = [hash_file(named_weights(start))] if start else []
    values = json.dumps([settings, catalog.hparams.genres, tracks, code, *weights])
    return recipe.folder / f"{recipe.name}-{seed}-{hashlib.sha256(values.encode()).hexdigest()[:8]}"


def call(script: str, words: Sequence[str], log: Path) -> None:
    """Run a script with its output in `log`. Raises `UserError` if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        status = run_child([sys.executable, str(ROOT / script), *words], file)
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        # the last line is the message of the error
        printed = [line for line in lines if line.strip()] or [f"exit status {status}"]
        raise UserError(f"{script} failed: {printed[-1]} (its output: {log})")


def run_child(command: Sequence[str], file: TextIO) -> int:
    """Run a command with its output in a file; return its status. It ends when this process does.

    At the end of this process, killed or not, the system closes the pipe, which the child notices.
    """
    environment = os.environ | {support.start.END_WITH_PARENT: "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": file, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            return process.wait()
        finally:
            process.communicate()  # after Ctrl-C: closes the pipe and waits until the child ends


def extract_features(recipe: Recipe, catalog: Catalog, known: dict[Path, Catalog]) -> Catalog:
    """Extract the missing features of a recipe; return the data set with its features.

    `known` caches it by feature folder, since recipes can share features.
    """
    busy = f"{recipe.label}, features: another command is extracting; waiting until it ends"
    # the second is of an extraction that another command, which was killed, left behind
    with lock(recipe.folder / "features.lock", busy, wait=True):
        with lock(recipe.hparams.feature_folder() / "features.lock", busy, wait=True):
            pass
        log = recipe.folder / f"{recipe.name}-features.log"
        call("feature_extraction.py", recipe.words(), log)
    folder = recipe.hparams.feature_folder()
    if folder not in known:
        hparams = dataclasses.replace(recipe.hparams, genres=catalog.hparams.genres)
        known[folder] = dataclasses.replace(catalog, hparams=hparams)
        known[folder].check_for_training()
    return known[folder]


def run_seed(recipe: Recipe, seed: int, catalog: Catalog) -> Report:
    """Return the report of a run; start or continue the run unless it is finished."""
    folder = run_folder(recipe, seed, catalog)
    log = Path(f"{folder}.log")
    busy = f"{recipe.label}, seed {seed}: another command is running it; waiting until it ends"
    with lock(Path(f"{folder}.lock"), busy, wait=True):
        if (report := finished_report(folder)) is None:
            print(f"{recipe.label}, seed {seed}: {log}", flush=True)
            train(recipe, ["--seed", str(seed), "--run_path", str(folder)], folder, log)
            report = finished_report(folder)
    if report is None:
        raise UserError(f"{folder} has no report, though the run has ended: see {log}")
    return report


def finished_report(folder: Path) -> Report | None:
    """Return the report of a run; None if it has none, or if that is damaged, which is printed."""
    try:
        report = read_report(folder)
        if report is not None:
            check_form(report, {"valid": {"track_accuracy": is_share}, "minutes": is_number})
        return report
    except (UserError, ValueError, KeyError) as error:
        print(f"*** {folder / 'report.json'}: {error}", flush=True)
        return None


def train(recipe: Recipe, own: list[str], folder: Path, log: Path) -> None:
    """Start a run in a folder, or continue the one there. Raises `UserError` if it fails."""
    with lock_run(folder, wait=True):  # of a process that a killed command left behind
        # a classifier starts again; what is there is of a killed process
        if not is_network(recipe.hparams.model):
            shutil.rmtree(own_path(Path("runs"), str(folder.relative_to("runs"))), True)
    if not is_network(recipe.hparams.model):
        call("classic.py", [*recipe.words(*CLASSICAL), *own], log)
    elif (folder / "hparams.json").exists():
        call("train_test.py", ["--resume", str(folder)], log)
    else:
        call("train_test.py", [*recipe.words(), *own], log)


def make_command(
    recipes: Sequence[Recipe], hparams: HParams, comparison: Comparison, *more: str
) -> str:
    """Return the command that repeats the rows of recipes, which share their flags for all runs."""
    settings = {
        "recipes": [recipe.path.as_posix() for recipe in recipes],
        "num_seeds": comparison.num_seeds,
        "seed": hparams.seed,
    }
    words = as_words(settings | recipes[0].given)
    return command_line("python", "compare.py", *words, *more)


def describe_data(catalog: Catalog) -> dict[str, Any]:
    """Return what all rows of a table share: tracks, genres, the accuracy of a constant guess."""
    lists = catalog.lists
    paths = [source_path(catalog.hparams, name) for names in lists.values() for name in names]
    hashes = run_jobs(lambda path: hash_file(path) if path.is_file() else "", paths, label="Hash")
    tracks = json.dumps([lists, *hashes])
    genres = [genre_of(name) for name in lists["test"]]
    return {
        "name": catalog.hparams.data_name(),
        "tracks": hashlib.sha256(tracks.encode()).hexdigest()[:32],
        "split": split_digest(lists),
        "sizes": "/".join(str(len(names)) for names in lists.values()),
        "genres": catalog.hparams.genres,
        "chance": 100 * max(map(genres.count, genres)) / len(genres),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing and write the table by row; if a recipe fails, the others still run."""
    hparams, comparison, given = parse(argv)
    recipes = read_recipes(hparams, comparison, given)
    catalog = read_catalog(hparams)
    known: dict[Path, Catalog] = {}
    reports: dict[str, list[Report]] = {}
    seeds = range(hparams.seed, hparams.seed + comparison.num_seeds)
    data = describe_data(catalog)
    table = choose_table(data, comparison.publish)
    labels: dict[str, str] = {}  # of the rows, by recipe
    for recipe in recipes.values():
        try:
            features = extract_features(recipe, catalog, known)
            reports[recipe.name] = [run_seed(recipe, seed, features) for seed in seeds]
        except UserError as error:
            print(f"*** {recipe.label}: {error}", flush=True)
            continue
        row = make_row(make_command([recipe], hparams, comparison), reports[recipe.name])
        # now, in case the command is stopped
        labels[recipe.name] = add_result(table, data, "rows", recipe.label, row)
    if comparison.pair and {*comparison.pair} <= reports.keys():
        pair = [recipes[name] for name in comparison.pair]
        command = make_command(pair, hparams, comparison, "--pair", *comparison.pair)
        both = [reports[name] for name in comparison.pair]
        value = make_pair(command, [labels[each.name] for each in pair], both, seeds)
        add_result(table, data, "pairs", " ".join(value["rows"]), value)
    if table.exists():
        shown = table.with_suffix(".md")
        print(f"\n{shown.read_text(encoding='utf-8')}\nWritten: {shown}")
    if failed := recipes.keys() - reports.keys():
        raise UserError(f"{', '.join(sorted(failed))}: failed, see above; other rows are written")


if __name__ == "__main__":
    run_script(main)
