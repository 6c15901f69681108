"""The files that browsers get: vendored as locked, explained, small, and without anything inline."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.page.help import HELP, ROOT, made

STATIC: Final = ROOT / "streams" / "serving" / "page" / "static"
OWN: Final = sorted(each for each in STATIC.iterdir() if each.suffix in {".js", ".css", ".html"} and each != HELP)


def test_vendored_files_are_those_of_the_lock() -> None:
    vendor = STATIC / "vendor"
    [uplot] = json.loads((vendor / "lock.json").read_text()).values()
    assert {each.name for each in vendor.iterdir()} - {"lock.json"} == set(uplot["files"])
    for name, locked in uplot["files"].items():
        digest = base64.b64encode(hashlib.sha512((vendor / name).read_bytes()).digest()).decode()
        assert f"sha512-{digest}" == locked, name
    assert f"v{uplot['version']}" in (vendor / "uPlot.iife.min.js").read_text()[:200]
    assert uplot["licence"] in (vendor / "LICENSE").read_text()


def test_the_help_is_made_of_its_source() -> None:
    assert HELP.read_text("utf-8") == made(), "run `python -m tests.page.help`"


def test_every_number_links_to_a_definition_that_exists() -> None:
    anchors = set(re.findall(r'id="([\w-]+)"', HELP.read_text("utf-8")))
    linked = set()
    for path in OWN:
        text = path.read_text("utf-8")
        linked |= set(re.findall(r'/help#([\w-]+)"', text))
        linked |= set(re.findall(r'(?:term|fact)\("([\w-]+)", ', text))
        linked |= set(re.findall(r'\["([a-z-]+)", ["`](?:Lift|Decided|Clicks)', text))
    assert len(linked) > 25
    assert linked - anchors == set()


def test_there_is_little_of_it() -> None:
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in OWN)
    assert lines <= 1500


@pytest.mark.parametrize("path", [each for each in [*OWN, HELP] if each.suffix == ".html"], ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
