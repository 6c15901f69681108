"""``headrace kafka``: Apache Kafka for a person who wants to see the real thing, until Ctrl-C."""

import signal
from pathlib import Path

import click

from streams.ops.commands.base import Command


@click.command(cls=Command, example="headrace kafka --ready-file /tmp/kafka &")
@click.option("--nodes", type=click.Choice(("1", "3")), default="1", show_default=True)
@click.option("--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Gets the address once it answers.")
def kafka(nodes: str, ready_file: Path | None) -> None:
    """Runs Apache Kafka.

    In a temporary folder and at free ports of 127.0.0.1, until Ctrl-C or SIGTERM. It needs Java 17; its jars come by
    Maven, the first time, and are kept in ~/.cache/headrace. It is for tests and trying out: nothing outlives it.
    """
    from streams.ops.apache import ApacheKafka
    from streams.ops.broker import end_on_sigterm

    end_on_sigterm()
    with ApacheKafka(int(nodes)) as cluster:
        if ready_file is not None:
            ready_file.write_text(f"{cluster.bootstrap_servers}\n", "utf-8")
        click.echo(f"Apache Kafka listens on {cluster.bootstrap_servers}; Ctrl-C ends it and all that it holds.")
        click.echo(f'Try: make demo ARGS="--bootstrap-servers {cluster.bootstrap_servers}"')
        while True:
            signal.pause()
