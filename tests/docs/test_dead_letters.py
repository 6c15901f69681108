"""Each reason for a dead letter is documented, with an example that is folded here as it stands."""

import re
from pathlib import Path
from typing import Final

import pytest

from streams.contract.errors import REASONS
from streams.contract.settings import load_settings
from streams.contract.topics import DEAD_LETTERS
from streams.testing import MemoryRecord, Pipeline

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/reference/dead-letters.md").read_text("utf-8")
EXAMPLES: Final = {
    heading: re.findall(r"^    (.+)$", body, re.MULTILINE)
    for heading, body in re.findall(r"^### (\S+)$(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
RECORD: Final = re.compile(r"partition (\d), timestamp (\d+), key (\S+): (.+)")


def test_the_documented_reasons_are_those_for_which_the_code_rejects_records() -> None:
    table = PAGE.partition("| reason |")[2].partition("\n\n")[0]
    sources = [path.read_text("utf-8") for path in ROOT.glob("streams/**/*.py")]
    used = {reason for source in sources for reason in re.findall(r'RejectedRecord\(\s*"([\w-]+)"', source)}
    assert used == set(REASONS)
    assert tuple(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == tuple(EXAMPLES) == REASONS


def bytes_of(text: str) -> bytes | None:
    return None if text == "-" else text.encode()


@pytest.mark.parametrize("reason", REASONS)
def test_the_example_of_a_reason_is_rejected_in_the_words_of_the_page(reason: str, tmp_path: Path) -> None:
    *given, expected = EXAMPLES[reason]
    (tmp_path / "headrace.toml").write_text("\n".join(line for line in given if " = " in line))
    log: dict[int, list[MemoryRecord]] = {}
    for number, timestamp, key, value in RECORD.findall("\n".join(given)):
        records = log.setdefault(int(number), [])
        records.append(MemoryRecord(len(records), int(timestamp), bytes_of(key), bytes_of(value)))
    assert log
    pipeline = Pipeline(load_settings(tmp_path / "headrace.toml"), log=log)
    pipeline.behaviour.drain()
    [letter] = pipeline.topics.records[DEAD_LETTERS, 0]
    headers = dict(letter.headers)
    assert f"{headers['reason'].decode()}: {headers['detail'].decode()}" == expected
    assert expected.startswith(f"{reason}: ")
