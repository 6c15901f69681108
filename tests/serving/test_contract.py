"""The contract is what the code does, and what is committed is what the code makes."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.event_kinds import EVENT_KINDS
from streams.contract.events import LATEST_TIMESTAMP_MS, Event
from streams.contract.metrics import encode_metrics
from streams.contract.records import JSON
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, RECOMMENDATIONS
from streams.serving.contract import FORMATS, RECORDS, encoded
from streams.serving.endpoints import ENDPOINTS
from streams.serving.golden import GOLDEN
from streams.serving.submission import SubmissionParser
from tests.serving.fakes import NOW_MS, Client, MemoryLog, ask
from tests.serving.schema import is_valid

FOLDER = Path(__file__).parents[2] / "docs/reference/contract"
SCHEMAS = FORMATS["jsonschema"](Settings())["$defs"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_committed_contract_is_that_of_the_code(name: str) -> None:
    made = encoded(FORMATS[name](Settings()))
    assert (FOLDER / f"{name}.json").read_bytes() == made, (
        f"headrace contract show --format {name} > {FOLDER}/{name}.json"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_reference_leads_somewhere_and_no_word_is_of_the_code_alone(name: str) -> None:
    document = FORMATS[name](Settings())
    text = encoded(document).decode()
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        inner: Any = document
        for part in reference.split("/"):
            inner = inner[part]
    assert not re.search(r":\w+:`|Attributes:|``", text)


GOOD: dict[str, Any] = {
    "event_id": "e",
    "timestamp_ms": NOW_MS,
    "user_id": "ann",
    "item_id": "boots",
    "query": "shoes",
    "decision_id": "d",
    "position": 0,
    "rating": 4.5,
}
FIELDS = tuple(Event.__struct_fields__)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 40), 1 << 43),
    st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda number: number != int(number)),
    st.text(max_size=3),
    st.sampled_from(["x" * 128, "x" * 129, "a\0", "", 0, 99, 100, 5.0, 5.5, 1_000_000, 1_000_001]),
    st.lists(st.sampled_from(["a", "b", "c", "", "a\0", 1]), max_size=4),
    st.sampled_from([[f"i{number}" for number in range(size)] for size in (100, 101)]),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@given(
    st.sampled_from(EVENT_KINDS),
    st.sets(st.sampled_from(FIELDS), max_size=2),
    st.dictionaries(st.sampled_from((*FIELDS, "colour")), VALUES, max_size=2),
)
def test_schema_and_decoder_agree(kind: str, missing: set[str], changed: dict[str, Any]) -> None:
    event = {name: value for name, value in (GOOD | {"kind": kind}).items() if name not in missing} | changed
    submitted = SubmissionParser(Settings()).parse(json.dumps(event).encode(), LATEST_TIMESTAMP_MS, is_operator=True)
    assert is_valid(event, SCHEMAS["Event"], SCHEMAS) == bool(submitted.accepted), submitted.rejected


def test_answers_fit_the_contract_and_every_endpoint_is_there() -> None:
    document = FORMATS["openapi"](Settings())
    schemas = document["components"]["schemas"]

    async def check(client: Client, method: str, path: str, body: Any, template: str | None = None) -> None:
        async with client.request(method, path, json=body) as response:
            answer = json.loads(await response.read())
            documented = document["paths"][template or path][method.lower()]["responses"][str(response.status)]
        assert is_valid(answer, documented["content"][response.content_type]["schema"], schemas), answer

    async def test(client: Client, log: MemoryLog) -> None:
        await check(client, "POST", "/v1/events", [GOOD | {"kind": "view"}, {}])
        await check(client, "POST", "/v1/events", {})
        await check(client, "POST", "/v1/rank", {"user_id": "ann", "timeout_ms": 1})
        await check(client, "POST", "/v1/rank", {})
        await check(client, "POST", "/v1/reward", {"decision_id": "d", "kind": "impression", "user_id": "ann"})
        await check(client, "POST", "/v1/reward", {"decision_id": "d", "kind": "impression"})
        await check(client, "GET", "/v1/recommendations/ann", None, "/v1/recommendations/{user_id}")
        await check(client, "GET", "/readyz", None)
        for endpoint in ENDPOINTS:
            async with client.request(endpoint.method, endpoint.path) as response:
                reason = json.loads(await response.read())["reason"] if response.status in {404, 405} else ""
                assert reason not in ("no-such-path", "wrong-method"), endpoint.path
        async with client.get("/openapi.json") as response:
            assert await response.read() == encoded(document)

    ask(test)


@pytest.mark.parametrize(("name", "record"), [(name, record) for name, records in GOLDEN.items() for record in records])
def test_a_golden_record_fits_its_schema_and_reads_back_as_itself(name: str, record: msgspec.Struct) -> None:
    value = encode_metrics(record) if name == "MetricsRecord" else JSON.encode(record)
    (schema,), schemas = msgspec.json.schema_components([RECORDS[name]], ref_template="#/$defs/{name}")
    assert is_valid(json.loads(value), schema, {**schemas, **SCHEMAS})
    assert msgspec.json.decode(value, type=RECORDS[name]) == record


def test_the_golden_records_are_examples_of_all_topics_for_others() -> None:
    channels = FORMATS["asyncapi"](Settings())["channels"]
    examples = {
        topic: [each["payload"] for message in channel["messages"].values() for each in message.get("examples", ())]
        for topic, channel in channels.items()
    }
    assert {topic for topic, found in examples.items() if not found} == {DEAD_LETTERS}
    (slate,), asked = examples[RECOMMENDATIONS], examples[CLICKSTREAM][1]
    assert slate["event_id"] == asked["event_id"]
