"""Packed rows come back: numbers as float32, flags as they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.policies.feature_packing import FeaturePacking


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_packed_rows_come_back_to_float32(is_flag: list[bool], n_rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = np.where(is_flag, random.random((n_rows, len(is_flag))) < 0.5, random.normal(size=(n_rows, len(is_flag))))
    packing = FeaturePacking(is_flag)
    packed = packing.pack(rows)
    assert packing.unpack(packed.tobytes()).tolist() == rows.astype(np.float32).tolist()
    # Many decisions at once, and each row by itself.
    assert packing.pack(rows[None])[0].tobytes() == packed.tobytes()
    assert b"".join(packing.pack(row).tobytes() for row in rows) == packed.tobytes()


def test_bytes_that_are_no_whole_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        FeaturePacking([False, True]).unpack(b"1234")
