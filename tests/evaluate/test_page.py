"""What a person wrote on a page stays when the page's table is made again."""

from pathlib import Path

import pytest

from streams.contract.errors import ConfigurationError
from streams.ops.evaluate.page import write_section


def test_what_is_written_around_a_made_section_stays_when_it_is_made_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nBy hand.\n", "utf-8")
    write_section(page, "first", "| 1 |")
    write_section(page, "second", "| 2 |")
    page.write_text(page.read_text("utf-8") + "\nNotes below.\n", "utf-8")
    before = page.read_text("utf-8")
    write_section(page, "first", "| 10 |")
    assert page.read_text("utf-8") == before.replace("| 1 |", "| 10 |")
    assert before.startswith("# Title\n\nBy hand.\n")


def test_a_page_that_is_not_there_is_made_and_a_lost_mark_is_named(tmp_path: Path) -> None:
    page = tmp_path / "new.md"
    write_section(page, "it", "text")
    write_section(page, "it", "other")
    assert "text" not in page.read_text("utf-8")
    page.write_text(page.read_text("utf-8").replace("<!-- end of", "<!--"), "utf-8")
    with pytest.raises(ConfigurationError, match="only one"):
        write_section(page, "it", "text")
    with pytest.raises(ConfigurationError, match="No such file"):
        write_section(tmp_path / "folder" / "page.md", "it", "text")
