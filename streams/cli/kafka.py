"""``headrace kafka``: runs Apache Kafka until Ctrl-C."""

import signal
from pathlib import Path

import click

from streams.cli.base import Command


@click.command(cls=Command, example="headrace kafka --port 9092")
@click.option("--nodes", type=click.Choice(("1", "3")), default="1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the first node.  [default: a free one]")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the address to it when ready."
)
def kafka(nodes: str, port: int | None, ready_file: Path | None) -> None:
    """Runs Apache Kafka.

    It runs in a temporary folder and on free ports of 127.0.0.1, until Ctrl-C or SIGTERM. It needs Java 17; the first
    run downloads its jars by Maven into ~/.cache/headrace. It is for tests and trials: all data is deleted at its end.
    """
    from streams.brokers.apache_kafka import ApacheKafka
    from streams.brokers.process_group import end_on_sigterm

    end_on_sigterm()
    with ApacheKafka(int(nodes), port=port) as cluster:
        if ready_file is not None:
            ready_file.write_text(f"{cluster.bootstrap_servers}\n", "utf-8")
        click.echo(f"Apache Kafka listens on {cluster.bootstrap_servers}; Ctrl-C ends it and deletes its data.")
        click.echo(f'Try: make demo ARGS="--bootstrap-servers {cluster.bootstrap_servers}"')
        while True:
            signal.pause()
