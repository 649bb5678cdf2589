"""Compares recipes: each runs with several seeds on one data set, and fills a row of a table.

    python compare.py --dataset_path dataset/demo --recipes recipes/compact1d.args
    python compare.py --dataset_path dataset/demo --recipes recipes/*.args --pair compact1d mfcc-svm

Any other flag holds for every run, over its recipe. Runs lie in `runs/compare/<data>`: a finished
one is not repeated, an interrupted one is gone on with, and one with other settings, tracks,
features or source of its model is another run. Rows are kept in `results/<data>.json` from one
command to the next, and `results/<data>.md` is written anew from all of them. A table is of one
audio and its lists: where those differ from what is there, it is `results/<data>-<digest>`.
"""

import contextlib
import hashlib
import json
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from scipy.stats import binomtest

import model
from hparams import HParams, in_group
from support.errors import UserError, run_script
from support.files import hash_file, write_text
from support.flags import flag_words, given_flags, make_parser
from support.parallel import run_jobs
from tracks.catalog import digest, list_splits
from tracks.lists import choose_genres, genre_of, load_lists
from training.checkpoint import model_source
from training.metrics import wilson_interval

OWN_FLAGS = {"recipes", "num_seeds", "pair", "seed"}


ROOT = Path(__file__).resolve().parent


RESULTS = Path("results")


SCORES = {
    "valid chunks": lambda report: report["valid"].get("chunk_accuracy"),
    "valid tracks": lambda report: report["valid"]["track_accuracy"],
    "test chunks": lambda report: report.get("chunk_accuracy"),
    "test tracks": lambda report: report["track_accuracy"],
}


class Recipe(NamedTuple):
    """A file of flags, the flags given besides, and the settings that both make."""

    path: Path
    given: dict
    hparams: HParams

    @property
    def name(self):
        return self.path.stem

    @property
    def words(self):
        """The recipe on a command line."""
        return [f"@{self.path}", *as_words(self.given)]

    @property
    def label(self):
        """What its row is called: its name, and what was given besides but for the data."""
        data = {f.name for f in in_group("data")}
        given = {name: value for name, value in self.given.items() if name not in data}
        return " ".join([self.name, *as_words(given)])

    @property
    def network(self):
        """Its class of model.py; None for what is none there: a classifier of classic.py."""
        value = getattr(model, self.hparams.model, None)
        return value if model.is_model(value) else None


def as_words(settings):
    """Settings by name as the words of a command line."""
    return [word for name, value in settings.items() for word in flag_words(name, value)]


def read_recipes(hparams, argv):
    """The `Recipe`s of `--recipes` by name, each with the other flags of `argv` over it.

    Raises `UserError` where there is none, where two share a name, one is of tagging or of data of
    its own, and for `--pair` of others.
    """
    given = given_flags(make_parser(hparams), argv)
    for name in given.keys() & {"resume", "run_path", "model"}:
        raise UserError(f"--{name} {given[name]}: each run has its own; leave it out")
    given = {name: value for name, value in given.items() if name not in OWN_FLAGS}
    recipes = {}
    for path in map(Path, hparams.recipes):
        if path.stem in recipes:
            raise UserError(f"--recipes names {path.stem} twice: their rows would share a name")
        settings = HParams().parse_argument([f"@{path}", *as_words(given)])
        if settings.task == "tagging":
            raise UserError(
                f"{path.stem}: --task tagging has no accuracies to compare; leave it out"
            )
        if settings.dataset_path != hparams.dataset_path:
            raise UserError(f"{path} names a data set: pass it by --dataset_path, to all recipes")
        if settings.genres != hparams.genres:
            raise UserError(f"{path} names genres: pass them by --genres, to all recipes")
        recipes[path.stem] = Recipe(path, given, choose_genres(settings))
    if not recipes:
        raise UserError("no recipe is named: pass --recipes recipes/compact1d.args, say")
    pair = set(hparams.pair)
    if pair and (len(hparams.pair) != 2 or len(pair) != 2 or not pair <= recipes.keys()):
        raise UserError(
            f"--pair {' '.join(hparams.pair)}: it takes two of the recipes: {', '.join(recipes)}"
        )
    return recipes


def run_folder(recipe, seed, splits):
    """The folder of a run: named by all that decides its outcome, but for other code."""
    fields = in_group("feature", "model", "training", "augmentation")
    apart = {"seed", "run_path", "resume", "device", "tensorboard"}
    settings = {f.name: getattr(recipe.hparams, f.name) for f in fields if f.name not in apart}
    source = model_source(recipe.network) if recipe.network else ""
    decides = [settings, recipe.hparams.genres, [*map(digest, splits.values())], source]
    code = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:8]
    return folder_of(recipe) / f"{recipe.name}-{seed}-{code}"


def folder_of(recipe):
    """The folder of all runs on a data set."""
    return Path("runs/compare", recipe.hparams.data_name())


