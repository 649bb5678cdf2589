"""The pages are true: their commands, flags, files, links and numbers."""

import contextlib
import dataclasses
import functools
import importlib
import io
import re
import shlex
import tomllib

import pytest
from conftest import ROOT

from docs.flags import PAGE as FLAGS_PAGE
from docs.flags import format_page
from hparams import HParams

READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
README, KOREAN = TEXTS["README.md"], TEXTS["README.ko.md"]
ROOMS = ("support", "audio", "tracks", "training")
MADE = {  # by commands, or by users: not in version control
    *("report.txt", "run.png", "filters.png", "confusion_matrix.png", "learning_curves.png"),
    *("tag_scores.png", "song.mp3-timeline.png", "song.wav-features.png", "pop.000143.npy"),
    *("train_list.txt", "valid_list.txt", "test_list.txt", "my.args", "model.ts"),
    *("runs/compare/demo.md", "runs/compare/demo-1a2b3c4d.md", "reliability.png"),
}
OTHER_FLAGS = {"--logdir", "--num_mel"}  # TensorBoard's, and a typo on a slide
TOOLS = ("docs/", "benchmarks/", "tutorial/")  # their scripts take no flags
COMMANDS = {
    page: re.findall(r"(?:^    |`)(?:\S*/)?python3? (\S+\.py[^\n`]*)", text, re.MULTILINE)
    for page, text in TEXTS.items()
}
UNIQUE_COMMANDS = sorted({command for commands in COMMANDS.values() for command in commands})


def module_of(script):
    return importlib.import_module(script.removesuffix(".py").replace("/", "."))


