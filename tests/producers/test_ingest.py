"""Records of a foreign topic: what each becomes, before it is published."""

import json

import pytest

from producers.formats.format import Format
from producers.formats.mapping import NamedMapping, parse_mapping
from producers.ingest import Ingestion, IngestSummary, Source, outputs_of
from streams.contract.errors import ConfigurationError
from streams.contract.events import decode_event
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from tests.producers.files import form_of

ORDERS = Format(
    NamedMapping(
        "orders",
        parse_mapping(
            """
            title = "Orders"
            layout = "json"
            event_name = "state"
            time = { column = "at", unit = "s" }
            fields = { user_id = "who", item_id = "lines.sku" }
            [events]
            paid = { kind = "purchase", each = "lines" }
            packed = "skip"
            """,
            "orders.toml",
        ),
    )
)


def outputs(value: object, form: Format = ORDERS, offset: int = 7) -> tuple[list[Output], IngestSummary]:
    summary = IngestSummary()
    encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
    return list(outputs_of(form, Source("shop", 2, offset, b"k", encoded), 16, summary)), summary


def order(*skus: str | None, state: str = "paid") -> dict[str, object]:
    return {"state": state, "at": 1_570_000_000, "who": 17, "lines": [{"sku": sku} for sku in skus]}


def test_a_record_becomes_events_keyed_by_their_user_with_ids_of_its_place() -> None:
    made, summary = outputs(order("a", "b"))
    assert [(output.topic, output.key, output.partition) for output in made] == [(CLICKSTREAM, b"17", None)] * 2
    events = [decode_event(output.value) for output in made]
    assert [(event.event_id, event.item_id) for event in events] == [
        ("orders-shop-2-7.0", "a"),
        ("orders-shop-2-7.1", "b"),
    ]
    assert (summary.records, summary.events, summary.dead_letters) == (1, 2, 0)
    assert outputs(order("a", "b"))[0] == made


@pytest.mark.parametrize(
    ("value", "n_events", "detail"),
    [
        (b"{", 0, b"not JSON"),
        (b"", 0, b"not JSON"),
        (b"\xff{}", 0, b"not JSON"),
        (b"[" * 100_000, 0, b"not JSON"),
        (b"7", 0, b"not a JSON object"),
        ({"state": "paid", "at": "soon", "who": 1, "lines": [{"sku": "a"}]}, 0, b"not a number of s"),
        ({"state": {"x": 1}}, 0, b"is an object"),
        (order("a", None, "b", None), 2, b"a purchase needs item_id, and lines.sku has no value"),
    ],
)
def test_what_cannot_be_mapped_is_one_dead_letter_with_its_place_and_what_to_change(
    value: object, n_events: int, detail: bytes
) -> None:
    made, summary = outputs(value)
    assert [output.topic for output in made] == [CLICKSTREAM] * n_events + [DEAD_LETTERS]
    headers = dict(made[-1].headers)
    assert (headers["reason"], headers["topic"], headers["partition"], headers["offset"]) == (
        b"malformed",
        b"shop",
        b"2",
        b"7",
    )
    assert detail in headers["detail"]
    assert len(made[-1].value) <= 16
    assert (summary.records, summary.events, summary.dead_letters) == (1, n_events, 1)


def test_no_depth_of_a_record_ends_it() -> None:
    for depth in range(400, 1100):
        nested = b'{"state": "paid", "at": 1570000000, "lines": [], "who": ' + b"[" * depth + b"]" * depth + b"}"
        made, _ = outputs(nested)
        assert [output.topic for output in made] in ([], [DEAD_LETTERS])
        nested = nested.replace(b'"lines": []', b'"lines": [{"sku": "a"}]')
        made, _ = outputs(nested)
        assert [output.topic for output in made] == [DEAD_LETTERS]


def test_names_without_a_kind_are_counted_and_give_nothing() -> None:
    made, summary = outputs(order("a", state="packed"))
    assert (made, summary.skipped, summary.unknown_events) == ([], {"packed": 1}, {})
    made, summary = outputs(order("a", state="lost"))
    assert (made, summary.skipped, summary.unknown_events) == ([], {}, {"lost": 1})


def test_headraces_own_events_from_another_topic_stay_what_they_are() -> None:
    event = {"event_id": "e", "user_id": "u", "timestamp_ms": 1_570_000_000_000, "kind": "view", "item_id": "i"}
    [output], _ = outputs(event, form_of("headrace"))
    assert json.loads(output.value) == event
    made, _ = outputs({**event, "category": ""}, form_of("headrace"))
    assert [output.topic for output in made] == [DEAD_LETTERS]


@pytest.mark.parametrize(
    ("form", "topic", "complaint"),
    [
        (form_of("taobao"), "shop", "taobao is a format of delimited text"),
        (ORDERS, CLICKSTREAM, "clickstream is a topic of Headrace"),
        (ORDERS, "models", "models is a topic of Headrace"),
    ],
)
def test_what_could_not_work_is_refused_before_a_broker_is_asked(form: Format, topic: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Ingestion(Settings(), form, topic, lambda sentence: None)
