"""Hand-made checkpoints of TensorFlow, and wheels that hold them."""

import math
import zipfile

import numpy as np
import torch

import pretrained
from audio.features import extract_feature
from model import build_model
from training.musicnn import PUBLISHED, convert, find_names, reference_signal
from training.tensor_bundle import MAGIC, crc32c, mask


def varint(value):
    """A whole number, seven bits in each byte."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number, value):
    """A field of a protocol-buffer message: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(shape, offset, content, dtype=1, checksum=None):
    """The message about a tensor."""
    dimensions = b"".join(field(2, field(1, size)) for size in shape)
    checksum = mask(crc32c(content)) if checksum is None else checksum
    place = (field(4, offset) if offset else b"") + field(5, len(content))
    return field(1, dtype) + field(2, dimensions) + place + b"\x35" + checksum.to_bytes(4, "little")


def block(entries):
    """The content of a block of entries {key: value}; keys share their beginnings."""
    data, before = b"", b""
    for key, value in entries.items():
        shared = next((i for i, (a, b) in enumerate(zip(before, key)) if a != b), len(before))
        data += varint(shared) + varint(len(key) - shared) + varint(len(value))
        data, before = data + key[shared:] + value, key
    return data + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def seal(data, compression=0):
    """A block with its compression and its checksum."""
    data += bytes([compression])
    return data + mask(crc32c(data)).to_bytes(4, "little")


def make_index(content, compression=0):
    """The index around the content of its one block of messages."""
    first, empty = seal(content, compression), seal(block({}))
    handles = seal(block({b"z": varint(0) + varint(len(content))}))
    footer = varint(len(first)) + varint(len(empty) - 5)
    footer += varint(len(first) + len(empty)) + varint(len(handles) - 5)
    return first + empty + handles + footer.ljust(40, b"\0") + MAGIC


def make_messages(tensors):
    """The content of the block of messages about tensors, and the data file."""
    messages, data = {b"": b"\x08\x01"}, b""
    for name, tensor in sorted(tensors.items()):
        content = tensor.astype("<f4").tobytes()
        messages[name.encode()] = message(tensor.shape, len(data), content)
        data += content
    return block(messages), data


def make_bundle(tensors):
    """The two files of a bundle: index and data."""
    messages, data = make_messages(tensors)
    return make_index(messages), data


def random_tensors(name, rng):
    """The tensors of a published model with random values, in TensorFlow's axes."""
    model = build_model(PUBLISHED[name].hparams)
    state, tensors = model.state_dict(), {}
    for weight, source in find_names(model).items():
        shape = state[weight].shape
        if len(shape) == 4 and shape[1] > 1:
            shape = (shape[2], shape[1], 1, shape[0])
        elif len(shape) == 4:
            shape = (shape[2], shape[3], 1, shape[0])
        shape = shape[::-1] if len(shape) == 2 else shape
        positive = source.endswith(("gamma", "variance"))
        inputs = max(1, math.prod(shape[:-1]))
        values = rng.normal(size=shape) / inputs**0.5
        tensors[source] = np.abs(values) + 0.5 if positive else values
    tensors["dense_1/bias"] -= 1.5  # some tags are likely, most are not
    return tensors


def made_of(tensors, name):
    """A published model with other weights, and with what these give for the test signal."""
    hparams = PUBLISHED[name].hparams
    model = build_model(hparams).eval()
    model.load_state_dict(convert(*make_bundle(tensors), hparams))
    chunks = extract_feature(reference_signal(), hparams)[: 2 * 187].reshape(2, 187, 96)
    with torch.inference_mode():
        x = torch.from_numpy(chunks)
        values = model(x).sigmoid().mean(0), model.embed(x)[0, :20]
    probabilities, embedding = (" ".join(f"{v:.7f}" for v in each.tolist()) for each in values)
    return PUBLISHED[name]._replace(probabilities=probabilities, embedding=embedding)


def make_wheel(path, bundles):
    """Write a wheel with bundles {folder: (index, data)}; return its path."""
    with zipfile.ZipFile(path, "w") as file:
        for folder, parts in bundles.items():
            for name, part in zip(pretrained.CHECKPOINT, parts):
                file.writestr(f"musicnn/{folder}/{name}", part)
        file.writestr(pretrained.LICENCE, "Use it freely.")
    return path
