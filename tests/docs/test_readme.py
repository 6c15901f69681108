"""The README is one page, has no block that tests/system/test_readme.py does not run, and names what exists."""

import importlib.util
import re
import shlex
from typing import Final

import click
import pytest

from streams.cli.main import headrace
from tests.docs.pages import README, ROOT, blocks_of, without_blocks

LINES: Final = 120
COLUMNS: Final = 120
TARGETS: Final = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
COMMANDS: Final = sorted(set(re.findall(r"`((?:make|headrace|python -m) [^`]+)`", without_blocks(README))))


def test_it_is_one_page_and_its_lines_are_short() -> None:
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if not line.startswith("|") and len(line) >= COLUMNS] == []


def test_it_has_no_block_but_those_that_are_run() -> None:
    assert {block.language for block in blocks_of(README)} == {"bash", "python"}
    rest = without_blocks(README)
    assert "```" not in rest
    assert re.findall(r"^(?: {4}|\t| *~~~).*", rest, re.MULTILINE) == []


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_that_it_names_exists(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        assert words[0] in TARGETS
    elif program == "python":
        assert importlib.util.find_spec(words[1])
    else:
        check_options(words)


def check_options(words: list[str]) -> None:
    command: click.Command = headrace
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
