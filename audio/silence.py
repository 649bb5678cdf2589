"""Which chunks of a track are silent, while its waveform passes by in parts."""

import numpy as np
from numpy.typing import NDArray

from audio.chunks import row_hop
from audio.reading import is_silent
from hparams import HParams


class SilenceMeter:
    """Finds the silent chunks of a waveform that comes in parts.

    >>> meter = SilenceMeter(HParams(chunk_length=2, hop_size=3))
    >>> _ = meter.listen(np.ones(7, dtype=np.float32)), meter.listen(np.zeros(9, dtype=np.float32))
    >>> meter.silent_chunks(3).tolist()
    [False, False, True]
    """

    def __init__(self, hparams: HParams) -> None:
        self.samples = hparams.chunk_length * row_hop(hparams)  # of a chunk
        self.rest = np.zeros(0, dtype=np.float32)  # the samples after the last whole chunk
        self.silent: list[bool] = []

    def listen(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples (samples,); return them as they are."""
        heard = np.concatenate([self.rest, y])
        whole = len(heard) // self.samples * self.samples
        self.silent += [is_silent(chunk) for chunk in heard[:whole].reshape(-1, self.samples)]
        self.rest = heard[whole:]
        return y

    def silent_chunks(self, count: int) -> NDArray[np.bool_]:
        """Return whether each of the first `count` chunks is silent: (count,)."""
        found = [*self.silent, is_silent(self.rest)][:count]
        return np.array(found + [True] * (count - len(found)))  # padding
