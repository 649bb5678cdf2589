"""The facts about the published weights."""

import json

import pytest
from conftest import ROOT

from training.musicnn import PUBLISHED


def test_the_published_values_are_those_measured():
    path = ROOT.parent / "shared/golden_musicnn.json"
    if not path.is_file():
        pytest.skip("the measured values are not in ../shared")
    golden = json.loads(path.read_text(encoding="utf-8"))
    for each in PUBLISHED.values():
        assert each.hparams.tags == golden[each.folder]["labels"]
        assert [*map(float, each.probabilities.split())] == golden[each.folder]["tags"]
        first = golden[each.folder]["penultimate_first_patch"][:20]
        assert [*map(float, each.embedding.split())] == first
