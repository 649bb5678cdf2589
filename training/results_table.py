"""The table of recipes and their scores: rows, McNemar's test, and the table as Markdown."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from support.errors import UserError
from support.files import explain_damage, hash_values, lock, read_json, write_json, write_text
from tracks.lists import Lists
from training.metrics import wilson_interval

RESULTS = Path("results")  # tables that are published, under version control
OWN = Path("runs/compare")  # all others
PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published"
Report = dict[str, Any]
SCORES: dict[str, Callable[[Report], float | None]] = {
    "valid chunks": lambda report: report["valid"].get("chunk_accuracy"),
    "valid tracks": lambda report: report["valid"]["track_accuracy"],
    "test chunks": lambda report: report.get("chunk_accuracy"),
    "test tracks": lambda report: report["track_accuracy"],
}


def make_row(command: str, reports: Sequence[Report]) -> dict[str, Any]:
    """Return a row of the table as plain values: scores by seed, and the command for it."""
    return {
        "command": command,
        "scores": {name: [get(report) for report in reports] for name, get in SCORES.items()},
        "num_tracks": reports[0]["num_tracks"],
        "parameters": reports[0].get("parameters"),
        "minutes": [report["minutes"] for report in reports],
        "device": reports[0].get("device", "CPU"),
        "machine": reports[0].get("machine", ""),  # which earlier versions did not record
        "origin": reports[0].get("origin"),  # of weights that were trained before
    }


def mcnemar(a: Report, b: Report) -> tuple[int, int, float]:
    """Test whether two reports differ, by McNemar's exact test (two-sided).

    McNemar, "Note on the sampling error of the difference between correlated proportions" (1947).
    Returns how many tracks only a and only b classifies correctly, and the probability of a
    difference this large or larger by chance. Raises `UserError` if the tracks are different.
    """
    if [row["track"] for row in a["tracks"]] != [row["track"] for row in b["tracks"]]:
        raise UserError("McNemar's test needs the same tracks: one of the two left some out")
    right = [[row["predicted"] == row["genre"] for row in each["tracks"]] for each in (a, b)]
    # tracks that both classify alike say nothing about which is better
    only_a = sum(x and not y for x, y in zip(*right))
    only_b = sum(y and not x for x, y in zip(*right))
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return only_a, only_b, p


def make_pair(
    command: str, labels: Sequence[str], reports: Sequence[Sequence[Report]], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return McNemar's test of two rows as plain values: its command, the rows, its text."""
    lines = [f"McNemar's test on the test tracks, {labels[0]} against {labels[1]}:", ""]
    for seed, a, b in zip(seeds, *reports):
        only_a, only_b, p = mcnemar(a, b)
        lines.append(
            f"- seed {seed}: only the first is right on {only_a} tracks, only the second on "
            f"{only_b}, p = {p:.2g}"
        )
    if len(seeds) > 1:
        lines += ["", "The tracks are the same for every seed: these are not independent tests."]
    return {"command": command, "rows": list(labels), "text": "\n".join(lines)}


def percent(values: Sequence[float | None]) -> str:
    """Return mean and standard deviation of accuracies, in percent; empty if one is missing."""
    known = [value for value in values if value is not None]  # classic.py scores no chunks
    if len(known) < len(values):
        return ""
    mean = f"{100 * statistics.mean(known):.1f}"
    return f"{mean} ± {100 * statistics.stdev(known):.1f}" if len(known) > 1 else mean


