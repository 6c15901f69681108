"""What is deployed and what is documented is what the code does."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pytest
import yaml

from streams.contract.settings import Settings, load_settings
from streams.engine import exits
from streams.engine.incidents import INCIDENTS
from streams.ops.cli import headrace

ROOT: Final = Path(__file__).parents[1]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
COMPOSE: Final = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


def test_the_example_configuration_is_every_default() -> None:
    path = ROOT / "deploy/headrace.toml"
    assert load_settings(path) == Settings()
    defaults = json.loads(msgspec.json.encode(Settings()))
    for target in defaults["targets"]:
        # TOML has no word for nothing.
        if target["label"] is None:
            del target["label"]
    assert tomllib.loads(path.read_text("utf-8")) == defaults


def test_every_service_waits_for_what_it_needs_and_only_loopback_is_published() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    for service in services.values():
        for name, awaited in service.get("depends_on", {}).items():
            assert (
                awaited["condition"] != "service_healthy"
                or "healthcheck" in services[name]
                or "build" in services[name]
            )
            assert awaited["condition"] != "service_completed_successfully" or "restart" not in services[name]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        if "build" not in service:
            assert re.search(r":\d+\.\d+\.\d+$", service["image"])


def test_each_worker_has_a_volume_of_its_own_where_its_data_is() -> None:
    worker = COMPOSE["services"]["worker"]
    dockerfile = (ROOT / "deploy/Dockerfile").read_text("utf-8")
    assert worker["deploy"]["replicas"] == 2
    [volume] = worker["volumes"]
    assert ":" not in volume  # a name would be shared by the replicas
    assert f"HEADRACE_ENGINE__DATA_DIR={volume}\n" in dockerfile
    assert f"VOLUME {volume}\n" in dockerfile


def test_the_environment_of_the_services_is_what_the_settings_read() -> None:
    environment = COMPOSE["services"]["worker"]["environment"]
    advertised = COMPOSE["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"//{load_settings(environment=environment).kafka.bootstrap_servers}," in advertised


@pytest.mark.parametrize("service", ["topics", "worker", "simulator"])
def test_every_service_runs_a_command_of_the_command_line(service: str) -> None:
    command: click.Command = headrace
    for word in COMPOSE["services"][service]["command"]:
        assert isinstance(command, click.Group)
        assert word in command.commands
        command = command.commands[word]
    assert not isinstance(command, click.Group)


def test_the_image_is_of_the_version_that_is_declared() -> None:
    version = PYPROJECT["project"]["version"]
    assert COMPOSE["services"]["worker"]["image"] == f"headrace:{version}"
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == version  # type: ignore[index]  # no heading is a failure


def test_the_documented_topics_are_exactly_the_topics() -> None:
    text = (ROOT / "docs/ARCHITECTURE.md").read_text("utf-8")
    table = text.partition("| topic |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == ["| " + " | ".join(map(str, topic)) + " |" for topic in Settings().topics]


@pytest.mark.parametrize("document", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_every_path_in_a_document_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    links = [document.parent / link for link in re.findall(r"\]\(([^)#:]+)[)#]", text)]
    paths = [ROOT / path for path in re.findall(r"`((?:streams|producers|docs|deploy|tests)/[\w./-]+)`", text)]
    assert [path for path in links + paths if not path.exists()] == []


RUNBOOK: Final = (ROOT / "docs/runbook.md").read_text("utf-8")


def test_every_incident_has_its_entry_in_the_runbook_and_no_other_has() -> None:
    entries = RUNBOOK.partition("## Incidents")[2]
    assert re.findall(r"^### (.+)$", entries, re.MULTILINE) == [incident.name for incident in INCIDENTS]


def test_every_exit_code_of_a_worker_is_in_the_runbook() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", RUNBOOK, re.MULTILINE)}
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes
    assert codes <= documented


def test_every_command_that_an_incident_advises_exists() -> None:
    for incident in INCIDENTS:
        for words in re.findall(r"headrace ((?:[a-z-]+ ?)+)", incident.todo):
            command: click.Command = headrace
            for word in words.split():
                if isinstance(command, click.Group):
                    command = command.commands[word]


def test_the_image_asks_the_worker_how_it_is() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text("utf-8")
    [words] = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert json.loads(words)[:2] == ["headrace", "health"]
    assert "health" in headrace.commands
