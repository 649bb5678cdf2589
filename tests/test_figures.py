"""The README's pictures: the words in the pipeline, and smaller files."""

import numpy as np
import pytest
from conftest import ROOT
from matplotlib import pyplot as plt

from support.canvas import hangul_fonts


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import figures

    yield figures
    plt.close("all")


@pytest.mark.parametrize("language", ["English", "Korean"])
def test_words_of_the_pipeline_touch_no_box(figures, language):
    if language == "Korean" and not hangul_fonts():
        pytest.skip("no font here has Hangul")
    with plt.rc_context({"font.family": ["DejaVu Sans", *hangul_fonts()]}):
        figure = figures.draw_pipeline(language)
        [ax] = figure.axes
        boxes = [patch.get_window_extent() for patch in ax.patches]
        words = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(boxes) == len(figures.BOXES) == 12 and len(words) == 2 * 12 + 4 + 1
    for word in words:
        inside = [box for box in boxes if box.overlaps(word)]
        assert len(inside) <= 1
        for box in inside:  # with a margin on all sides
            assert (box.min < word.min - 3).all() and (word.max + 3 < box.max).all()
    assert sum(any(box.overlaps(word) for box in boxes) for word in words) == 2 * 12


def test_boxes_are_files_and_folders_that_exist(figures):
    for name in figures.BOXES:
        assert all((ROOT / part).exists() for part in name.split(", "))


def test_a_picture_keeps_its_look_in_a_smaller_file(figures, tmp_path):
    path = tmp_path / "pipeline.png"
    figures.save_picture(path, figures.draw_pipeline, "English")
    before, size = plt.imread(path)[..., :3], path.stat().st_size
    figures.shrink(path)
    after = plt.imread(path)[..., :3]
    assert path.stat().st_size < size / 2
    assert np.abs(after - before).mean() < 0.02
