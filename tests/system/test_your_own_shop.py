"""Every block of the tutorial for a shop, run as its reader runs it."""

import json
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, Block, blocks_of
from tests.system.shell import shell
from tests.timeouts import wait_until

BLOCKS: Final = blocks_of(ROOT / "docs" / "tutorial" / "your-own-shop.md")


def needs_node(block: Block) -> bool:
    return "npm" in block.text


def check(blocks: list[Block], folder: Path) -> list[dict[str, object]]:
    """Runs blocks in a folder like that of Headrace, and returns the records that were printed."""
    home = folder / "folder"
    shutil.copytree(ROOT / "examples", home / "examples", ignore=shutil.ignore_patterns("node_modules"))
    (home / ".venv").symlink_to(sys.prefix)
    with shell(home, folder / "said") as it:
        for block in blocks:
            it.run(block.text)
        it.close()
        wait_until(lambda: not it.is_anything_running(), it.said)
    assert {path.name for path in home.iterdir()} == {".venv", "examples"}
    return [json.loads(line) for line in it.said().splitlines() if line.startswith("{")]


def test_slates_by_curl_and_by_python(tmp_path: Path) -> None:
    printed = check([block for block in BLOCKS if not needs_node(block)], tmp_path)
    receipts = [record["accepted"] for record in printed if "accepted" in record]
    slates = [record for record in printed if "items" in record]
    assert receipts == [3, 2, 1, 1]
    assert [slate["user_id"] for slate in slates[:5]] == ["ann", "ann", "ben", "cleo", "dave"]
    assert all(slate["decision_id"] and slate["items"] for slate in slates[:5])
    assert len(slates) == 5 + 3


@pytest.mark.node
def test_slates_by_javascript(tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node and npm")
    start, *_, end = [block for block in BLOCKS if not needs_node(block)]
    [javascript] = [block for block in BLOCKS if needs_node(block)]
    printed = check([start, javascript, Block(end.language, end.text.replace("slate.json ", ""))], tmp_path)
    assert [slate["user_id"] for slate in printed if "items" in slate] == ["eve", "finn"]
