"""docs/reference/features.md lists the features of the two tables, and no others, in their order."""

from collections.abc import Iterable
from pathlib import Path

from streams.contract.settings import Settings, Window
from streams.core.features.schema import shopper_features
from streams.core.features.windows import windowed_features
from streams.core.policies.slate_features import FEATURES

DOCUMENT = Path(__file__).parents[2] / "docs/reference/features.md"


def section(title: str) -> list[str]:
    text = DOCUMENT.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


def lines(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [" | ".join((f"| `{name}`", *others)) + " |" for name, *others in rows]


def test_the_documented_features_of_a_shopper_are_the_tables() -> None:
    assert section("Of a shopper") == lines(shopper_features(Settings().windows))


def test_the_documented_features_of_a_recommended_item_are_the_tables() -> None:
    assert section("Of a recommended item") == lines(
        (feature.name, feature.group, feature.words) for feature in FEATURES
    )


def test_a_window_is_told_in_its_largest_whole_unit() -> None:
    spans = {
        (1, 45): "45 seconds",
        (60, 5): "5 minutes",
        (60, 60): "hour",
        (3600, 36): "36 hours",
        (86_400, 7): "7 days",
    }
    for (pane_s, panes), words in spans.items():
        window = Window(name="w", pane_s=pane_s, panes=panes)
        assert windowed_features(window)[0].words == f"views in the last {words}"
