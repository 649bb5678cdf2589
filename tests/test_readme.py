"""The README is true: its flags, its defaults, its files and its commands."""

import dataclasses
import importlib
import re
import shlex

import pytest
from conftest import ROOT

from hparams import HParams

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = ("predict.py", "retrieve.py", "visualize.py")  # with flags of their own
COMMANDS = re.findall(r"^    (?:\S*python3?) (\S+\.py.*)$", README, re.MULTILINE)


def test_the_flags_table_is_the_settings():
    rows = re.findall(r"^\| *\w* \| `--(\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    expected = []
    for f in dataclasses.fields(HParams):
        value = getattr(HParams(), f.name)
        shown = "" if value in ("", []) else f"`{value}`"
        expected.append((f.name, shown, f.metadata["help"]))
    assert rows == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_scripts_with_flags_they_know(command, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the recipes are
    script, *arguments = shlex.split(command, comments=True)
    assert (ROOT / script).is_file()
    parse = HParams().parse_argument
    if script.startswith("dataset/") or script in SCRIPTS:
        parse = importlib.import_module(script.removesuffix(".py").replace("/", ".")).parse
    if "--help" not in arguments:
        parse(arguments)


def test_there_are_commands_to_check():
    assert {command.split()[0] for command in COMMANDS} == {
        *("data_augment.py", "feature_extraction.py", "train_test.py", "classic.py", "compare.py"),
        *SCRIPTS,
        *(f"dataset/{name}.py" for name in ("demo", "gtzan", "make_lists", "check_leaks")),
    }


def test_every_file_is_in_the_table():
    named = set(re.findall(r"`([\w/]+\.py)`", README))
    assert {path.name for path in ROOT.glob("*.py")} <= named
    assert all((ROOT / name).is_file() for name in named)


def test_pictures_exist_and_are_small():
    shown = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert len(shown) == 3
    assert all((ROOT / path).stat().st_size < 200_000 for path in shown)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (demo|test-extras|test|bench|lint|figures|notebook)\b", README):
        assert f"\n{target}: " in makefile


KOREAN = (ROOT / "README.ko.md").read_text(encoding="utf-8")
SHARED = {  # what a section says in any language
    "command or output": lambda text: [
        re.sub(r" +#.*", "", line) for line in re.findall(r"^    .+$", text, re.MULTILINE)
    ],
    "name in backticks": lambda text: sorted(
        set(re.findall(r"`([^`]+)`", text.replace("\n", " ")))
    ),
    "link": lambda text: re.findall(r"\]\((?!README)(\S+?)\)", text),
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
    assert english == korean, f"{heading}: README.ko.md lacks {missing}, and has {added} besides"


def test_both_readmes_have_the_same_sections_and_name_each_other():
    assert len(sections(README)) == len(sections(KOREAN))
    assert "](README.ko.md)" in sections(README)[0]
    assert "](README.md)" in sections(KOREAN)[0]


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((\S+?)\)", README + KOREAN):
        assert (ROOT / link).exists(), link
