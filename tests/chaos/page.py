"""docs/reliability.md from a report of the chaos suite: ``python -m tests.chaos.page out.json docs/reliability.md``."""

import json
import sys
from pathlib import Path
from typing import Any, Final

MARK: Final = "<!-- findings -->"
_COLUMNS: Final = {
    "fault": "fault",
    "count": "times",
    "events": "events",
    "lost": "lost",
    "duplicated": "duplicated",
    "differing_rows": "differing rows",
    "misordered": "out of order",
    "recovery_s": "recovery, median s",
    "recovery_max_s": "longest s",
}


def write_page(report: dict[str, Any], page: Path) -> None:
    """Puts the findings between the page's two marks; what stands around them stays."""
    before, _, after = page.read_text("utf-8").split(MARK)
    page.write_text(f"{before}{MARK}\n{findings(report)}{MARK}{after}", "utf-8")


def findings(report: dict[str, Any]) -> str:
    """Lays a report out as a table and a sentence.

    >>> print(findings({"faults": []}).splitlines()[-1])
    0 events in all.
    """
    lines = [f"| {' | '.join(_COLUMNS.values())} |", f"|{'---|' * len(_COLUMNS)}"]
    lines += ["| " + " | ".join(_shown(found[name]) for name in _COLUMNS) + " |" for found in report["faults"]]
    events = sum(found["events"] for found in report["faults"])
    return "\n".join([*lines, "", f"{events:,} events in all.", ""])


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    write_page(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
