"""The examples in docstrings run and give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest
from conftest import ROOT, source_files, write_long

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in [*source_files(), *(ROOT / "dataset").glob("*.py")]
    if path.stem != "__init__"
)
WITH_EXAMPLES = [
    *("audio.reading.load_audio", "audio.reading.stream_audio", "audio.chunks.resize_array"),
    *(f"audio.features.{name}" for name in ("stft", "mel_filters", "log_mel", "linear_stft")),
    *(f"audio.features.{name}" for name in ("mfcc", "cqt", "extract_feature")),
    *(f"audio.effects.{name}" for name in ("time_stretch", "pitch_shift", "change_speed")),
    *(f"audio.effects.{name}" for name in ("add_noise", "shift", "percussive")),
    *(f"training.metrics.{name}" for name in ("average_by_track", "score_genres", "score_tags")),
    *("training.metrics.wilson_interval", "training.metrics.bootstrap_interval"),
    *("training.checkpoint.load_checkpoint", "training.device.find_device"),
    *("training.device.device_name", "model.build_model"),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name, weights):
    write_long(Path("song.wav"), 3)  # examples use this file and the run in runs/one
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_a_function_for_notebooks_has_sections_and_an_example(name):
    module, _, function = name.rpartition(".")
    text = getattr(importlib.import_module(module), function).__doc__
    result = "Yields" if function == "stream_audio" else "Returns"
    for section in ("Parameters", result, "Examples"):
        assert f"    {section}\n    {'-' * len(section)}\n" in text
    assert doctest.DocTestParser().get_examples(text)
