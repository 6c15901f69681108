"""Contract in the formats of others: JSON Schema, OpenAPI 3.1 for the door, AsyncAPI 3.0 for the topics."""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from inspect import cleandoc
from types import MappingProxyType
from typing import Any, Final

import msgspec

from streams.contract.catalogue import CatalogueItem
from streams.contract.event_kinds import KINDS
from streams.contract.events import Event
from streams.contract.experiment import Experiment
from streams.contract.metrics import MetricsRecord
from streams.contract.outputs import ORIGINAL_TOPIC
from streams.contract.records import Prediction, Recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, RECOMMENDATIONS, Topic
from streams.serving.endpoints import ENDPOINTS, JSON, Endpoint
from streams.serving.golden import GOLDEN
from streams.serving.problems import PROBLEM_JSON, ProblemDetails
from streams.serving.rewards import RewardRequest

Document = dict[str, Any]
"""A JSON document whose shape another standard defines."""

RECORDS: Final[Mapping[str, Any]] = {
    "Event": Event,
    "CatalogueItem": CatalogueItem,
    "Prediction": Prediction,
    "Recommendation": Recommendation,
    "MetricsRecord": MetricsRecord,
    "Experiment": Experiment,
}
"""Type of a topic's value, by its name in the list of topics; values for other systems only."""
_PROBLEMS: Final = {
    400: "The body is no JSON, or is cut off.",
    401: "The key is missing or wrong.",
    403: "A page of this origin may not send messages.",
    408: "The body took too long to arrive.",
    404: "There is none.",
    409: "The decision is not remembered: `user_id`, and for a click `position`, are needed. Or path and body differ.",
    413: "The body is too large.",
    415: "The content type is none of the endpoint's.",
    422: "A field has a wrong type or range, or an unknown name.",
    429: "Too much is in flight; `Retry-After` says when to come again.",
    500: "A fault of the server.",
    503: "The broker did not acknowledge; the same request may be sent again.",
}
_NO_NUL: Final = "^[^\\u0000]*$"
_DEAD_LETTER_HEADERS: Final = ("reason", "detail", "topic", "partition", "offset", *ORIGINAL_TOPIC)


