"""``headrace broker``: runs the embedded broker until Ctrl-C."""

from pathlib import Path

import click

from streams.cli.base import Command, settings_of, settings_options


@click.command(
    cls=Command, example="headrace broker --ready-file /tmp/kafka &\nexport KAFKA_BOOTSTRAP_SERVERS=$(cat /tmp/kafka)"
)
@click.option("--partitions", type=click.IntRange(min=1), help="Number of partitions.  [default: kafka.partitions]")
@click.option("--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the address to it at start.")
@settings_options
@click.pass_context
def broker(context: click.Context, partitions: int | None, ready_file: Path | None) -> None:
    """Runs the embedded broker.

    A small Kafka broker with all topics; it runs until Ctrl-C or SIGTERM. It is for demos and tests: in memory only, on
    127.0.0.1 only. The system chooses the port; librdkafka has no option for it.
    """
    import signal

    from msgspec.structs import replace

    from streams.brokers.embedded import NOTICE, serving
    from streams.brokers.process_group import end_on_sigterm

    settings = settings_of(context)
    if partitions is not None:
        settings = replace(settings, kafka=replace(settings.kafka, partitions=partitions))
    end_on_sigterm()
    with serving({topic.name: topic.partitions for topic in settings.topics}, ready_file) as cluster:
        click.echo(f"listening on {cluster.bootstrap_servers}")
        click.echo(NOTICE)
        while True:
            signal.pause()
