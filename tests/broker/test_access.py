"""Users of a broker with passwords and rules: one not known, one who may do nothing, one who may do what is needed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from producers.lag import LagGate
from streams.admin.tail import follow
from streams.admin.topics import create_topics
from streams.contract.acls import ADMINISTRATORS, WORKERS, Acl, acls
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings, load_settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS
from streams.engine.access import refuse_missing_access
from streams.engine.reachability import why_unreachable
from streams.engine.transactions import TransactionalOutputs
from tests.broker.secured import SecuredKafka
from tests.system.cluster import ROOT
from tests.timeouts import HANG_S, wait_until

pytestmark = pytest.mark.kafka

SHOP: Final = {"HEADRACE_ENGINE__APP_ID": "shop", "HEADRACE_KAFKA__CLICKSTREAM": "web-events"}
USERS: Final = 5


@pytest.fixture(scope="module")
def secured(kafka: str) -> Iterator[SecuredKafka]:
    """Starts it where Apache Kafka can be started at all."""
    cluster = SecuredKafka()
    with cluster:
        create_topics(Settings(kafka=Kafka(bootstrap_servers=cluster.bootstrap_servers)))
        yield cluster


def environment_of(kafka: Kafka) -> dict[str, str]:
    """Returns the environment of a user's commands."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "KAFKA_"))}
    return environment | {
        f"HEADRACE_KAFKA__{name.upper()}": str(getattr(kafka, name))
        for name in ("bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_username", "sasl_password")
    }


def run(kafka: Kafka, *arguments: str, **overrides: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command as a user."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        cwd=ROOT,
        env=environment_of(kafka) | overrides,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def refusal_of(settings: Settings) -> str:
    """Returns what a worker of these settings is told at its start, or when it opens its partitions."""
    try:
        refuse_missing_access(settings, settings.names.group())
        asyncio.run(TransactionalOutputs(settings).take_over([(CLICKSTREAM, 0)]))
    except RefusedStart as refusal:
        return str(refusal)
    return ""


def test_a_password_that_is_wrong_is_said_with_its_user(secured: SecuredKafka, tmp_path: Path) -> None:
    kafka = secured.settings_of("worker", "guessed")
    why = why_unreachable(kafka)
    assert "refused the credentials of 'worker'" in why
    assert "guessed" not in why
    done = run(kafka, "worker", "--data", str(tmp_path))
    assert done.returncode == 4
    assert "refused the credentials of 'worker'" in done.stderr
    assert "kafka.sasl_password" in done.stderr


def test_a_user_who_may_do_nothing_is_named(secured: SecuredKafka, tmp_path: Path) -> None:
    kafka = secured.settings_of("stranger")
    assert why_unreachable(kafka) == ""
    with pytest.raises(RefusedStart, match=r"does not allow this to 'stranger': .*headrace topics acls"):
        create_topics(Settings(kafka=kafka))
    done = run(kafka, "worker", "--data", str(tmp_path))
    assert done.returncode == 3
    assert "does not allow 'stranger' READ, DESCRIBE_CONFIGS on the topic clickstream; READ, WRITE" in done.stderr
    done = run(kafka, "tail", "predictions")
    assert done.returncode == 3
    assert "allow 'stranger' to describe it" in done.stderr


def test_an_application_runs_with_the_documented_access_alone_and_who_lacks_a_part_is_told_which(
    secured: SecuredKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load_settings(environment=environment_of(secured.settings_of("worker")) | SHOP)
    listed = acls(settings)
    for acl in listed:
        secured.allow("admin" if acl.needed_by == ADMINISTRATORS else "worker", acl)
    administrator = load_settings(environment=environment_of(secured.settings_of("admin")) | SHOP)
    assert len(create_topics(administrator).created) == len(settings.topics)
    wait_until(lambda: not refusal_of(settings), lambda: refusal_of(settings))
    runs_end_to_end(settings, tmp_path)
    client = AdminClient({"bootstrap.servers": secured.bootstrap_servers})
    assert {group.group_id for group in client.list_consumer_groups().result().valid} == {"shop"}
    for acl in listed:
        for operation in acl.operations if acl.needed_by == WORKERS else ():
            is_told_that_it_lacks(acl._replace(operations=(operation,)), settings, secured)
    wait_until(lambda: not refusal_of(settings), lambda: refusal_of(settings))
    a_reader_without_its_group_is_told(settings, secured, caplog)


def runs_end_to_end(settings: Settings, folder: Path) -> None:
    """Runs a worker, a replay and a tail."""
    file = folder / "UserBehavior.csv"
    file.write_text("".join(f"{user},{100 + user},7,pv,{1511658000 + user}\n" for user in range(1, USERS + 1)))
    environment = environment_of(settings.kafka) | SHOP
    command = [sys.executable, "-m", "streams.cli.main", "worker", "--data", str(folder / "disk")]
    log = folder / "log"
    with log.open("w") as said:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said)
    try:
        replayed = run(settings.kafka, "replay", str(file), "--format", "taobao", **SHOP)
        assert replayed.returncode == 0, replayed.stderr
        tailed = run(settings.kafka, "tail", RECOMMENDATIONS, "--from-beginning", "--max", str(USERS), **SHOP)
        assert {orjson.loads(line)["user_id"] for line in tailed.stdout.splitlines()} == {
            str(user) for user in range(1, USERS + 1)
        }, tailed.stderr + log.read_text()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(HANG_S) == 0, log.read_text()
        assert "topics-not-compared" not in log.read_text()
    finally:
        worker.kill()
        worker.wait()


def is_told_that_it_lacks(acl: Acl, settings: Settings, secured: SecuredKafka) -> None:
    """Takes one operation away, and gives it back."""
    secured.forbid("worker", acl)
    # A group that may not be read may not be described, either. The one before may take a moment to be back.
    begin = f"does not allow 'worker' {acl.operations[0]} on the {acl.resource} "
    wait_until(lambda: begin in refusal_of(settings), lambda: refusal_of(settings))
    wait_until(lambda: refusal_of(settings).count("kafka-acls.sh") == 1, lambda: refusal_of(settings))
    [named, command] = refusal_of(settings).partition(begin)[2].split(". An administrator allows it by: ")
    assert all(acl.covers(name) for name in named.split(", "))
    assert f"--{acl.resource} {acl.names[0]}" in command
    secured.allow("worker", acl)


def a_reader_without_its_group_is_told(
    settings: Settings, secured: SecuredKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """Takes the groups away from a tail, and from a replay that waits for the workers."""
    [groups] = [acl for acl in acls(settings) if acl.resource == "group"]
    secured.forbid("worker", groups)
    wait_until(lambda: "on the group" in refusal_of(settings), lambda: refusal_of(settings))
    with pytest.raises(RefusedStart, match=r"shop.predictions cannot be read: .*Group authorization.*topics acls"):
        list(follow(settings, PREDICTIONS, from_beginning=True, limit=USERS + 1, notify=print))
    with LagGate(settings, bound_records=1, interval_s=0.02, standstill_s=0.1) as gate:
        gate.watch(lambda: {0: (0, 2)})
        wait_until(lambda: "may the user read the group?" in caplog.text, lambda: caplog.text)
