"""Schemathesis finds no request to which the door answers otherwise than its OpenAPI document says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from streams.contract.settings import Settings
from streams.serving.contract import openapi
from tests.fuzzing import AT_LENGTH
from tests.serving.doors import DoorProcess
from tests.system.cluster import cluster
from tests.timeouts import HANG_S

EXAMPLES: Final = 2000 if AT_LENGTH else 25
# With `strict`, a message of which no event can be made refuses the request: a schema of messages cannot say which.
CONFIGURATION: Final = """
[[operations]]
include-operation-id = ["post_batch", "post_track"]
checks.positive_data_acceptance.enabled = false
"""


def test_every_answer_is_as_the_document_says(tmp_path: Path) -> None:
    document = openapi(Settings())
    # A stream has no end.
    document["paths"] = {path: each for path, each in document["paths"].items() if path != "/v1/stream"}
    (tmp_path / "openapi.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, "utf-8")
    # No worker decides, so that whoever asks for a slate would wait for all of its timeout_ms.
    settings = {"HEADRACE_SERVE__MAX_LAG_S": "0.5", "HEADRACE_SERVE__PAGE": "false"}
    with cluster(tmp_path, **settings) as it, DoorProcess(tmp_path / "door", it.environment) as door:
        command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run"]
        options = [f"--max-examples={EXAMPLES}", "--generation-deterministic", "--no-color"]
        found = subprocess.run(
            [*command, "openapi.json", "--url", door.address, "--phases=examples,coverage,fuzzing", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20 * HANG_S if AT_LENGTH else HANG_S,
            check=False,
        )
    operations = sum(len(methods) for methods in document["paths"].values())
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"Tested: {operations}" in found.stdout, found.stdout