def format_row(name: str, row: dict[str, Any]) -> str:
    """Return a row as Markdown."""
    tracks, scores = row["num_tracks"], row["scores"]
    low, high = wilson_interval(round(tracks * statistics.mean(scores["test tracks"])), tracks)
    cells = [
        *(name, len(row["minutes"]), *(percent(scores[column]) for column in SCORES)),
        f"{100 * low:.0f} to {100 * high:.0f}",
        "" if row["parameters"] is None else f"{row['parameters']:,}",
        format_minutes(statistics.mean(row["minutes"])),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def format_rows(rows: dict[str, Any]) -> list[str]:
    """Return the lines of a table with these rows."""
    columns = ["recipe", "seeds", *SCORES, "95 % interval", "parameters", "minutes"]
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return [*head, *(format_row(name, row) for name, row in rows.items())]


def format_origins(rows: dict[str, Any]) -> list[str]:
    """Return a line for each run that rows start from: what it was trained on."""
    origins = {row["origin"]["run"]: row["origin"] for row in rows.values()}
    return [
        f"- `{run}` was trained on {origin['trained_on']}"
        + (f"; {origin['note']}." if origin["note"] else ".")
        for run, origin in origins.items()
    ]


def format_minutes(minutes: float) -> str:
    """Return minutes with two significant digits, but never as a power of ten."""
    return f"{minutes:.2g}" if minutes < 99.5 else f"{minutes:.0f}"


def format_results(results: dict[str, Any]) -> str:
    """Return a table as Markdown."""
    data, rows = results["name"], results["rows"]
    places = {(row["device"], row.get("machine", "")) for row in rows.values()}
    devices = "; ".join(", ".join(filter(None, place)) for place in sorted(places))
    lines = [
        f"# {data}: {results['sizes']} tracks of {len(results['genres'])} classes",
        "",
        f"Accuracy in percent, mean ± standard deviation over seeds ({results['chance']:.1f} % for "
        "always predicting the most frequent class of the test tracks). The Wilson interval is for "
        "the mean number of correct test tracks: it shows how far another sample of as many tracks "
        f"could move the row. Minutes of training per run ({devices}).",
    ]
    if own := {name: row for name, row in rows.items() if not row.get("origin")}:
        lines += ["", *format_rows(own)]
    if pretrained := {name: row for name, row in rows.items() if row.get("origin")}:
        lines += ["", "With weights that were trained on other data:", ""]
        lines += [*format_rows(pretrained), "", *format_origins(pretrained)]
    for pair in results["pairs"].values():
        lines += ["", pair["text"], "", f"    {pair['command']}"]
    lines += ["", "Commands for the rows:", "", *(f"    {row['command']}" for row in rows.values())]
    return "\n".join(lines) + f"\n{find_published(results.get('split', ''))}"


def split_digest(lists: Lists) -> str:
    """Return a hash of the tracks of each split, without suffix: GTZAN has .wav or .au files."""
    return hash_values([sorted(n.rpartition(".")[0] for n in names) for names in lists.values()])


def find_published(split: str) -> str:
    """Return the text on what others have published on a split; empty if there is none.

    The first line of a file in `PUBLISHED` names its split, by `split_digest`.
    """
    for path in sorted(PUBLISHED.glob("*.md")):
        named, _, text = path.read_text(encoding="utf-8").partition("\n")
        if named == f"<!-- split {split} -->":
            return f"\n{text.strip()}\n"
    return ""


def choose_table(data: dict[str, Any], publish: bool = False) -> Path:
    """Return the path of the table: the data set's name, with a hash if other data has that."""
    path = (RESULTS if publish else OWN) / f"{data['name']}.json"
    if not path.exists() or read_table(path)["tracks"] == data["tracks"]:
        return path
    other = path.with_name(f"{data['name']}-{data['tracks'][:8]}.json")
    print(f"*** {path} has other audio, tracks or genres: this table is {other}")
    return other


def read_table(path: Path) -> dict[str, Any]:
    """Return the values of a table. Raises `UserError` if it is damaged."""
    with explain_damage(path, "delete it; runs are kept, and the same commands make it again"):
        results = read_json(path)
        # whatever is missing is noticed here
        results["tracks"], format_results(results)
        [set(pair["rows"]) for pair in results["pairs"].values()]
    return results


def describe_place(row: dict[str, Any]) -> str:
    """Return how many runs a row has, and where they were made."""
    seeds = len(row["minutes"])
    place = ", ".join(filter(None, (row["device"], row.get("machine"))))
    return f"{seeds} seed{'s' * (seeds > 1)}, {place}"


def choose_label(rows: dict[str, Any], label: str, row: dict[str, Any]) -> str:
    """Return the label of a new row: one that replaces a row has its place, and as many seeds."""
    if (old := rows.get(label)) is None:
        return label
    same_place = all(old.get(name, "") == row[name] for name in ("device", "machine"))
    if same_place and len(row["minutes"]) >= len(old["minutes"]):
        return label
    other = f"{label} ({describe_place(row)})"
    print(f"*** the row {label} ({describe_place(old)}) is kept; the new one is {other}")
    return other


def add_result(path: Path, data: dict[str, Any], part: str, key: str, value: Any) -> str:
    """Add a value to `part` ("rows" or "pairs") of a table; a new table starts with `data`.

    Returns its key: a row of another machine, or with more seeds, keeps its own.
    """
    busy = f"{path}: another command is writing it; waiting until it ends"
    with lock(OWN / f"{path.stem}.lock", busy, wait=True):
        # read here, as another command can have changed the table
        results = read_table(path) if path.exists() else data | {"rows": {}, "pairs": {}}
        if part == "rows":
            key = choose_label(results["rows"], key, value)
        before = results[part].get(key)
        results[part][key] = value
        if part == "rows" and before and before["scores"] != value["scores"]:
            pairs = results["pairs"].items()  # their tests are of the old scores
            results["pairs"] = {k: pair for k, pair in pairs if key not in pair["rows"]}
        write_json(path, results)
        write_text(path.with_suffix(".md"), format_results(results))
    return key