@contextlib.contextmanager
def alone(path, what):
    """Hold a lock file inside `with`; where another command has it, say so and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{what}: another command is at it; waiting for its end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def call(script, words, log):
    """Run a script of the project, what it prints in `log`; raises `UserError` where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        command = [sys.executable, str(ROOT / script), *words]
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line for line in lines if line.strip()] or [f"exit status {status}"]
        raise UserError(f"{script} failed: {said[-1]} (all it said: {log})")


def run_recipe(recipe, seeds):
    """The reports of a recipe's runs, one a seed, after extraction of what is not extracted yet."""
    log = folder_of(recipe) / f"{recipe.name}-features.log"
    with alone(folder_of(recipe) / "features.lock", f"{recipe.label}, features"):
        call("feature_extraction.py", recipe.words, log)
    splits = list_splits(recipe.hparams)
    return [run(recipe, seed, splits) for seed in seeds]


def run(recipe, seed, splits):
    """The report of a run, which is started, gone on with, or done already."""
    folder = run_folder(recipe, seed, splits)
    path = folder / "report.json"
    with alone(folder.with_name(f"{folder.name}.lock"), f"{recipe.label}, seed {seed}"):
        if not path.exists():
            print(f"{recipe.label}, seed {seed}: {folder}.log", flush=True)
            train(recipe, seed, folder)
        return json.loads(path.read_text(encoding="utf-8"))


def train(recipe, seed, folder):
    """Start a run in a folder, or go on with the one there. Raises `UserError` where it fails."""
    log = folder.with_name(f"{folder.name}.log")
    words = [*recipe.words, "--seed", str(seed), "--run_path", str(folder)]
    if recipe.network is None:
        shutil.rmtree(folder, ignore_errors=True)  # of a kill: a classifier begins again
        call("classic.py", words, log)
    else:
        begun = (folder / "hparams.json").exists()
        call("train_test.py", ["--resume", str(folder)] if begun else words, log)


def make_command(recipes, hparams, *more):
    """The command that makes the rows of recipes, all given the same flags, again."""
    seeds = as_words({"num_seeds": hparams.num_seeds, "seed": hparams.seed})
    paths = [recipe.path.as_posix() for recipe in recipes]
    words = ["--recipes", *paths, *seeds, *as_words(recipes[0].given), *more]
    return shlex.join(["python", "compare.py", *words])


def make_row(recipe, reports, hparams):
    """A row of the table as plain values: scores by seed, and the command that makes it again."""
    return {
        "command": make_command([recipe], hparams),
        "scores": {name: [get(report) for report in reports] for name, get in SCORES.items()},
        "num_tracks": reports[0]["num_tracks"],
        "parameters": reports[0].get("parameters"),
        "minutes": [report["minutes"] for report in reports],
        "device": reports[0].get("device", "CPU"),
    }


def mcnemar(a, b):
    """McNemar's exact test of two reports: tracks only a has right, only b has, and p, two-sided.

    McNemar, "Note on the sampling error of the difference between correlated proportions" (1947).
    Raises `UserError` where they are not of the same tracks.
    """
    if [row["track"] for row in a["tracks"]] != [row["track"] for row in b["tracks"]]:
        raise UserError("McNemar's test wants the same tracks: one of the two left some out")
    right = [[row["predicted"] == row["genre"] for row in each["tracks"]] for each in (a, b)]
    only_a = sum(x and not y for x, y in zip(*right))
    only_b = sum(y and not x for x, y in zip(*right))
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return only_a, only_b, p


def describe_pair(labels, reports, seeds):
    """McNemar's test of two recipes' reports for each seed, as text."""
    lines = [f"McNemar's test on the test tracks, {labels[0]} against {labels[1]}:", ""]
    for seed, a, b in zip(seeds, *reports):
        only_a, only_b, p = mcnemar(a, b)
        lines.append(
            f"- seed {seed}: {only_a} right by the first alone, {only_b} by the second "
            f"alone, p = {p:.2g}"
        )
    if len(seeds) > 1:
        lines += ["", "The tracks are the same for every seed: these are not independent tests."]
    return "\n".join(lines)


def make_pair(pair, reports, seeds, hparams):
    """McNemar's test of two recipes as plain values: its text, rows, and the command for it."""
    labels, names = [recipe.label for recipe in pair], [recipe.name for recipe in pair]
    return {
        "command": make_command(pair, hparams, "--pair", *names),
        "rows": labels,
        "text": describe_pair(labels, [reports[name] for name in names], seeds),
    }


