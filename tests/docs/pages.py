"""Fenced blocks of a Markdown page."""

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """The text between two fences, and the language behind the first one."""

    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(page.read_text("utf-8"))]


def without_blocks(page: Path) -> str:
    return _BLOCK.sub("", page.read_text("utf-8"))
