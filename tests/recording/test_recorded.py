from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.recording.recorded import portable, read, replay

FOLDER: Final = Path(__file__).parent
EXPECTED: Final = FOLDER / "expected.json"


def test_a_recorded_log_gives_the_recorded_rows_and_outputs() -> None:
    pipeline = replay(read(FOLDER / "shop.msgpack.gz"))
    found = portable(pipeline)
    expected = msgspec.json.decode(EXPECTED.read_bytes(), type=dict[str, tuple[str, float]])
    assert {place: digest for place, (digest, _) in found.items()} == {
        place: digest for place, (digest, _) in expected.items()
    }
    for place, (_, total) in expected.items():
        assert found[place][1] == pytest.approx(total, rel=1e-6), place


def test_the_recording_holds_feedback_to_decisions() -> None:
    entries = read(FOLDER / "shop.msgpack.gz")
    values = [entry.value for entry in entries if entry is not None]
    kinds = [msgspec.json.decode(value)["kind"] for value in values]
    assert min(kinds.count(kind) for kind in ("view", "search", "add_to_cart", "impression", "click")) > 20
    assert "purchase" in kinds
