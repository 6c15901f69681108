"""The registry of kinds has every kind, and names fields that events have."""

from typing import get_args

import msgspec

from streams.contract.event_kinds import EVENT_KINDS, KINDS, Kind
from streams.contract.events import Event


def test_every_kind_is_registered() -> None:
    assert get_args(Kind) == EVENT_KINDS


def test_what_a_kind_requires_is_optional_for_others() -> None:
    fields = {field.name: field for field in msgspec.structs.fields(Event)}
    for kind in KINDS.values():
        assert all(fields[name].default is None for name in kind.required)
