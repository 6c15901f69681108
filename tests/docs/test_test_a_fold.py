"""The blocks of docs/how-to/test-a-fold.md, collected as the tests that they are."""

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs/how-to/test-a-fold.md"
BLOCKS: Final = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)

exec(compile("\n".join(BLOCKS), PAGE, "exec"))  # noqa: S102 - the page is ours, and its tests are to be collected here


def test_every_block_was_taken() -> None:
    assert len(BLOCKS) == PAGE.read_text("utf-8").count("```") / 2 > 0
