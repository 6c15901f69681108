"""The command ``headrace``.

A command parses its arguments, calls one module and prints what comes back; what is heavy is imported by the command
that needs it, so that ``--help`` is quick. A further command is one more function here with ``@headrace.command()``.
Exit codes: 0 done, 1 a broken promise, 2 wrong arguments or settings, 3 a refused start, 4 no broker, 130 Ctrl-C, and
143 for a demo that was terminated.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

import click

from streams.contract.errors import (
    ConfigurationError,
    HeadraceError,
    RefusedStart,
    UnreachableBroker,
    UnreadableSource,
)
from streams.contract.topics import DEAD_LETTERS, METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.ops.commands.base import Group, report_option, settings_of, settings_options, write_report
from streams.ops.commands.dead_letters import dead_letters
from streams.ops.commands.decisions import decisions
from streams.ops.commands.evaluate import evaluate
from streams.ops.commands.experiment import experiment
from streams.ops.commands.explain import explain
from streams.ops.commands.health import health
from streams.ops.commands.kafka import kafka
from streams.ops.commands.lab import lab
from streams.ops.commands.models import models

WRONG_ARGUMENTS: Final = 2
INTERRUPTED: Final = 130
TERMINATED: Final = 143

_STATUS: Final[dict[type[HeadraceError], int]] = {
    ConfigurationError: 2,
    UnreadableSource: 2,
    RefusedStart: 3,
    UnreachableBroker: 4,
}
_ANY_OTHER_ERROR: Final = 1
_LINES_AT_ONCE: Final = 1000
_VIEWS: Final = ("users", "items", "models")
_FOLDS: Final = ("behaviour", "relations", "learning")
_TAILED: Final = (RECOMMENDATIONS, PREDICTIONS, METRICS, DEAD_LETTERS)


def main() -> None:
    """Runs the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; errors are one line on standard error."""
    try:
        result = headrace.main(list(arguments), prog_name="headrace", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG_ARGUMENTS
    except click.ClickException as error:
        return _complain(error.format_message(), WRONG_ARGUMENTS)
    except HeadraceError as error:
        return _complain(str(error), _STATUS.get(type(error), _ANY_OTHER_ERROR))
    return result if isinstance(result, int) else 0


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    example="headrace --bootstrap-servers localhost:9092 topics create",
)
@settings_options
def headrace() -> None:
    """Predicts what each shopper will do next and decides what to show them, event by event, on Kafka.

    Any setting can be overridden by an environment variable HEADRACE_SECTION__KEY. Both options may also stand behind
    the name of a command that reads settings.
    """


headrace.add_command(dead_letters)
headrace.add_command(decisions)
headrace.add_command(evaluate)
headrace.add_command(experiment)
headrace.add_command(explain)
headrace.add_command(health)


@headrace.command(example="headrace broker --ready-file /tmp/kafka &\nexport KAFKA_BOOTSTRAP_SERVERS=$(cat /tmp/kafka)")
@click.option("--partitions", type=click.IntRange(min=1), help="Instead of kafka.partitions of the settings.")
@click.option("--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Gets the address once it listens.")
@settings_options
@click.pass_context
def broker(context: click.Context, partitions: int | None, ready_file: Path | None) -> None:
    """Runs the embedded broker.

    A small Kafka broker that has all topics, until Ctrl-C or SIGTERM. It is for demos and tests: in memory only, on
    127.0.0.1 only, and at a port that the system chooses, since librdkafka lets nobody else choose it.
    """
    import signal

    from msgspec.structs import replace

    from streams.ops.broker import NOTICE, end_on_sigterm, serving

    settings = settings_of(context)
    if partitions is not None:
        settings = replace(settings, kafka=replace(settings.kafka, partitions=partitions))
    end_on_sigterm()
    with serving({topic.name: topic.partitions for topic in settings.topics}, ready_file) as cluster:
        click.echo(f"listening on {cluster.bootstrap_servers}")
        click.echo(NOTICE)
        while True:
            signal.pause()


headrace.add_command(kafka)
headrace.add_command(models)
headrace.add_command(lab)


@headrace.group(example="headrace topics list")
def topics() -> None:
    """Creates or lists the topics."""


@topics.command(example="HEADRACE_KAFKA__REPLICATION_FACTOR=3 headrace --bootstrap-servers kafka:9092 topics create")
@settings_options
@click.pass_context
def create(context: click.Context) -> None:
    """Creates the topics that are missing.

    Their partitions, replication and clean-up are given, never left to the broker. A topic that is there with another
    number of partitions is refused with exit code 3, since keys would move.
    """
    from streams.ops.topics import create_topics

    creation = create_topics(settings_of(context))
    for name in creation.created:
        click.echo(f"created {name}")
    click.echo(f"{len(creation.created)} created, {len(creation.existing)} there already")


@topics.command(name="list", example="headrace topics list | jq -r .name")
@settings_options
@click.pass_context
def list_topics(context: click.Context) -> None:
    """Lists the topics.

    As the settings make them: a table, or lines of JSON when piped. Asks no broker.
    """
    from streams.ops.topics import describe_topic

    settings = settings_of(context)
    if not sys.stdout.isatty():
        for topic in settings.topics:
            click.echo(json.dumps(describe_topic(topic, settings.kafka.replication_factor)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    headers = ("key", "value", "partitions", "clean-up", "written by")
    columns = [Column(header, overflow="fold") for header in headers]
    table = Table(Column("topic", no_wrap=True), *columns, box=SIMPLE_HEAD)
    for topic in settings.topics:
        table.add_row(topic.name, topic.key, topic.value, str(topic.partitions), topic.cleanup, topic.writer)
    Console().print(table)


@headrace.command(example="headrace tail dead-letters --from-beginning | jq -r .reason | sort | uniq -c")
@click.argument("topic", type=click.Choice(_TAILED))
@click.option("--from-beginning", is_flag=True, help="Start with the oldest record that the broker still has.")
@click.option("--max", "limit", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@settings_options
@click.pass_context
def tail(context: click.Context, topic: str, from_beginning: bool, limit: int | None) -> None:
    """Follows an output topic.

    It is coloured on a terminal, and one JSON object a line when piped.
    """
    from rich.console import Console

    from streams.ops.tail import follow, json_line, terminal_text

    def notify(sentence: str) -> None:
        click.echo(f"headrace: {sentence}", err=True)

    batches = follow(settings_of(context).kafka, topic, from_beginning, limit, notify)
    if sys.stdout.isatty():
        console = Console()
        for message in chain.from_iterable(batches):
            console.print(terminal_text(message))
    else:
        _print_lines([json_line(message) for message in batch] for batch in batches)


@headrace.command(example="headrace inspect users --data .headrace | head -1 | jq .")
@click.argument("view", type=click.Choice(_VIEWS))
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Instead of engine.data_dir.")
@settings_options
@click.pass_context
def inspect(context: click.Context, view: str, data: Path | None) -> None:
    """Prints the rows of a data directory.

    One JSON object a line; needs no broker and no worker.
    """
    from streams.ops.inspect import VIEWS, dump_view

    lines = dump_view(data or Path(settings_of(context).engine.data_dir), VIEWS[view])
    _print_lines(iter(lambda: list(islice(lines, _LINES_AT_ONCE)), []))


@headrace.group(example="headrace config show")
def config() -> None:
    """Shows the settings in force."""


@config.command(example="HEADRACE_KAFKA__PARTITIONS=8 headrace --config shop.toml config show")
@settings_options
@click.pass_context
def show(context: click.Context) -> None:
    """Prints the settings in force.

    File and environment are applied; it is JSON, with secrets blanked.
    """
    import orjson

    from streams.contract.settings import dump_settings

    click.echo(orjson.dumps(dump_settings(settings_of(context)), option=orjson.OPT_INDENT_2))


@headrace.command(
    example="headrace worker --data /var/lib/headrace\nHEADRACE_CONFIG=shop.toml faust -A streams.app worker"
)
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Instead of engine.data_dir.")
@click.option("--fold", "folds", multiple=True, type=click.Choice(_FOLDS), help="Run only this fold; may be repeated.")
@click.option("--loglevel", type=click.Choice(("debug", "info", "warning", "error")), default="warning")
@settings_options
@click.pass_context
def worker(context: click.Context, data: Path | None, folds: tuple[str, ...], loglevel: str) -> None:
    """Runs a worker.

    It folds its share of the partitions until Ctrl-C or SIGTERM. Start as many as there are cores, each with a data
    directory of its own. Either every worker of a cluster runs all folds, or each fold runs on workers of its own.
    """
    from msgspec.structs import replace

    from streams.ops.worker import run_worker

    settings = settings_of(context)
    if data is not None:
        settings = replace(settings, engine=replace(settings.engine, data_dir=str(data)))
    run_worker(settings, folds or _FOLDS, loglevel)


@headrace.command(example="headrace simulate --events 100000 --seed 7 --report simulation.json")
@click.option("--events", type=click.IntRange(min=1), default=100_000, show_default=True, help="Feedback included.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--items", type=click.IntRange(min=1), default=2000, show_default=True)
@report_option
@settings_options
@click.pass_context
def simulate(context: click.Context, events: int, seed: int, users: int, items: int, report: Path | None) -> None:
    """Runs synthetic shoppers.

    They browse, buy, and react to the recommendations that the workers publish. Their event time begins in January
    2025 and runs as fast as the workers decide.
    """
    from producers.simulator.parameters import SimulationParameters
    from streams.ops.simulating import simulate_shown

    parameters = SimulationParameters(seed=seed, events=events, n_users=users, n_items=items)
    write_report(simulate_shown(settings_of(context), parameters), report)


@headrace.command(example="headrace replay UserBehavior.csv --format taobao --speed 60x")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "name", required=True, help="Of the file: taobao.")
@click.option("--speed", default="max", show_default=True, help="max, or a factor of the recorded pace: 1x, 60x.")
@report_option
@settings_options
@click.pass_context
def replay(context: click.Context, file: Path, name: str, speed: str, report: Path | None) -> None:
    """Replays a file into the clickstream.

    At any speed the same rows come of it. It ends with a tick for each partition, two hours past the last event, so
    that labels mature.
    """
    from streams.ops.replaying import replay_shown

    def notify(sentence: str) -> None:
        click.echo(f"headrace: {sentence}", err=True)

    write_report(replay_shown(settings_of(context), file, name, speed, notify), report)


@headrace.command(example="headrace demo --events 100000 --seed 7 --headless --report out.json")
@click.option("--events", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="End after so many,")
@click.option(
    "--seconds", type=click.FloatRange(min=0.0), default=None, help="or after so long.  [default: 80 without --events]"
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--headless", is_flag=True, help="Plain lines instead of the live view.")
@report_option
@settings_options
@click.pass_context
def demo(
    context: click.Context,
    events: int,
    seconds: float | None,
    seed: int,
    users: int,
    headless: bool,
    report: Path | None,
) -> None:
    """Runs the whole main job here.

    An embedded broker, a worker and synthetic shoppers in a closed loop, with a live view; about a minute and a half.
    With --bootstrap-servers it runs on that broker instead. It leaves nothing running.
    """
    from streams.ops.broker import end_on_sigterm
    from streams.ops.demo import DemoOptions, run_demo

    end_on_sigterm(TERMINATED)
    given = context.get_parameter_source("events") is click.core.ParameterSource.COMMANDLINE
    options = DemoOptions(
        events=events,
        seconds=(0.0 if given else 80.0) if seconds is None else seconds,
        seed=seed,
        users=users,
        headless=headless,
        embedded=context.obj.bootstrap_servers is None and "KAFKA_BOOTSTRAP_SERVERS" not in os.environ,
    )
    write_report(run_demo(settings_of(context), options), report, shown=True)


def _print_lines(batches: Iterable[list[bytes]]) -> None:
    """Writes lines to standard output, batch by batch, until the reader, such as ``head``, has enough."""
    output = click.get_binary_stream("stdout")
    try:
        for lines in batches:
            output.write(b"".join(line + b"\n" for line in lines))
            output.flush()
    except BrokenPipeError:
        # Python flushes once more at its exit, and that must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _complain(message: str, status: int) -> int:
    click.echo(f"headrace: {' '.join(message.split())}", err=True)
    return status


if __name__ == "__main__":
    main()
