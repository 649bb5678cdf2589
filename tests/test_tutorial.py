"""The tutorial's two sources match each other and their notebooks; no kernel needed."""

import json
import re

import pytest
from conftest import ROOT

NAMES = ("tutorial", "tutorial.ko")
MARKDOWN = "# %% [markdown]"


def read_cells(name):
    """The cells of a source in jupytext's percent format: a list of (first line, text)."""
    text = (ROOT / f"tutorial/{name}.py").read_text(encoding="utf-8")
    marked = re.split(r"^(# %%.*)\n", text, flags=re.MULTILINE)[1:]
    cells = [(mark, body.strip("\n")) for mark, body in zip(marked[::2], marked[1::2])]
    return [(mark, uncomment(body) if mark == MARKDOWN else body) for mark, body in cells]


def uncomment(text):
    return re.sub("^# ?", "", text, flags=re.MULTILINE)


def prose(name):
    return [text for mark, text in read_cells(name) if mark == MARKDOWN]


def answers(name):
    return re.findall(r"^```python\n.*?^```$", "\n".join(prose(name)), re.MULTILINE | re.DOTALL)


def outline(text):
    """What a translation keeps: levels of headings, exercises, formulas, rows of tables, lists."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall("^#+(?= )", text, re.MULTILINE)
    exercises = re.findall(r"^\*\*(\d+\.\d+)\*\*", text, re.MULTILINE)
    blocks = [len(re.findall(mark, text, re.MULTILINE)) for mark in (r"\$\$", r"^\|", "^- ")]
    return headings, exercises, blocks


def test_both_languages_have_the_same_code_cells():
    english, korean = ([cell for cell in read_cells(n) if cell[0] != MARKDOWN] for n in NAMES)
    assert len(english) > 80
    assert english == korean


def test_both_languages_have_the_same_structure():
    english, korean = map(prose, NAMES)
    assert len(english) == len(korean)
    for ours, theirs in zip(english, korean):
        assert outline(ours) == outline(theirs), theirs
    assert answers("tutorial") == answers("tutorial.ko")


def test_the_korean_prose_is_korean():
    assert not [text for text in prose("tutorial.ko") if not re.search("[가-힣]", text)]
    assert not [text for text in prose("tutorial") if re.search("[가-힣]", text)]


@pytest.mark.parametrize("name", NAMES)
def test_each_section_has_exercises_with_folded_answers(name):
    text = "\n".join(prose(name))
    sections = re.split(r"^## (?=\d+\. )", text, flags=re.MULTILINE)[1:]
    assert len(sections) == 12
    for number, section in enumerate(sections, start=1):
        exercises = re.findall(rf"^\*\*{number}\.\d+\*\* ", section, re.MULTILINE)
        folded = re.findall(
            r"^<details><summary>\w+</summary>\n\n.+?\n\n</details>$",
            section,
            re.MULTILINE | re.DOTALL,
        )
        assert len(exercises) == len(folded) == section.count("<details>") >= 2


@pytest.mark.parametrize("name", NAMES)
def test_links_of_the_contents_lead_to_headings(name):
    text = "\n".join(prose(name))
    headings = {line.replace(" ", "-") for line in re.findall(r"^#+ (.*)", text, re.MULTILINE)}
    links = re.findall(r"\]\(#(.*?)\)", text)
    assert len(links) == 12
    assert set(links) <= headings


@pytest.mark.parametrize("name", NAMES)
def test_emphasis_ends_where_markdown_sees_its_end(name):
    text = "\n".join(prose(name))
    assert not re.findall(r"[^\s*]*[)\]\"'.:!?]\*{1,2}\w", text)  # **a(b)**c stays as it is


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_up_to_date(name):
    path = ROOT / f"tutorial/{name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    built = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    source = [
        ("markdown", text)
        if mark == MARKDOWN
        else ("code", re.sub("^# %", "%", text, flags=re.MULTILINE))
        for mark, text in read_cells(name)
    ]
    assert built == source, f"{path.name} is out of date: run `make notebook`"


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_folds_what_its_source_folds(name):
    cells = json.loads((ROOT / f"tutorial/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    folded = [cell["metadata"].get("jupyter", {}).get("source_hidden", False) for cell in cells]
    assert folded == ["source_hidden" in mark for mark, _ in read_cells(name)]
    tagged = [cell["metadata"].get("tags", []) == ["hide-input"] for cell in cells]
    assert tagged == folded
    assert sum(folded) >= 3
