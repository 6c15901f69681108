"""A rule heeds every kind of event that can change one of its labels."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.event_kinds import EVENT_KINDS, Kind
from streams.contract.events import Event
from streams.contract.label_rules import RULES, RuleName
from streams.contract.settings import Target

LABELS = st.sampled_from([None, 0.0, 1.0, 7.5])


@pytest.mark.parametrize("name", get_args(RuleName))
@given(
    label=LABELS,
    kind=st.sampled_from(EVENT_KINDS),
    counted=st.sampled_from(EVENT_KINDS),
    price=st.sampled_from([None, 2.0]),
)
def test_an_event_that_is_not_heeded_changes_no_label(
    name: RuleName, label: float | None, kind: Kind, counted: Kind, price: float | None
) -> None:
    rule = RULES[name]
    own = counted if "label" in rule.reads else None
    target = Target(name="it", rule=name, label=own, horizon_s=60, sampling_rate=1.0, prior=0.5)
    event = Event(event_id="e", timestamp_ms=1, kind=kind, user_id="u", category="c", price=price, rating=5.0)
    assert rule.heeds(target, kind) or rule.answer(target, label, "c", event) == label