def percent(values):
    """Mean and standard deviation of accuracies, in percent, as text."""
    if None in values:
        return ""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def format_row(name, row):
    """A row as Markdown."""
    tracks, scores = row["num_tracks"], row["scores"]
    low, high = wilson_interval(round(tracks * statistics.mean(scores["test tracks"])), tracks)
    cells = [
        *(name, len(row["minutes"]), *(percent(scores[column]) for column in SCORES)),
        f"{100 * low:.0f} to {100 * high:.0f}",
        "" if row["parameters"] is None else f"{row['parameters']:,}",
        format_minutes(statistics.mean(row["minutes"])),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def format_minutes(minutes):
    """Minutes with two digits that tell, or all before the point."""
    return f"{minutes:.2g}" if minutes < 99.5 else f"{minutes:.0f}"


def format_results(results):
    """A table's values as Markdown."""
    data, rows = results["name"], results["rows"]
    columns = ["recipe", "seeds", *SCORES, "95 % interval", "parameters", "minutes"]
    devices = ", ".join(sorted({row["device"] for row in rows.values()}))
    lines = [
        f"# {data}: {results['sizes']} tracks of {len(results['genres'])} classes",
        "",
        f"Accuracy in percent, mean ± standard deviation over seeds ({results['chance']:.1f} % by "
        "always naming the commonest class of the test tracks). The interval is Wilson's, of test "
        "tracks, for the mean number of them right: another draw of so many tracks would move the "
        f"row so far. Minutes of training a run ({devices}).",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        *(format_row(name, row) for name, row in rows.items()),
    ]
    for pair in results["pairs"].values():
        lines += ["", pair["text"], "", f"    {pair['command']}"]
    lines += ["", "Each row again:", "", *(f"    {row['command']}" for row in rows.values())]
    published = ROOT / "results" / "published" / f"{data}.md"
    if published.exists():
        lines += ["", published.read_text(encoding="utf-8").rstrip()]
    return "\n".join(lines) + "\n"


def describe_data(hparams):
    """What all rows of a table have in common: tracks, genres and the accuracy of a guess."""
    lists = load_lists(hparams)
    genres = [genre_of(name) for name in lists["test"]]
    return {
        "name": hparams.data_name(),
        "tracks": digest_audio(lists, hparams),
        "sizes": "/".join(str(len(names)) for names in lists.values()),
        "genres": hparams.genres,
        "chance": 100 * max(map(genres.count, genres)) / len(genres),
    }


def digest_audio(lists, hparams):
    """Hex digits that differ where the lists or the audio that they name do."""
    names = [name for listed in lists.values() for name in listed]
    paths = [Path(hparams.dataset_path, name) for name in names]
    hashes = run_jobs(lambda path: hash_file(path) if path.is_file() else "", paths, label="Hash")
    return hashlib.sha256(json.dumps([lists, *hashes]).encode()).hexdigest()[:32]


def choose_table(name, data):
    """Path of the table's values: of the data set's name, where no table of other data has it."""
    path = RESULTS / f"{name}.json"
    if not path.exists() or read_table(path)["tracks"] == data["tracks"]:
        return path
    other = path.with_name(f"{name}-{data['tracks'][:8]}.json")
    print(f"*** {path} is of other audio, tracks or genres: this table is {other}")
    return other


def read_table(path):
    """The values of a table. Raises `UserError` where they are none of this version."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        results["tracks"], results["rows"], {pair["text"] for pair in results["pairs"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged, or of another version ({error}): delete it; runs are kept"
        ) from error
    return results


def add_result(path, data, part, key, value):
    """Add a row or a pair to a table, which another comparison may have added to since.

    Pairs of a row that has changed go. `data` is what a table begins with.
    """
    lock = Path("runs/compare", f"{path.stem}.lock")
    with alone(lock, path):
        results = read_table(path) if path.exists() else data | {"rows": {}, "pairs": {}}
        before = results[part].get(key)
        results[part][key] = value
        if part == "rows" and before and before["scores"] != value["scores"]:
            pairs = results["pairs"].items()
            results["pairs"] = {k: pair for k, pair in pairs if key not in pair["rows"]}
        values = json.dumps(results, indent=1, ensure_ascii=False)
        write_text(path, f"{values}\n")
        write_text(path.with_suffix(".md"), format_results(results))


def main(argv=None):
    """Run what is missing, and write the table, row after row; what fails keeps no other back."""
    hparams = HParams().parse_argument(argv, unread=("copies",))
    recipes, reports = read_recipes(hparams, argv), {}
    seeds = range(hparams.seed, hparams.seed + hparams.num_seeds)
    shared = next(iter(recipes.values())).hparams
    data = describe_data(shared)
    table = choose_table(data["name"], data)
    for recipe in recipes.values():
        try:
            reports[recipe.name] = run_recipe(recipe, seeds)
        except UserError as error:
            print(f"*** {recipe.label}: {error}", flush=True)
            continue
        row = make_row(recipe, reports[recipe.name], hparams)
        add_result(table, data, "rows", recipe.label, row)
    if hparams.pair and {*hparams.pair} <= reports.keys():
        pair = make_pair([recipes[each] for each in hparams.pair], reports, seeds, hparams)
        add_result(table, data, "pairs", " ".join(pair["rows"]), pair)
    if table.exists():
        shown = table.with_suffix(".md")
        print(f"\n{shown.read_text(encoding='utf-8')}\nWritten: {shown}")
    failed = recipes.keys() - reports.keys()
    if failed:
        raise UserError(f"{', '.join(sorted(failed))}: failed, see above; other rows are written")


if __name__ == "__main__":
    run_script(main)
