"""Whatever a list, a setting or a short waveform holds: a result, or the project's own error."""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio.chunks import resize_array
from audio.features import log_mel
from hparams import HParams
from support.errors import UserError
from tracks.catalog import read_catalog
from tracks.lists import load_lists

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LINES = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.from_regex(r"(a|b|\.\.|재즈)[/\\](x|y|\.\.)\.(wav|mp3)", fullmatch=True),
    ),
    max_size=6,
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from(["", "x", "١", "1e3", "-0"]))
FIELDS = [f.name for f in dataclasses.fields(HParams)]


@QUICK
@given(LINES, LINES, LINES, st.sampled_from(["\n", "\r\n"]), st.lists(st.text(max_size=3)))
def test_lists_are_read_or_refused(tmp_path, train, valid, test, end, genres):
    for split, lines in (("train", train), ("valid", valid), ("test", test)):
        data = end.join(lines).encode("utf-8", "surrogatepass")
        (tmp_path / f"{split}_list.txt").write_bytes(data)
    try:
        hparams = read_catalog(
            HParams(dataset_path=str(tmp_path), genres=genres), labels=False
        ).hparams
        lists = load_lists(hparams)
    except UserError:
        return
    names = [name for listed in lists.values() for name in listed]
    assert names
    assert len(set(names)) == len(names)
    assert all(name.count("/") == 1 and ".." not in name.split("/") for name in names)
    assert {name.split("/")[0] for name in names} <= set(hparams.genres)


@QUICK
@given(st.sampled_from(FIELDS), NUMBERS)
def test_settings_are_taken_or_refused(name, value):
    try:
        hparams = HParams().parse_argument([f"--{name}={value}"])
    except SystemExit as stop:
        assert stop.code == 2
        return
    hparams.validate()
    assert HParams.from_dict(hparams.to_dict()) == hparams


@QUICK
@given(st.lists(st.text(max_size=8), max_size=5))
def test_command_lines_are_taken_or_refused(words):
    try:
        HParams().parse_argument(words)
    except SystemExit as stop:
        assert stop.code in (0, 2)


@QUICK
@given(
    st.integers(0, 3000),
    st.integers(2, 600),
    st.integers(1, 700),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_short_waveforms_have_features(samples, fft_size, hop_size, num_mels, seed):
    hparams = HParams(fft_size=fft_size, win_size=fft_size, hop_size=hop_size, num_mels=num_mels)
    y = np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)
    feature = log_mel(y, hparams)
    assert feature.shape == (1 + (samples - fft_size % 2) // hop_size if samples else 1, num_mels)
    assert np.isfinite(feature).all()
    assert (feature >= 0).all()
    assert resize_array(feature, 7).shape == (7, num_mels)