@functools.cache
def known_flags(script):
    """The flags in the `--help` of a script."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as stop:
        module_of(script).main(["--help"])
    assert not stop.value.code
    return set(re.findall(r"--\w+", text.getvalue()))


def scripts():
    """The scripts at the top and in `dataset`, as paths."""
    paths = [*ROOT.glob("*.py"), *ROOT.glob("dataset/*.py")]
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in paths
        if "\nif __name__ ==" in path.read_text(encoding="utf-8")
    )


def flags_in(words):
    """The flags among words of a command, and in the recipes that these name."""
    for word in words:
        if word.startswith("@"):
            yield from flags_in(shlex.split((ROOT / word[1:]).read_text("utf-8"), comments=True))
        elif word.startswith("--"):
            yield word.partition("=")[0]


@pytest.mark.parametrize("command", UNIQUE_COMMANDS)
def test_commands_are_scripts_with_flags_they_know(command, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the recipes are
    script, *arguments = shlex.split(command, comments=True)
    assert (ROOT / script).is_file()
    if script.startswith(TOOLS):
        assert not arguments
        return
    incomplete = arguments[-1:] == ["--feature"]  # "and its name"
    assert set(flags_in(arguments)) <= known_flags(script)
    parse = getattr(module_of(script), "parse", HParams().parse_argument)
    if "--init_from" in set(flags_in(arguments)):  # that run is not here
        parse = HParams().parse_argument
    if "--help" not in arguments and not incomplete:
        parse(arguments)


def test_there_are_commands_to_check():
    shown = {command.split()[0] for command in UNIQUE_COMMANDS}
    assert shown >= {
        *("data_augment.py", "feature_extraction.py", "train_test.py", "classic.py", "compare.py"),
        *("predict.py", "retrieve.py", "visualize.py", "hparams.py"),
        *(f"dataset/{name}.py" for name in ("demo", "gtzan", "make_lists", "check_leaks")),
    }
    assert len(COMMANDS["README.md"]) > 15


@pytest.mark.parametrize("page", TEXTS)
def test_flags_exist(page):
    spans = " ".join(re.findall(r"`[^`\n]+`", TEXTS[page]))
    known = {flag for script in scripts() for flag in known_flags(script)}
    assert set(re.findall(r"--\w+", spans)) - known <= OTHER_FLAGS


def test_the_flags_page_is_current():
    assert TEXTS["docs/flags.md"] == format_page(), f"run `python docs/flags.py`: {FLAGS_PAGE}"


def test_the_flags_table_is_the_settings():
    rows = re.findall(r"^\| `--(\w+)` \| (.*?) \| (.*) \|$", TEXTS["docs/flags.md"], re.MULTILINE)
    expected = []
    for f in dataclasses.fields(HParams):
        value = getattr(HParams(), f.name)
        shown = "" if value in ("", []) else f"`{value}`"
        expected.append((f.name, shown, f.metadata["help"]))
    assert rows == expected


@pytest.mark.parametrize("page", TEXTS)
def test_named_files_exist(page):
    named = set(
        re.findall(r"`((?:[\w-]+/)*[\w.-]+\.(?:py|md|args|toml|txt|cff|png|ipynb))`", TEXTS[page])
    )
    assert [name for name in sorted(named - MADE) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_names_are_in_the_files_that_pages_say(page):
    text = " ".join(TEXTS[page].split())
    pairs = re.findall(r"`([\w/]+\.py)`: `(\w+)`", text)
    pairs += [(path, name) for name, path in re.findall(r"`(\w+)` in `([\w/]+\.py)`", text)]
    for path, name in pairs:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), (path, name)


def test_every_script_is_in_the_readme():
    named = set(re.findall(r"`([\w/]+\.py)`", README))
    assert {path.name for path in ROOT.glob("*.py")} <= named
    assert set(scripts()) <= named


def test_the_design_names_every_file_of_the_rooms():
    named = set(re.findall(r"`(\w+/\w+\.py)`", TEXTS["docs/design.md"]))
    here = {
        path.relative_to(ROOT).as_posix() for room in ROOMS for path in ROOT.glob(f"{room}/*.py")
    }
    here = {path for path in here if not path.endswith("__init__.py")}
    assert {path for path in named if path.split("/")[0] in ROOMS} == here


def test_pictures_exist_and_are_small():
    shown = {
        (ROOT / page).parent / path
        for page, text in TEXTS.items()
        for path in re.findall(r"!\[.+?\]\((.+?)\)", text)
    }
    assert {path.name for path in shown} >= {"pipeline.png", "features.png", "run.png"}
    assert all(path.stat().st_size < 200_000 for path in shown)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = "\n".join(TEXTS.values())
    named = set(re.findall(r"(?:^    |`)make ([\w-]+)", text, re.MULTILINE))
    assert named == {"demo", "mine", "test", "test-extras", "bench", "lint", "figures", "notebook"}
    assert [target for target in named if f"\n{target}: " not in makefile] == []


def anchors(path):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((\S+?)\)", TEXTS[page]):
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_pages_that_messages_name_have_those_sections():
    sources = [
        *ROOT.glob("*.py"),
        *(path for room in (*ROOMS, "dataset") for path in ROOT.glob(f"{room}/*.py")),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    for page in re.findall(r"\b(?:docs/)?[\w-]+(?:\.ko)?\.md\b", text):
        others = ("demo.md", "LICENSE.md")  # a table of compare.py, a file in a wheel
        assert (ROOT / page).is_file() or page in others, page
    for section, page in re.findall(r'section "([^"]+)" of ([\w/.-]+\.md)', text):
        assert f"\n## {section}\n" in (ROOT / page).read_text(encoding="utf-8"), (section, page)


def measured(name):
    """The rows of a table of `results` by label: {label: {column: text}}."""
    text = (ROOT / "results" / f"{name}.md").read_text(encoding="utf-8")
    columns, _, *rows = (line.strip("| ").split(" | ") for line in table_lines(text))
    return {row[0]: dict(zip(columns, map(str.strip, row))) for row in rows}


def table_lines(text):
    return re.findall(r"^\|.*\|$", text, re.MULTILINE)


def shown_score(score):
    """A score as the pages show it: without a deviation of 0."""
    return score.removesuffix(" ± 0.0")


@pytest.mark.parametrize("page", ["README.md", "README.ko.md", "docs/comparing.md"])
def test_the_results_are_those_measured(page):
    rows = [line for line in table_lines(TEXTS[page]) if re.search(r"\d\.\d", line)]
    assert len(rows) >= 5
    demo, esc10 = measured("demo"), measured("esc10")
    for row in rows:
        label, on_demo, on_esc10, parameters = (cell.strip() for cell in row.strip("|").split("|"))
        recipe = re.match(r"`([\w-]+)`", label).group(1)
        of_esc10 = next(esc10[name] for name in esc10 if name.split()[0] == recipe)
        assert on_esc10 == shown_score(of_esc10["test tracks"]), recipe
        expected = demo.get(recipe, {"test tracks": "", "parameters": of_esc10["parameters"]})
        assert on_demo == shown_score(expected["test tracks"]), recipe
        assert parameters.split(" (")[0] == expected["parameters"], recipe


def test_the_augmentation_results_are_those_measured():
    rows = dict(measured("esc10"))
    copies = measured("esc10-augmented")
    plain = "compact1d --num_epochs 30 --time_mask 0 --frequency_mask 0"
    expected = {
        "none": rows[plain],
        "masks": rows["compact1d --num_epochs 30"],
        "`--mixup": rows[f"{plain} --mixup 0.2"],
        "`--gain_db": rows[f"{plain} --gain_db 6.0 --noise_snr_db 10.0"],
        "`--random_offset`": rows[f"{plain} --random_offset"],
        "copies:": copies[plain],
        "all": next(row for label, row in copies.items() if label != plain),
    }
    shown = [line for line in table_lines(TEXTS["docs/augmentation.md"]) if "±" in line]
    assert len(shown) == len(expected)
    for line in shown:
        label, tracks, chunks = (cell.strip() for cell in line.strip("|").split("|"))
        row = expected[label.split()[0]]
        assert (tracks, chunks) == (row["valid tracks"], row["valid chunks"]), label


@pytest.mark.parametrize("page", ["docs/features.md", "docs/training.md"])
def test_the_speeds_are_those_measured(page):
    section = re.split(r"^## Speed.*$", TEXTS[page], flags=re.MULTILINE)[1]
    ratios = set(re.findall(r"\b(\d\.\d) times", section))
    measured = re.findall(
        r"\*\*(\d+\.\d+)\*\*", (ROOT / "benchmarks/RESULTS.md").read_text("utf-8")
    )
    assert len(ratios) >= 2
    assert ratios <= {f"{float(ratio) + 1e-9:.1f}" for ratio in measured}


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_readme_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 200


SHARED = {  # what a section says in any language
    "command or output": lambda text: [
        re.sub(r" +#.*", "", line) for line in re.findall(r"^    .+$", text, re.MULTILINE)
    ],
    "name in backticks": lambda text: sorted(
        set(re.findall(r"`([^`]+)`", text.replace("\n", " ")))
    ),
    "link": lambda text: [
        link.replace(".ko.", ".") for link in re.findall(r"\]\((?!README|#)(\S+?)\)", text)
    ],
    "row of a table": lambda text: [
        (*re.findall(r"^\| (\w+) \| `--|`(.+?)`", row), *sorted(re.findall(r"\d[\d.,]*", row)))
        for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ],
    "number": lambda text: sorted(set(re.findall(r"\d[\d.,]*\d", text))),
}


def sections(text):
    """The text before the first heading of the second level, and each after one."""
    return re.split(r"^## .*$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("number", range(len(sections(README))))
def test_the_korean_readme_says_the_same(number, kind):
    heading = re.findall(r"^## .*$", "## \n" + README, re.MULTILINE)[number]
    english, korean = (SHARED[kind](sections(text)[number]) for text in (README, KOREAN))
    missing = [each for each in english if each not in korean]
    added = [each for each in korean if each not in english]
    assert english == korean, f"{heading}: README.ko.md lacks {missing}, and adds {added}"


def test_both_readmes_have_the_same_sections_and_name_each_other():
    assert len(sections(README)) == len(sections(KOREAN))
    assert "](README.ko.md)" in sections(README)[0]
    assert "](README.md)" in sections(KOREAN)[0]


def failing_rows():
    """Rows of docs/tutorial.md: (code, the error it raises, what to use instead)."""
    pattern = r"\| `([^`]+)` \| (\w+Error) \| `([^`]+)` \|$"
    return re.findall(pattern, TEXTS["docs/tutorial.md"], re.MULTILINE)


@pytest.fixture(scope="module")
def slide_names(tmp_path_factory):
    """The names that the slides' code uses."""
    import librosa
    import librosa.display
    import matplotlib
    import numpy as np
    import soundfile
    import torch

    from model import Baseline

    matplotlib.use("Agg")
    y = np.random.default_rng(0).standard_normal(22050).astype(np.float32)
    path = str(tmp_path_factory.mktemp("slides") / "pop.wav")
    soundfile.write(path, y / 10, 22050)
    hparams = HParams(genres=["classical", "pop"])
    optimizer = torch.optim.SGD(Baseline(hparams).parameters(), lr=0.01)
    names = {"y": y, "sr": 22050, "samples": y, "sample_rate": 22050, "path": path}
    names |= {"hparams": hparams, "optimizer": optimizer, "Baseline": Baseline, "np": np}
    return names | {"librosa": librosa, "soundfile": soundfile, "torch": torch}


@pytest.mark.parametrize(("code", "error", "instead"), failing_rows())
def test_the_slides_code_fails_and_its_replacement_runs(code, error, instead, slide_names):
    with pytest.raises(Exception) as raised:
        eval(code, slide_names)
    assert type(raised.value).__name__ == error
    eval(instead, slide_names)


def test_there_are_slides_to_try():
    assert len(failing_rows()) == 10


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
    released, date = re.search(r"^## \[?([\d.]+)\]? - ([\d-]+)$", changelog, re.MULTILINE).groups()
    assert released == version
    assert f"\ndate-released: {date}\n" in citation


def test_the_hooks_run_what_make_lint_runs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.split("\nlint: ")[1].split("\n\n")[0]
    hooked = re.findall(r"entry: python -m (.+)$", hooks, re.MULTILINE)
    made = re.findall(r"-m (.+)$", lint, re.MULTILINE)
    assert {command.split()[0] for command in hooked} == {command.split()[0] for command in made}
    assert len(hooked) == len(made)
