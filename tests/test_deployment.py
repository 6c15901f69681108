"""What is deployed and what is documented is what the code does."""

import importlib
import json
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pytest
import yaml

import streams
from streams.app import consumer_group
from streams.cli.main import headrace
from streams.contract.acls import acls
from streams.contract.events import Event
from streams.contract.settings import Engine, Kafka, Settings, load_settings
from streams.engine import exit_codes
from streams.engine.incidents import Incident

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


def test_the_workflow_makes_what_exists_on_every_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text("utf-8"))
    job = workflow["jobs"]["check"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert "make check" in commands
    for command in commands:
        make, *targets = command.split()
        assert make == "make"
        assert set(targets) <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(PYPROJECT["project"]["classifiers"]))
    assert job["strategy"]["matrix"]["python"] == versions
    assert job["env"] == {
        "HEADRACE_REQUIRE_KAFKA": "1",
        "HEADRACE_REQUIRE_NODE": "1",
        "HEADRACE_REQUIRE_BROWSER": "1",
        "PYTHON": "python${{ matrix.python }}",
    }
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert uses
    assert all(re.search(r"@v\d+\.\d+\.\d+$", action) for action in uses)


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


DOCUMENTS: Final = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
INDEX: Final = ROOT / "docs/README.md"
MEASUREMENTS: Final = ROOT / "docs/measurements/README.md"
ARCHITECTURE: Final = (ROOT / "docs/explanation/architecture.md").read_text("utf-8")


def links_of(document: Path) -> list[tuple[Path, str]]:
    """Lists the files that a document links to, each with the heading it names."""
    found = re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", document.read_text("utf-8"))
    return [((document.parent / path).resolve() if path else document, heading) for path, heading in found]


def headings_of(document: Path) -> set[str]:
    """Lists the anchors of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells(table: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_path_in_a_document_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = [str(path) for path, _ in links_of(document) if not path.exists()]
    missing += [
        f"{path}#{heading}"
        for path, heading in links_of(document)
        if heading and path.suffix == ".md" and path.exists() and heading not in headings_of(path)
    ]
    paths = re.findall(r"`((?:streams|producers|docs|deploy|tests)/[\w./-]+)`", text)
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_every_page_is_in_the_index() -> None:
    listed = {path for index in (INDEX, MEASUREMENTS) for path, _ in links_of(index)}
    orphans = set(ROOT.glob("docs/**/*.md")) - listed - {INDEX}
    assert {str(page.relative_to(ROOT)) for page in orphans} == set()


def test_the_documented_topics_are_exactly_the_topics() -> None:
    text = (ROOT / "docs/reference/topics.md").read_text("utf-8")
    table = text.partition("| topic |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == ["| " + " | ".join(map(str, topic[:-1])) + " |" for topic in Settings().topics]


def test_the_documented_access_is_what_workers_ask_for() -> None:
    text = (ROOT / "docs/reference/access.md").read_text("utf-8")
    table = text.partition("| needed by |")[2].partition("\n\n")[0].splitlines()[2:]
    shop = Settings(engine=Engine(app_id="shop"), kafka=Kafka(clickstream="web-events"))
    assert table == [
        f"| {acl.needed_by} | {acl.resource} | {', '.join(acl.names)} | "
        f"{'prefixed' if acl.are_prefixes else 'literal'} | {', '.join(acl.operations)} |"
        for acl in acls(shop)
    ]
    groups = set(re.findall(r"`(shop[.\w]*)`", text.partition("| group |")[2].partition("\n\n")[0]))
    parts = [["behaviour"], ["items"], ["learning"], ["items", "learning"]]
    assert groups == {shop.names.readers, *(consumer_group(shop.names, folds) for folds in parts)}


def test_the_documented_event_has_exactly_the_fields_of_an_event() -> None:
    text = (ROOT / "docs/reference/topics.md").read_text("utf-8")
    table = text.partition("## Event")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(Event.__struct_fields__)


def test_every_command_is_in_the_reference() -> None:
    def commands(command: click.Command, name: str) -> list[str]:
        if not isinstance(command, click.Group):
            return [name]
        return [leaf for word, inner in command.commands.items() for leaf in commands(inner, f"{name} {word}")]

    table = (ROOT / "docs/reference/command-line.md").read_text("utf-8").partition("| command |")[2]
    assert sorted(first_cells(table)) == sorted(commands(headrace, "headrace"))


@pytest.mark.parametrize(("container", "indent"), [("streams", 2), ("streams.core", 4)])
def test_the_rooms_of_the_architecture_are_the_layers_that_are_checked(container: str, indent: int) -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == [container]]
    arrows = " ▶ ".join(layers).replace("(", "").replace(")", "")
    assert re.search(rf"^[\w :]*(?<!\w){re.escape(arrows)}$", ARCHITECTURE, re.MULTILINE)
    tree = ARCHITECTURE.partition("    streams/\n")[2].partition("    producers/")[0]
    rooms = re.findall(rf"^ {{{4 + indent}}}(\w+)(?:/|\.py) ", tree, re.MULTILINE)
    assert sorted(rooms) == sorted(re.findall(r"\w+", arrows))


def test_what_the_glossary_says_is_in_the_code_is_there() -> None:
    rows = re.findall(r"((?:`\w+`,? )+)in `([\w/.]+)`", (ROOT / "docs/glossary.md").read_text("utf-8"))
    assert rows
    for names, path in rows:
        source = (ROOT / path).read_text("utf-8")
        assert [name for name in re.findall(r"\w+", names) if not re.search(rf"(class|def) {name}\b", source)] == []


MODULES: Final = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(streams.__path__, "streams.")
    if not module.name.endswith("__main__")
]
INCIDENTS: Final = sorted(
    {value for module in MODULES for value in vars(module).values() if isinstance(value, Incident)}
)
RUNBOOK: Final = (ROOT / "docs/how-to/runbook.md").read_text("utf-8")


def test_every_incident_has_its_entry_in_the_runbook_and_no_other_has() -> None:
    entries = RUNBOOK.partition("## Incidents")[2]
    assert sorted(re.findall(r"^### (.+)$", entries, re.MULTILINE)) == [incident.name for incident in INCIDENTS]


def test_every_exit_code_of_a_worker_is_in_the_runbook() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", RUNBOOK, re.MULTILINE)}
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
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
