"""Fonts of pictures, and figures in a notebook."""

import copy
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from conftest import ROOT
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib import pyplot as plt

from support.canvas import HANGUL_FONTS, hangul_fonts, new_axes, save_picture


def test_a_notebook_keeps_the_figures_that_it_shows():
    code = (
        "import sys, types, matplotlib; matplotlib.use('svg'); "
        "{}import audio.plots; sys.exit(matplotlib.get_backend())"
    )
    for first, backend in (("sys.modules['ipykernel'] = types; ", "svg"), ("", "agg")):
        command = [sys.executable, "-c", code.format(first)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.stderr.strip().lower() == backend


@pytest.fixture
def no_hangul(tmp_path, monkeypatch):
    """A font list and a font cache of matplotlib without any font that has Hangul."""
    manager = copy.copy(font_manager.fontManager)
    manager.ttflist = [font for font in manager.ttflist if font.name not in HANGUL_FONTS]
    monkeypatch.setattr(font_manager, "fontManager", manager)
    monkeypatch.setattr(matplotlib, "get_cachedir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    (tmp_path / "cache").mkdir()
    hangul_fonts.cache_clear()
    yield tmp_path
    hangul_fonts.cache_clear()


def write_font(path, name):
    """A font file of that name, with the letters of DejaVu Sans."""
    font = TTFont(font_manager.findfont("DejaVu Sans"))
    for record in font["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = name
    font.save(path)


def test_a_font_that_is_newer_than_the_cache_is_found_and_cached(no_hangul, monkeypatch):
    assert hangul_fonts() == []
    hangul_fonts.cache_clear()
    path = no_hangul / "NanumGothic.ttf"
    write_font(path, "NanumGothic")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path)])
    assert hangul_fonts() == ["NanumGothic"]
    [cache] = (no_hangul / "cache").glob("fontlist-*.json")
    assert "NanumGothic" in {font.name for font in font_manager.json_load(cache).ttflist}
    assert font_manager.fontManager.findfont("NanumGothic", fallback_to_default=False) == str(path)


def test_the_cache_written_is_the_one_that_matplotlib_reads():
    cache = f"fontlist-v{font_manager.FontManager.__version__}.json"
    assert Path(matplotlib.get_cachedir(), cache).is_file()


def test_letters_that_no_font_has_are_named(no_hangul, capsys):
    def plot():
        return new_axes().set_title("\U00013000").axes

    plt.close("all")
    for name in ("a.png", "b.png"):
        save_picture(no_hangul / name, plot)
        message = f"{name}: no installed font has all its letters; install Noto Sans CJK\n"
        assert capsys.readouterr().out == message
    assert plt.get_fignums() == []
