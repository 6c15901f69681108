"""Makes the page's help of its one source, docs/how-to/read-the-page.md: ``python -m tests.page.help``.

The page works offline and the wheel has no docs, so the HTML is committed; a test holds that it is the source's.
"""

import re
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "docs" / "how-to" / "read-the-page.md"
HELP: Final = ROOT / "streams" / "serving" / "page" / "static" / "help.html"
_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Read the page – Headrace</title>
<link rel="icon" href="/page/static/icon.svg">
<link rel="stylesheet" href="/page/static/style.css">
</head>
<body>
<header class="top"><h1><img src="/page/static/icon.svg" alt="" width="24" height="24"> Headrace</h1>
<nav aria-label="Pages"><a href="/">The page</a> <a href="/shop">Sample shop</a></nav></header>
<main class="help">
"""


def slug(heading: str) -> str:
    """Returns the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def made() -> str:
    """Renders the source. What it links to is in the docs, which are not served: those links become plain text."""
    html = MarkdownIt().render(SOURCE.read_text("utf-8"))
    html = re.sub(r'<a href="(?!/)[^"]*">(.*?)</a>', r"\1", html)
    html = re.sub(r"<h([123])>(.*?)</h\1>", lambda it: f'<h{it[1]} id="{slug(it[2])}">{it[2]}</h{it[1]}>', html)
    return f"{_HEAD}{html}</main>\n</body>\n</html>\n"


if __name__ == "__main__":
    HELP.write_text(made(), "utf-8")
