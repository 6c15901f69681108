"""What a model is crosses a topic bit for bit."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays, unpack_arrays


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = np.dtype(draw(st.sampled_from(["<f8", ">f8", "<f4", "<i8", "|u1", "|b1"])))
    size = int(np.prod(shape)) * dtype.itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if dtype == np.bool_:
        content = bytes(byte & 1 for byte in content)
    return np.frombuffer(content, dtype).reshape(shape)


named = st.dictionaries(st.text(max_size=5), arrays(), max_size=4)


@given(named)
def test_what_was_packed_and_sent_is_unpacked_bit_for_bit(model: dict[str, NDArray[Any]]) -> None:
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(pack_arrays(model)))
    received = unpack_arrays(sent)
    assert received.keys() == model.keys()
    for name, array in model.items():
        assert (received[name].dtype, received[name].shape) == (array.dtype, array.shape)
        assert received[name].tobytes() == array.tobytes()


@given(named)
def test_equal_models_are_equal_bytes_whatever_the_order_of_their_names(model: dict[str, NDArray[Any]]) -> None:
    backwards = dict(reversed(model.items()))
    assert msgspec.msgpack.encode(pack_arrays(model)) == msgspec.msgpack.encode(pack_arrays(backwards))


def test_views_are_packed_as_what_they_show() -> None:
    table = np.arange(12.0).reshape(3, 4)
    for view in (table.T, table[:, ::2], table[::-1]):
        assert np.array_equal(unpack_arrays(pack_arrays({"table": view}))["table"], view)


def test_what_was_unpacked_can_be_learned_on_without_changing_what_was_packed() -> None:
    packed = pack_arrays({"w": np.zeros(2)})
    weights = unpack_arrays(packed)["w"]
    weights += 1.0
    assert unpack_arrays(packed)["w"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (["|O", [1], b"\0" * 8], "Expected `str` matching"),
        (["<f8", [3], b"\0" * 8], "w has 8 bytes; its shape needs 24"),
        (["<f8", [1], b"\0" * 7], "w has 7 bytes; its shape needs 8"),
        (["<f8", [-1], b"\0" * 8], "Expected `int` >= 0"),
        (["<f8", [2**63], b"\0" * 8], "Expected `int` <= 2147483647"),
        (["<f8", [0, 2**31 - 1, 2**31 - 1, 2**31 - 1], b""], "array is too big"),
        (["<f8", 1, b"\0" * 8], "Expected `array`, got `int`"),
        (["f8,f8", [1], b"\0" * 16], "Expected `str` matching"),
        (["<U0", [0], b""], "Expected `str` matching"),
        (["<f8", [1]], "Expected `array` of length 3, got 2"),
        (7, "Expected `array`, got `int`"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(packed: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        unpack_arrays({"w": packed})
