"""The command line as a shell sees it: exit codes, one line per error, lines of JSON when piped."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from producers.formats.registry import CHOICES
from streams.admin.inspection import VIEWS
from streams.admin.tail import LAYOUTS
from streams.agents import FOLDS
from streams.brokers.embedded import EmbeddedBroker
from streams.cli import main as cli
from streams.contract.errors import (
    REASONS,
    BrokenInvariant,
    ConfigurationError,
    HeadraceError,
    RefusedStart,
    UndeliveredOutput,
    UnreachableBroker,
    UnreadableSource,
)
from streams.contract.metrics import GroundTruthMetrics, encode_metrics
from streams.contract.records import JSON, Recommendation, RecommendedItem
from streams.contract.settings import Settings
from streams.evaluation.datasets import DATASETS
from streams.evaluation.laboratory.worlds import DRIFTS, WORLDS
from tests.timeouts import HANG_S


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEADRACE_") or name == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(name)


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def headrace(*arguments: str) -> tuple[int, str, str]:
    """Runs a command to its end, piped; returns its exit code and what it printed to both streams."""
    with start(*arguments) as process:
        output, errors = process.communicate(timeout=HANG_S)
    return process.returncode, output, errors


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(commands(cli.headrace)))
def test_every_command_shows_an_example_of_itself(
    path: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    _, _, example = shown.partition("\nExample:\n")
    assert "headrace " in example
    assert f" {' '.join(path)}" in example


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"headrace {version('headrace')}\n"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["wor"], ["worker"]),
        (["--vers"], ["--version"]),
        (["evaluate", "mod"], ["models"]),
        (["kafka", "--po"], ["--port"]),
        (["worker", "--fold", ""], list(FOLDS)),
        (["wroker", "wor"], ["worker"]),
    ],
)
def test_bash_completes_commands_options_and_their_values(typed: list[str], completed: list[str]) -> None:
    script = """
        source <(echo "$source")
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _headrace_completion "$command"
        printf '%s\n' "${COMPREPLY[@]}"
    """
    command = str(Path(sys.executable).with_name("headrace"))
    environment = os.environ | {"_HEADRACE_COMPLETE": "bash_source"}
    source = subprocess.run([command], env=environment, capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(
        ["bash", "-c", script, "bash", "headrace", *typed],
        env=os.environ | {"source": source, "command": command},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert shown.stdout.split() == completed


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, errors = headrace("kafka", "--port", port)
    assert code == 3
    assert f"127.0.0.1:{port}" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["worker", "--help"], ["worker", "--fold", "nothing"]])
def test_help_and_refused_arguments_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        f"import sys; from streams.cli.main import run; run({arguments});"
        "print(sorted({'confluent_kafka', 'faust', 'msgspec', 'numpy', 'rich', 'rocksdict'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tail", "nothing"],
        ["tail", "metrics", "--max", "0"],
        ["broker", "--partitions", "none"],
        ["inspect"],
        ["no-such-command"],
        ["--no-such-option"],
        ["--config", "no-such-file.toml", "config", "show"],
        ["inspect", "users", "--data", "no-such-directory"],
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("headrace: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("x"), 2),
        (UnreadableSource("x"), 2),
        (RefusedStart("x"), 3),
        (UnreachableBroker("x"), 4),
        (BrokenInvariant("x"), 1),
        (UndeliveredOutput("x"), 1),
        (HeadraceError("two\nlines"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setitem(cli.headrace.commands, "failing", failing)
    assert cli.run(["failing"]) == status
    assert len(capsys.readouterr().err.splitlines()) == 1 or status == cli.INTERRUPTED


def test_what_is_typed_wins_over_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.toml"
    file.write_text('[kafka]\nbootstrap_servers = "file:1"\nreplication_factor = 3\nsasl_password = "secret"\n')

    def shown(*arguments: str) -> str:
        assert cli.run(["--config", str(file), *arguments, "config", "show"]) == 0
        text = capsys.readouterr().out
        assert "secret" not in text
        assert json.loads(text)["kafka"]["replication_factor"] == 3
        return str(json.loads(text)["kafka"]["bootstrap_servers"])

    assert shown() == "file:1"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "environment:1")
    assert shown() == "environment:1"
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP_SERVERS", "special:1")
    assert shown() == "special:1"
    assert shown("--bootstrap-servers", "typed:1,typed:2") == "typed:1,typed:2"


def test_the_options_that_say_where_settings_come_from_may_stand_behind_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.toml"
    file.write_text("[kafka]\npartitions = 7\n")
    behind = ["--config", str(file), "--bootstrap-servers", "behind:1"]
    assert cli.run(["--bootstrap-servers", "before:1", "config", "show", *behind]) == 0
    kafka = json.loads(capsys.readouterr().out)["kafka"]
    assert (kafka["partitions"], kafka["bootstrap_servers"]) == (7, "behind:1")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["wroker"], "No such command 'wroker'; did you mean worker?"),
        (["evaluate", "model"], "No such command 'model'; did you mean models?"),
        (["zzz"], "No such command 'zzz'."),
    ],
)
def test_an_unknown_command_names_the_nearest(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err == f"headrace: {complaint}\n"


def test_topics_are_listed_as_json_when_piped() -> None:
    code, output, _ = headrace("topics", "list")
    listed = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [topic["name"] for topic in listed] == [topic.name for topic in Settings().topics]
    assert all(topic["config"]["cleanup.policy"] == topic["cleanup"] for topic in listed)


@pytest.mark.broker
def test_tail_prints_one_json_object_a_line_when_piped(broker: EmbeddedBroker) -> None:
    decisions = [
        Recommendation(
            decision_id=f"d{number}",
            event_ref=f"clickstream-0-{number}",
            user_id=f"user-{number}",
            timestamp_ms=1_000_000 + number,
            policy="bandit",
            items=[RecommendedItem("item-1", 0.25, 0.125, "popular")],
            model_versions={"bandit": 1},
        )
        for number in range(20)
    ]
    client = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for decision in decisions:
        client.produce("recommendations", key=decision.user_id.encode(), value=JSON.encode(decision))
    assert client.flush(HANG_S) == 0
    code, output, errors = headrace(
        "--bootstrap-servers", broker.bootstrap_servers, "tail", "recommendations", "--from-beginning", "--max", "20"
    )
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines()]
    assert sorted(lines, key=lambda line: line["timestamp_ms"]) == [json.loads(JSON.encode(one)) for one in decisions]


def on_a_terminal(*arguments: str) -> str:
    """Runs a command to its end with a terminal as its standard output; returns what it showed there."""
    ours, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, "-m", "streams.cli.main", *arguments], stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that the other side is closed
            raise
    finally:
        os.close(ours)
    assert process.wait(HANG_S) == 0
    return shown.decode()


@pytest.mark.broker
def test_on_a_terminal_people_get_lines_and_tables(broker: EmbeddedBroker) -> None:
    client = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    value = encode_metrics(GroundTruthMetrics(source="simulator", timestamp_ms=1, policies={}))
    client.produce("metrics", key=b"worker-1", value=value)
    assert client.flush(HANG_S) == 0
    tailed = on_a_terminal(
        "--bootstrap-servers", broker.bootstrap_servers, "tail", "metrics", "--from-beginning", "--max", "1"
    )
    assert "worker-1" in tailed
    assert "simulator" in tailed
    assert '{"type"' not in tailed
    assert "item-rows-changelog" in on_a_terminal("topics", "list")


@pytest.mark.broker
def test_tail_ends_quietly_when_its_reader_has_enough(broker: EmbeddedBroker) -> None:
    client = Producer({"bootstrap.servers": broker.bootstrap_servers})
    client.produce("predictions", value=b"{}")
    assert client.flush(HANG_S) == 0
    with start("--bootstrap-servers", broker.bootstrap_servers, "tail", "predictions", "--from-beginning") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "{}\n"
        process.stdout.close()
        client.produce("predictions", value=b"{}")
        assert client.flush(HANG_S) == 0
        assert process.wait(HANG_S) == 0
        assert process.stderr.read() == ""


@pytest.mark.broker
def test_tail_of_a_topic_that_is_not_there_is_refused() -> None:
    with EmbeddedBroker() as empty:
        code, _, errors = headrace("--bootstrap-servers", empty.bootstrap_servers, "tail", "metrics")
    assert code == 3
    assert "headrace topics create" in errors


def test_tail_without_a_broker_says_so_in_one_line() -> None:
    code, _, errors = headrace("--bootstrap-servers", "127.0.0.1:1", "tail", "metrics")
    assert code == 4
    assert errors.startswith("headrace: no broker answers at 127.0.0.1:1: ")
    assert "nobody listens there" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.broker
def test_an_application_whose_topics_have_no_prefix_yet_is_told(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_ENGINE__APP_ID", "shop")
    code, _, errors = headrace("--bootstrap-servers", broker.bootstrap_servers, "tail", "predictions", "--max", "1")
    assert code == 3
    assert "there is no topic shop.predictions" in errors
    assert 'kafka.topic_prefix = "" goes on with them' in errors


@pytest.mark.broker
def test_the_broker_command_serves_all_topics_until_sigterm(tmp_path: Path) -> None:
    ready = tmp_path / "address"
    with start("broker", "--partitions", "3", "--ready-file", str(ready)) as process:
        assert process.stdout is not None
        greeting, notice = process.stdout.readline(), process.stdout.readline()
        address = greeting.removeprefix("listening on ").strip()
        assert "for demos and tests" in notice
        assert "real broker" in notice
        assert ready.read_text() == f"{address}\n"
        metadata = AdminClient({"bootstrap.servers": address}).list_topics(timeout=HANG_S)
        assert len(metadata.topics["clickstream"].partitions) == 3
        assert len(metadata.topics) == len(Settings().topics)
        process.terminate()
        assert process.wait(HANG_S) == 0
    assert not ready.exists()


@pytest.mark.broker
def test_ctrl_c_ends_the_broker_quietly_with_130() -> None:
    with start("broker") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 130
        assert process.stderr.read().strip() == ""


@pytest.mark.broker
def test_creating_topics_that_are_there_is_fine(broker: EmbeddedBroker) -> None:
    code, output, _ = headrace("--bootstrap-servers", broker.bootstrap_servers, "topics", "create")
    assert code == 0
    assert output == f"0 created, {len(Settings().topics)} there already\n"


@pytest.mark.broker
def test_creating_topics_where_nobody_can_says_why() -> None:
    with EmbeddedBroker() as empty:
        code, _, errors = headrace("--bootstrap-servers", empty.bootstrap_servers, "topics", "create")
    assert code == 3
    assert "if it is the embedded broker, restart it with these settings" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "parameter", "registry"),
    [
        (("worker",), "folds", FOLDS),
        (("inspect",), "view", VIEWS),
        (("tail",), "topic", LAYOUTS),
        (("replay",), "name", CHOICES),
        (("evaluate", "pipeline"), "name", CHOICES),
        (("evaluate", "replay"), "name", CHOICES),
        (("evaluate", "models"), "dataset", (*DATASETS, "csv")),
        (("lab",), "world", (*WORLDS, "funnel")),
        (("lab",), "drift", DRIFTS),
        (("dead-letters", "export"), "reason", REASONS),
    ],
)
def test_what_can_be_chosen_is_what_is_registered(
    path: tuple[str, ...], parameter: str, registry: Iterable[str]
) -> None:
    (choice,) = [each.type for each in dict(commands(cli.headrace))[path].params if each.name == parameter]
    assert isinstance(choice, click.Choice)
    assert choice.choices == tuple(registry)
    assert [choice.convert(name, None, None) for name in registry] == list(registry)
