"""A page of Markdown, part of it made: what is made stands between two marks, and nothing else is touched."""

from pathlib import Path
from typing import Final

from streams.contract.errors import ConfigurationError

_BEGIN: Final = "<!-- made by: {name} -->"
_END: Final = "<!-- end of what is made by: {name} -->"


def write_section(path: Path, name: str, text: str) -> None:
    """Puts ``text`` between the marks of ``name``, at the end of a page that has none yet.

    Raises:
        ConfigurationError: The page cannot be written, or has only one of the two marks.
    """
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    section = f"{begin}\n\n{text.strip()}\n\n{end}"
    try:
        page = path.read_text("utf-8") if path.exists() else ""
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if bool(found) != (end in page) or bool(found) != bool(closed):
            raise ConfigurationError(f"{path}: mend the marks `{begin}` and `{end}`, of which there is only one")
        if not found:
            before = f"{page.rstrip()}\n\n" if page.strip() else ""
            after = "\n"
        path.write_text(before + section + after, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
