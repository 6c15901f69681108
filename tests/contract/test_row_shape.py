"""For every setting it is decided whether it shapes stored rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from streams.agents import FOLDS
from streams.contract.settings import DEFAULT_TARGETS, Settings, Target
from streams.contract.settings.row_shape import NO_SHAPE, SHAPING, row_shape

COMPARED_APART: Final = {"engine.app_id", "kafka.partitions"}
"""Fields of a partition's identity of their own."""

FREE: Final = {
    "admission",
    "decisions.at",  # what is open waits as it was opened
    "decisions.impression_window_s",
    "decisions.log_rate",
    "decisions.policies",  # but for the learners that they make
    "decisions.q_epsilon",
    "decisions.q_filled_by",
    "decisions.q_gamma",
    "decisions.q_learning_rate",
    "decisions.rules",  # what a rule keeps in a row is used while it is on
    "decisions.salt",
    "decisions.shadows",
    "decisions.shares",
    "decisions.shortlist",
    "decisions.slate",
    "engine",
    "freeze_global_tables",
    "http",
    "items",  # an item's row holds its half-life and is restated
    "kafka",
    "log",
    "seed",  # what was drawn by it is in the rows of the learners
    "serve",
    "targets.negatives",
    "time.ahead_tolerance_s",
    "time.allowed_lateness_s",
    "time.session_gap_s",
}
"""Settings that rows keep nothing of, or follow by themselves; whole sections among them."""


def shapes(settings: Settings) -> dict[str, Any]:
    return {fold: row_shape(settings, fold) for fold in FOLDS}


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case tuple():
            return (*value, "linear")
        case dict():
            return {**value, "x": 1.0}
        case None:
            return "click"
        case _:
            raise AssertionError(value)


def changed(struct: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path of each setting, and the settings with another value of it."""
    for name in struct.__struct_fields__:
        value, place = getattr(struct, name), f"{path}.{name}".strip(".")
        is_list = isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct)
        inner = value[0] if is_list else value
        if isinstance(inner, msgspec.Struct):
            for found, within in changed(inner, place):
                whole = (within, *value[1:]) if is_list else within
                yield found, msgspec.structs.replace(struct, **{name: whole})
        elif name != "policies":
            yield place, msgspec.structs.replace(struct, **{name: other(value)})


RATING: Final = Target(name="rated", rule="rating", horizon_s=60, sampling_rate=0.5, prior=0.5)
SETTINGS: Final = Settings(targets=(RATING, *DEFAULT_TARGETS))


@pytest.mark.parametrize(
    ("path", "settings"), list(changed(SETTINGS)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_setting_is_in_the_shape_of_rows_or_declared_free(path: str, settings: Settings) -> None:
    is_free = path in FREE or path.partition(".")[0] in FREE or path.rpartition(".")[0] in FREE
    assert (shapes(settings) == shapes(SETTINGS)) == (is_free or path in COMPARED_APART)


def test_a_target_that_is_added_leaves_what_is_there_as_it_was() -> None:
    before, after = (
        row_shape(Settings(), "behaviour"),
        row_shape(Settings(targets=(*DEFAULT_TARGETS, RATING)), "behaviour"),
    )
    assert before.fixed.items() < after.fixed.items()
    assert not before.fixed.items() <= row_shape(Settings(targets=DEFAULT_TARGETS[1:]), "behaviour").fixed.items()


def test_items_take_any_settings() -> None:
    assert row_shape(Settings(), "items") == NO_SHAPE


def test_the_reference_has_every_setting_that_shapes_rows() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text("utf-8")
    for each in SHAPING:
        assert f"| `{each.key}` | is {'refused' if each.is_refused else 'taken'}" in page
        assert each.consequence in page
