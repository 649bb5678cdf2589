"""Read the tensors of a TensorFlow checkpoint, a "tensor bundle" of version 2, without TensorFlow.

Its index is a sorted table in LevelDB's format: blocks of entries, whose keys leave out the start
that they share with the key before. A value is a protocol-buffer message with the type, shape,
place and checksum of a tensor. The data file holds the tensors one after the other.
"""

import math
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import xor
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = bytes.fromhex("57fb808b247547db")  # the end of the index
FOOTER = 48  # bytes of the end that say where the blocks are
TRAILER = 5  # bytes after a block: its compression and its checksum
# tags of fields in the message about a tensor: the number of the field, times 8, plus its form
VARINT, BYTES, FIXED32 = 0, 2, 5
DTYPE, SHAPE, OFFSET, SIZE, CHECKSUM = 1 << 3, 2 << 3 | BYTES, 4 << 3, 5 << 3, 6 << 3 | FIXED32
DIMENSION, LENGTH = 2 << 3 | BYTES, 1 << 3  # in a shape, and in a dimension
FLOAT32 = 1

KNOWN = {DTYPE, SHAPE, OFFSET, SIZE, CHECKSUM}
CRC_TABLE: NDArray[np.uint32] = np.arange(
    256, dtype=np.uint32
)  # the CRC-32C of each value of a byte
for _ in range(8):
    CRC_TABLE = (CRC_TABLE >> 1 ^ (CRC_TABLE & 1) * 0x82F63B78).astype(np.uint32)

Fields = dict[int, list[Any]]  # the values of a message by tag


def read_bundle(index: bytes, data: bytes, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return tensors by name, given the bytes of the two files of a bundle.

    Raises `ValueError` if a byte that they depend on has changed, or if the format differs.
    """
    messages = read_index(index)
    return {name: read_tensor(name, messages, data) for name in names}


def read_index(index: bytes) -> dict[str, bytes]:
    """Return the message about each tensor by name; the name "" is the header's."""
    if len(index) < FOOTER or not index.endswith(MAGIC):
        raise ValueError("it is not the index of a tensor bundle")
    _, at = read_handle(index, len(index) - FOOTER)  # of a block that is always empty
    blocks, _ = read_handle(index, at)
    entries: dict[bytes, bytes] = {}
    last = None
    for _, handle in read_block(index, *blocks):
        for key, message in read_block(index, *read_handle(handle, 0)[0]):
            if last is not None and key <= last:
                raise ValueError("the names are not in order")
            entries[key] = message
            last = key
    return {key.decode(): message for key, message in entries.items()}


def read_block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block."""
    block, trailer = index[offset : offset + size], index[offset + size :][:TRAILER]
    if size < 4 or len(block) != size or len(trailer) != TRAILER:
        raise ValueError("a block is not where its handle says")
    if trailer[0]:
        raise ValueError(f"a block is compressed (type {trailer[0]}), which is not supported")
    if mask(crc32c(block + trailer[:1])) != int.from_bytes(trailer[1:], "little"):
        raise ValueError("the checksum of a block is wrong")
    restarts = int.from_bytes(block[-4:], "little")  # where keys are whole, not needed here
    at, end, key = 0, size - 4 - 4 * restarts, b""
    while at < end:
        shared, at = read_varint(block, at)
        unshared, at = read_varint(block, at)
        length, at = read_varint(block, at)
        middle, stop = at + unshared, at + unshared + length
        if shared > len(key) or stop > end:
            raise ValueError("an entry is larger than its block")
        key = key[:shared] + block[at:middle]
        yield key, block[middle:stop]
        at = stop
    if at != end:
        raise ValueError("a block has another length than its entries")


def read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return the offset and the size of a block, and where they end."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a whole number, seven bits in each of up to ten bytes, and where it ends."""
    value = 0
    for count, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, at + count + 1
    raise ValueError("a number does not end")


def read_fields(message: bytes) -> Fields:
    """Return the values of a protocol-buffer message by tag."""
    fields: Fields = {}
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        form = tag & 7
        if form not in (VARINT, BYTES, FIXED32):
            raise ValueError(f"a message has a field of the form {form}")
        value: Any
        value, at = (4, at) if form == FIXED32 else read_varint(message, at)
        if form != VARINT:  # the number is a length
            value, at = message[at : at + value], at + value
        if at > len(message):
            raise ValueError("a message is cut short")
        fields.setdefault(tag, []).append(value)
    return fields


def read_tensor(name: str, messages: dict[str, bytes], data: bytes) -> NDArray[np.float32]:
    """Return one tensor, given the messages of the index and the data file."""
    if name not in messages:
        raise ValueError(f"it has no tensor {name}")
    fields = read_fields(messages[name])
    if not {DTYPE, SHAPE, SIZE, CHECKSUM} <= fields.keys() <= KNOWN:
        raise ValueError(f"the message about the tensor {name} has other fields")
    if fields[DTYPE] != [FLOAT32]:
        raise ValueError(f"the tensor {name} is not of type float32")
    dimensions = map(read_fields, read_fields(fields[SHAPE][-1]).get(DIMENSION, []))
    shape = [dimension.get(LENGTH, [0])[-1] for dimension in dimensions]
    offset, size = fields.get(OFFSET, [0])[-1], fields[SIZE][-1]  # 0 is left out
    values = data[offset : offset + size]
    if not values or len(values) != size or 4 * math.prod(shape) != size:
        raise ValueError(f"the tensor {name} is not where the index says")
    if mask(crc32c(values)) != int.from_bytes(fields[CHECKSUM][-1], "little"):
        raise ValueError(f"the checksum of the tensor {name} is wrong")
    return np.frombuffer(values, "<f4").reshape(shape).astype(np.float32)


def mask(checksum: int) -> int:
    """Return a checksum as it is stored: rotated, plus a constant."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes.

    The bytes form a square, whose rows are computed side by side. Their checksums are combined by
    linearity: the effect of a row on a state is the sum of its effects on the state's bits.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    width = math.isqrt(len(data))
    steps = np.frombuffer(data, np.uint8, width * width).reshape(width, width).T
    states = np.zeros(width + 32, np.uint32)
    states[width:] = 1 << np.arange(32)  # the bits, through as many zeros
    for step in np.pad(steps, ((0, 0), (0, 32))):
        states = CRC_TABLE[(states ^ step) & 255] ^ states >> 8
    rows, bits = states[:width].tolist(), states[width:].tolist()
    state = 0xFFFFFFFF
    for row in rows:
        state = reduce(xor, (bit for place, bit in enumerate(bits) if state >> place & 1), row)
    for byte in data[width * width :]:
        state = int(CRC_TABLE[(state ^ byte) & 255]) ^ state >> 8
    return state ^ 0xFFFFFFFF
