"""Silent chunks are found however the waveform is cut into parts."""

import numpy as np
import pytest

from audio.silence import SilenceMeter
from hparams import HParams


@pytest.mark.parametrize(("feature", "samples"), [("log_mel", 12), ("waveform", 4)])
def test_silent_chunks_do_not_depend_on_the_parts(rng, feature, samples):
    settings = HParams(feature=feature, chunk_length=4, hop_size=3)
    for _ in range(200):
        chunks = rng.integers(1, 6)
        silent = rng.random(chunks) < 0.5
        y = np.repeat(np.where(silent, 9e-5, -2e-4), samples).astype(np.float32)
        y = y[: rng.integers(len(y) - samples + 1, len(y) + 1)]
        meter = SilenceMeter(settings)
        for part in np.split(y, np.sort(rng.integers(0, len(y) + 1, 3))):
            assert meter.listen(part) is part
        assert meter.silent_chunks(chunks).tolist() == silent.tolist()
        assert meter.silent_chunks(chunks + 1).tolist() == [*silent, True], "padding"
