"""TensorFlow's checkpoints are read as they were written, or refused."""

import contextlib

import numpy as np
import pytest
from bundles import block, field, make_bundle, make_index, message, seal, varint

from training.tensor_bundle import FOOTER, crc32c, mask, read_block, read_bundle, read_varint

TENSORS = {
    "conv2d/bias": np.arange(3.0),
    "conv2d/kernel": np.arange(24.0).reshape(2, 3, 1, 4) / 7,
    "conv2d_1/kernel": np.array(-2.5),
}


def crc_by_bits(data):
    """The CRC-32C of bytes, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 15, 16, 17, 1000])
def test_a_checksum_of_any_length_is_that_of_its_bits(size, rng):
    data = rng.bytes(size)
    assert crc32c(data) == crc_by_bits(data)


def test_a_bundle_is_read_as_it_was_written():
    found = read_bundle(*make_bundle(TENSORS), TENSORS)
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor.astype(np.float32))


def with_message(content):
    """The index of a bundle with one tensor, and its data of 8 bytes."""
    return make_index(block({b"a": content})), bytes(8)


GOOD = message((2,), 0, bytes(8))
WRONG = {
    "is not where": [
        message((3,), 0, bytes(8)),
        message((2, 0), 0, b""),
        message((2,), 4, bytes(8)),
        message((2,), 1 << 62, bytes(8)),
        message((1 << 62, 4), 0, bytes(8)),
        field(1, 1) + field(2, b"") + field(5, 1 << 63) + b"\x35" + bytes(4),
    ],
    "is not of type float32": [message((2,), 0, bytes(8), dtype=2), GOOD + field(1, 3)],
    "the checksum of the tensor": [message((2,), 0, bytes(8), checksum=7)],
    "has other fields": [b"", field(1, 1), GOOD + field(3, 1), GOOD + field(7, b"part")],
    "a message is cut short": [GOOD[:-1], GOOD + b"\x12\x7f"],
    "a field of the form": [GOOD + b"\x0b", GOOD + b"\x0f"],
    "a number does not end": [GOOD + b"\xff" * 12, GOOD + b"\x12"],
}


@pytest.mark.parametrize(
    ("error", "content"), [(error, each) for error, contents in WRONG.items() for each in contents]
)
def test_a_message_that_lies_is_refused(error, content):
    with pytest.raises(ValueError, match=error):
        read_bundle(*with_message(content), ["a"])


def test_a_missing_tensor_is_named():
    with pytest.raises(ValueError, match="has no tensor b"):
        read_bundle(*with_message(GOOD), ["a", "b"])


def test_a_compressed_block_is_refused():
    with pytest.raises(ValueError, match=r"compressed \(type 1\)"):
        read_bundle(make_index(block({b"a": GOOD}), compression=1), bytes(8), ["a"])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (bytes(3), "not where its handle says"),
        (varint(1) + varint(0) + varint(0) + bytes(4), "an entry is larger"),
        (varint(0) + varint(9) + varint(0) + bytes(4), "an entry is larger"),
        (b"\0\0", "not where its handle says"),
        (b"\0\0\0" + bytes(8)[:4] + b"\xff\xff\xff\x7f", "another length than its entries"),
        (b"\0\0" + bytes(4), "a number does not end|another length|is larger"),
    ],
)
def test_a_block_that_lies_is_refused(content, error):
    with pytest.raises(ValueError, match=error):
        list(read_block(seal(content), 0, len(content)))


def test_names_out_of_order_are_refused():
    with pytest.raises(ValueError, match="not in order"):
        read_bundle(make_index(block({b"b": GOOD, b"a": GOOD})), bytes(8), ["a"])


def test_a_changed_byte_is_noticed_or_harmless():
    index, data = make_bundle(TENSORS)
    read = 0
    for at in range(len(index)):
        with pytest.raises(ValueError):
            read_bundle(index[:at], data, TENSORS)
        changed = bytearray(index)
        changed[at] ^= 1 << at % 8
        with contextlib.suppress(ValueError):  # the footer and an empty block have no checksum
            for name, tensor in read_bundle(bytes(changed), data, TENSORS).items():
                np.testing.assert_array_equal(tensor, TENSORS[name].astype(np.float32))
            read += 1
    assert read < FOOTER + len(seal(block({})))
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ValueError, match="checksum of the tensor"):
            read_bundle(index, bytes(changed), TENSORS)


def test_a_number_has_ten_bytes_at_most():
    assert read_varint(varint(300) + b"\xff", 0) == (300, 2)
    assert read_varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    assert mask(0) == 0xA282EAD8