def json_schemas(settings: Settings) -> Document:
    """Makes the JSON Schemas of all records that other systems write or read, and of the door's bodies."""
    types = [*RECORDS.values(), *_bodies(ENDPOINTS), ProblemDetails]
    _, schemas = _schemas(types, "#/$defs/{name}")
    for name, schema in schemas.items():
        if name in GOLDEN:
            schema["examples"] = msgspec.to_builtins(GOLDEN[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Headrace", "$defs": schemas}


def openapi(settings: Settings) -> Document:
    """Makes the OpenAPI document of the door."""
    types = [*_bodies(ENDPOINTS), ProblemDetails]
    references, schemas = _schemas(types, "#/components/schemas/{name}")
    schema_of = dict(zip(map(repr, types), references, strict=True))
    paths: Document = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {**_info(), "title": "Headrace: the HTTP door"},
        "servers": [{"url": f"http://localhost:{settings.serve.port}"}],
        # A door on loopback may have no key; all others have one.
        "security": [{"apiKey": []}, {"bearer": []}, {"basic": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def asyncapi(settings: Settings) -> Document:
    """Makes the AsyncAPI document of the topics that other systems write or read."""
    references, schemas = _schemas(list(RECORDS.values()), "#/components/schemas/{name}")
    payloads = dict(zip(RECORDS, references, strict=True))
    public = [topic for topic in settings.topics if _name_of(topic) in RECORDS or topic.called == DEAD_LETTERS]
    operations: Document = {}
    for topic in public:
        action = "receive" if topic.writer.startswith("the shop") else "send"
        operations[f"{action}-{topic.called}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic.called}"},
        }
    operations["decide"] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{CLICKSTREAM}"},
        "summary": "An event of kind `decide` is answered by the recommendation that echoes its `event_id`.",
        "reply": {"channel": {"$ref": f"#/channels/{RECOMMENDATIONS}"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {**_info(), "title": "Headrace: the topics"},
        "defaultContentType": JSON,
        "channels": {topic.called: _channel(topic, payloads) for topic in public},
        "operations": operations,
        "components": {"schemas": schemas},
    }


FORMATS: Final[Mapping[str, Callable[[Settings], Document]]] = MappingProxyType(
    {"openapi": openapi, "asyncapi": asyncapi, "jsonschema": json_schemas}
)
"""Format of the contract to the function that makes it."""


def encoded(document: Document) -> bytes:
    """Encodes a document to be read and compared by people."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _info() -> Document:
    return {
        "version": version("headrace"),
        "description": "Predicts what each shopper does next and decides what to show.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _bodies(endpoints: Iterable[Endpoint]) -> list[Any]:
    """Lists the types of the bodies of requests and answers, each once."""
    found: dict[str, Any] = {}
    for endpoint in endpoints:
        for each in (endpoint.body, *endpoint.answers.values()):
            if each is not None:
                found.setdefault(repr(each), each)
    return list(found.values())


def _operation(endpoint: Endpoint, schema_of: Mapping[str, Document]) -> Document:
    operation: Document = {"operationId": endpoint.name, "summary": endpoint.summary}
    if endpoint.aliases:
        operation["description"] = f"Also at {', '.join(endpoint.aliases)}."
    if endpoint.is_open:
        operation["security"] = [{}]
    if endpoint.parameters is not None:
        operation["parameters"] = _parameters(endpoint, endpoint.parameters)
    if endpoint.body is not None:
        content = {each: {"schema": schema_of[repr(endpoint.body)]} for each in endpoint.content_types}
        operation["requestBody"] = {"required": True, "content": content}
    responses: Document = {}
    for status, body in endpoint.answers.items():
        content = {JSON: {"schema": schema_of[repr(body)]}} if body is not None else {endpoint.content_type: {}}
        responses[str(status)] = {"description": _description(body) or endpoint.summary, "content": content}
    every = () if endpoint.is_open else (401,)
    for status in sorted({*endpoint.problems, *every, 500}):
        response = responses.setdefault(str(status), {"description": _PROBLEMS[status], "content": {}})
        response["content"][PROBLEM_JSON] = {"schema": schema_of[repr(ProblemDetails)]}
    operation["responses"] = dict(sorted(responses.items()))
    return operation


def _parameters(endpoint: Endpoint, parameters: type[msgspec.Struct]) -> list[Document]:
    _, schemas = _schemas([parameters], "#/components/schemas/{name}")
    schema = schemas[parameters.__name__]
    listed = []
    for name, each in schema["properties"].items():
        is_in_path = f"{{{name}}}" in endpoint.path
        place = "path" if is_in_path else "query"
        listed.append({"name": name, "in": place, "required": is_in_path, "schema": each})
    return listed


def _channel(topic: Topic, payloads: Mapping[str, Document]) -> Document:
    name = _name_of(topic)
    if topic.called == DEAD_LETTERS:
        headers = {header: {"type": "string"} for header in _DEAD_LETTER_HEADERS}
        message: Document = {
            "summary": "The record as it came, cut; the headers say why and where from.",
            "contentType": "application/octet-stream",
            "headers": {"type": "object", "properties": headers, "required": list(headers)},
        }
    else:
        message = {
            "payload": payloads[name],
            "bindings": {"kafka": {"key": {"type": "string"}}},
            "examples": [{"payload": msgspec.to_builtins(record)} for record in GOLDEN[name]],
        }
    return {
        "address": topic.name,
        "summary": f"Key: {topic.key}. Written by: {topic.writer}.",
        "messages": {name or "DeadLetter": message},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [topic.cleanup]}}},
    }


def _name_of(topic: Topic) -> str:
    name, _, encoding = topic.value.partition(", ")
    return name if encoding == "JSON" else ""


def _schemas(types: list[Any], template: str) -> tuple[list[Document], Document]:
    """Makes the schemas of types, and those that they refer to, with a description for each field."""
    references, found = msgspec.json.schema_components(types, ref_template=template)
    schemas: Document = dict(found)
    for schema in schemas.values():
        _describe(schema)
    for schema in schemas.values():
        properties = schema.get("properties", {})
        if "kind" in properties:
            _require_by_kind(properties, schema)
        _refuse_nul(properties)
    return list(references), schemas


def _require_by_kind(properties: Document, schema: Document) -> None:
    """Adds what only the decoder knows: the fields that a kind needs, but those that the door finds in a slate."""
    found = {"user_id", "position"} if schema["title"] == RewardRequest.__name__ else set[str]()
    needed = {kind: [each for each in KINDS[kind].required if each not in found] for kind in properties["kind"]["enum"]}
    schema["oneOf"] = [
        {
            "properties": {"kind": {"const": kind}, **{field: {"not": {"type": "null"}} for field in fields}},
            "required": ["kind", *fields],
        }
        for kind, fields in needed.items()
    ]


def _refuse_nul(properties: Document) -> None:
    for name in ("user_id", "item_id", "candidates"):
        each = properties.get(name, {})
        for option in each.get("anyOf", [each]):
            if option.get("type") == "string":
                option["pattern"] = _NO_NUL
            elif option.get("type") == "array":
                option["items"] = {**option["items"], "pattern": _NO_NUL}


def _describe(schema: Document) -> None:
    """Splits a docstring into the description of the type and those of its fields."""
    text, _, attributes = _plain(schema.get("description", "")).partition("\nAttributes:\n")
    if text:
        schema["description"] = " ".join(text.split())
    for name, about in re.findall(r"^    (\w+): ((?:.*(?:\n {6,}.*)*))", attributes, re.MULTILINE):
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = " ".join(about.split())


def _description(body: Any) -> str:
    return _plain(getattr(body, "__doc__", None) or "").partition("\n")[0] if isinstance(body, type) else ""


def _plain(docstring: str) -> str:
    return re.sub(r":\w+:`[~.]?([^`]*)`", r"`\1`", cleandoc(docstring)).replace("``", "`")
