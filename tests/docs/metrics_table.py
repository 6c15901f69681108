"""Tables of docs/reference/metrics.md; ``python -m tests.docs.metrics_table`` writes them into the page."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from streams.observability.exposition import EXPOSED
from streams.serving.metrics import DoorMetrics

PAGE: Final = Path(__file__).parents[2] / "docs/reference/metrics.md"
_TABLE: Final = r"^\| metric \|.*\n(?:\|.*\n)*"


def _table(rows: Iterable[tuple[str, ...]], *headers: str) -> str:
    lines = [headers, ("---",) * len(headers), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def worker_table() -> str:
    rows = ((f"`{each.name}`", each.kind, each.scope, _labels(each.labels), each.help) for each in EXPOSED)
    return _table(rows, "metric", "type", "scope", "labels", "definition")


def door_table() -> str:
    rows = []
    for metric in vars(DoorMetrics()).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.collect()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append((f"`{name}`", family.type, _labels(metric._labelnames), family.documentation))
    return _table(sorted(rows), "metric", "type", "labels", "definition")


def tables() -> list[str]:
    """Returns the tables in the order of the page."""
    return [worker_table(), door_table()]


def written() -> list[str]:
    return re.findall(_TABLE, PAGE.read_text("utf-8"), re.MULTILINE)


if __name__ == "__main__":
    made = iter(tables())
    PAGE.write_text(re.sub(_TABLE, lambda _: next(made), PAGE.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
