"""The published weights of `MusiCNN`: their training data, and the values that they must give.

They come from the package musicnn 0.1.0 (Pons and Serra, 2019), which has one TensorFlow checkpoint
per data set. It numbers the layers of each kind in the order in which model.py creates them.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audio.chunks import cut_chunks
from audio.features import extract_feature
from hparams import HParams
from model import build_model
from support.errors import UserError
from training.tensor_bundle import read_bundle
from training.trained_run import TrainedRun

# A song has two or three of these tags, and few get more than 0.5. For calibrated probabilities the
# best threshold is half of the best F1, and that is about 0.4 for such taggers.
THRESHOLD = 0.2
TOLERANCE = 1e-4  # for the values that a test signal must give
BATCH_NORM = {
    **{"weight": "gamma", "bias": "beta"},
    **{"running_mean": "moving_mean", "running_var": "moving_variance"},
}
LAYERS = {  # by kind of layer: its name in a checkpoint, and the names of its weights
    nn.Conv2d: ("conv2d", {"weight": "kernel", "bias": "bias"}),
    nn.Linear: ("dense", {"weight": "kernel", "bias": "bias"}),
    nn.BatchNorm1d: ("batch_normalization", BATCH_NORM),
    nn.BatchNorm2d: ("batch_normalization", BATCH_NORM),
}


class Published(NamedTuple):
    """Weights in the package, and what they give for `reference_signal`."""

    folder: str  # in the wheel
    data_set: str
    trained_on: str
    note: str  # about other data sets that may have the same songs
    tags: str
    probabilities: str  # of the tags: the mean over two chunks
    embedding: str  # of the first chunk: the first 20 values

    @property
    def hparams(self) -> HParams:
        """The settings of the network."""
        return HParams(
            dataset_path=self.data_set,
            task="tagging",
            tags=[tag.strip() for tag in self.tags.split(",")],
            scale="musicnn",
            sample_rate=16000,
            fft_size=512,
            win_size=512,
            hop_size=256,
            num_mels=96,
            feature_length=0,
            chunk_length=187,
            model="MusiCNN",
            normalize="none",
        )


PUBLISHED = {
    "musicnn-msd": Published(
        folder="MSD_musicnn",
        data_set="Million Song Dataset",
        trained_on="the Million Song Dataset, about 200,000 songs",
        note="it may hold songs of GTZAN",
        tags="""
            rock, pop, alternative, indie, electronic, female vocalists, dance, 00s,
            alternative rock, jazz, beautiful, metal, chillout, male vocalists, classic rock, soul,
            indie rock, Mellow, electronica, 80s, folk, 90s, chill, instrumental, punk, oldies,
            blues, hard rock, ambient, acoustic, experimental, female vocalist, guitar, Hip-Hop,
            70s, party, country, easy listening, sexy, catchy, funk, electro, heavy metal,
            Progressive rock, 60s, rnb, indie pop, sad, House, happy
        """,
        probabilities="""
            .021425 .009368 .059706 .157912 .588001 .042436 .013398 .016035 .006781 .003235 .039435
            .002824 .054745 .000802 .000262 .000202 .026081 .012575 .172464 .001423 .015345 .001192
            .012931 .063588 .001955 .000162 .000839 .000354 .257705 .002924 .234886 .003660 .001386
            .001224 .000125 .001685 .000130 .001375 .002319 .001549 .000261 .088155 .000411 .005436
            .000132 .000082 .027090 .004374 .004258 .001303
        """,
        embedding="""
            -0.17718 -0.12703 -0.28483 -0.27512 -0.35315 0.14359 -0.25741 2.52943 -0.07686 2.86144
            -0.31197 0.79770 -0.11183 -0.18863 -0.34731 2.62740 -0.22855 1.58624 0.88959 -0.34841
        """,
    ),
    "musicnn-mtt": Published(
        folder="MTT_musicnn",
        data_set="MagnaTagATune",
        trained_on="MagnaTagATune, about 19,000 clips",
        note="",
        tags="""
            guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano,
            ambient, beat, violin, vocal, synth, female, indian, opera, male, singing, vocals,
            no vocals, harpsichord, loud, quiet, flute, woman, male vocal, no vocal, pop, soft,
            sitar, solo, man, classic, choir, voice, new age, dance, male voice, female vocal,
            beats, harp, cello, no voice, weird, country, metal, female voice, choral
        """,
        probabilities="""
            .029344 .022974 .203162 .012602 .006705 .020851 .030411 .000661 .006248 .002903 .025600
            .014679 .001237 .011363 .017917 .005158 .019416 .005869 .008706 .009314 .005959 .029949
            .000788 .000665 .051829 .265712 .002523 .008013 .032274 .000893 .040332 .007347 .105032
            .004234 .001141 .000356 .008131 .016714 .001338 .005923 .001953 .004506 .012885 .000377
            .021342 .008999 .000247 .000111 .002410 .000315
        """,
        embedding="""
            -0.07995 0.34953 -0.09226 -0.11550 -0.07870 1.03186 0.20215 -0.22530 -0.02419 -0.63508
            0.02525 1.09358 -0.54976 -0.06263 -0.04960 0.88684 1.47576 -0.24727 0.06677 -0.09620
        """,
    ),
}


def convert(index: bytes, data: bytes, hparams: HParams) -> dict[str, Tensor]:
    """Return the weights of a model, given the two files of a checkpoint.

    Raises `ValueError` if the files are damaged, or if they do not fit the model.
    """
    model = build_model(hparams)
    weights, names = model.state_dict(), find_names(model)
    tensors = read_bundle(index, data, names.values())
    for name, source in names.items():
        weights[name] = torch.from_numpy(to_weight(source, tensors[source], weights[name].shape))
    return weights


def find_names(model: nn.Module) -> dict[str, str]:
    """Return the name of each weight's tensor in a checkpoint."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for path, layer in model.named_modules():
        if type(layer) in LAYERS:
            kind, parts = LAYERS[type(layer)]
            number = f"_{counts[kind]}" if counts[kind] else ""
            counts[kind] += 1
            names |= {f"{path}.{mine}": f"{kind}{number}/{part}" for mine, part in parts.items()}
    return names


