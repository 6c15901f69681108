"""Schemathesis finds no request to which the door answers otherwise than its OpenAPI document says."""

from collections.abc import Iterator
from typing import Final

import pytest
import requests
import schemathesis
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import positive_data_acceptance

from streams.contract.settings import Settings
from streams.serving.contract import openapi
from tests.fuzzing import AT_LENGTH
from tests.serving.doors import DoorProcess
from tests.system.cluster import cluster

EXAMPLES: Final = 2000 if AT_LENGTH else 25
# A stream has no end.
DOCUMENT: Final = schemathesis.openapi.from_dict(openapi(Settings())).exclude(operation_id="get_stream")
DOCUMENT.config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorProcess]:
    folder = tmp_path_factory.mktemp("openapi")
    # No worker decides, so that whoever asks for a slate would wait for all of its timeout_ms.
    settings = {"HEADRACE_SERVE__MAX_LAG_S": "0.5", "HEADRACE_SERVE__PAGE": "false"}
    with cluster(folder, **settings) as it, DoorProcess(folder / "d", it.environment) as door:
        yield door


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@DOCUMENT.parametrize()
def test_every_answer_is_as_the_document_says(
    case: schemathesis.Case, door: DoorProcess, session: requests.Session
) -> None:
    # With `strict`, a message of which no event can be made refuses the request: a schema of messages cannot say which.
    excluded: list[CheckFunction] | None = [positive_data_acceptance] if "strict" in case.query else None
    case.call_and_validate(base_url=door.address, session=session, excluded_checks=excluded)
