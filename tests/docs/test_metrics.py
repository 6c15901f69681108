"""Every metric of a worker and a door is in the reference with its definition, and named as Prometheus advises."""

import re

import pytest

from streams.observability.exposition import EXPOSED, Exposed
from tests.docs.metrics_table import tables, written

UNITS = ("seconds", "ratio", "records", "nats", "rows", "offset", "offsets", "partitions", "second")
WITHOUT_UNIT = {
    "headrace_absolute_error",
    "headrace_base_absolute_error",
    "headrace_drift_open",
    "headrace_healthy",
    "headrace_loss_above_base",
    "headrace_loss_above_base_bound",
    "headrace_mean_reward",
    "headrace_ready",
}
"""Flags, and amounts whose unit depends on the target or the shop: the definition says it."""


def test_the_documented_metrics_are_those_of_the_code() -> None:
    assert written() == tables(), "run python -m tests.docs.metrics_table"


@pytest.mark.parametrize("exposed", EXPOSED, ids=lambda each: each.name)
def test_a_metric_is_named_by_the_conventions(exposed: Exposed) -> None:
    assert re.fullmatch(r"headrace(_[a-z]+)+", exposed.name)
    assert exposed.name.endswith("_total") == (exposed.kind == "counter")
    if exposed.kind != "counter":
        assert exposed.name.endswith(UNITS) != (exposed.name in WITHOUT_UNIT)
    assert not {"instance", "job", "le", "quantile"} & set(exposed.labels)
    assert exposed.help.endswith(".")
    assert "\n" not in exposed.help