def to_weight(name: str, tensor: NDArray[np.float32], shape: torch.Size) -> NDArray[np.float32]:
    """Return a tensor with the axes of torch. Raises `ValueError` if it has another shape."""
    if tensor.ndim == 4:  # (time, bins, inputs, outputs) -> (outputs, inputs, time, bins)
        tensor = tensor.transpose(3, 2, 0, 1)
        if tensor.shape[1] < shape[1]:  # it has the outputs of the layer before as bins
            tensor = tensor.swapaxes(1, 3)
    tensor = tensor.T if tensor.ndim == 2 else tensor
    if tensor.shape != shape:
        raise ValueError(f"the tensor {name} is {tensor.shape}, not {tuple(shape)}")
    return np.ascontiguousarray(tensor)


def reference_signal() -> NDArray[np.float32]:
    """Return six seconds of tones: (96000,) at 16 kHz."""
    t = np.arange(96_000) / 16_000
    pulse = np.sign(np.sin(2 * np.pi * 2 * t)) * np.sin(2 * np.pi * 3000 * t)
    tones = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * (440 + 50 * t) * t)
    return (tones + 0.1 * pulse).astype(np.float32)


def check_run(run: TrainedRun, published: Published) -> None:
    """Raise `UserError` unless a run has the published settings and gives the published values."""
    folder = run.weights.parent
    if run.hparams != published.hparams:
        raise UserError(f"{folder} has other settings than those of the published weights")
    feature = extract_feature(reference_signal(), run.hparams)  # (376, 96)
    [(chunks, _)] = cut_chunks([feature], run.hparams)  # (2, 187, 96): the rest does not count
    found = [*run.probabilities(chunks).mean(0), *run.embed(chunks[:1])[0]]
    expected = [*map(float, f"{published.probabilities} {published.embedding}".split())]
    worst = np.abs(np.subtract(found[: len(expected)], expected)).max()
    if not worst < TOLERANCE:
        raise UserError(
            f"{folder} gives values for a test signal that differ by {worst:.2g} from those "
            f"published: restore MusiCNN in model.py, and audio/features.py"
        )
