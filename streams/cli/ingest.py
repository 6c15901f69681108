"""``headrace ingest``: maps a topic of another shape into the clickstream."""

from pathlib import Path

import click

from streams.cli.base import Command, Registered, notify, report_option, settings_of, settings_options, write_report


@click.command(cls=Command, example="headrace ingest --from web-events --mapping my-shop.toml")
@click.option("--from", "topic", required=True, metavar="TOPIC", help="Topic of the same cluster, with JSON records.")
@click.option("--format", "name", type=Registered("producers.formats.registry:FORMATS"), help="Format of the records.")
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Format of your own: which field is what.",
)
@report_option
@settings_options
@click.pass_context
def ingest(context: click.Context, topic: str, name: str | None, mapping: Path | None, report: Path | None) -> None:
    """Maps the records of a topic into the clickstream, until it is stopped.

    Each record is mapped exactly once, also if the process is killed: its events and the position in the topic are
    committed together. The events of each partition keep their order. What cannot be mapped becomes a dead letter.
    Start several to share the partitions. Ctrl-C and SIGTERM end it, with a summary.
    """
    import signal
    import threading

    from producers.formats.format import Format
    from producers.formats.mapping import load_mapping
    from producers.formats.registry import FORMATS
    from producers.ingest import Ingestion
    from streams.observability.progress import progress

    if (name is None) == (mapping is None):
        raise click.UsageError("Give either --format, for a built-in format, or --mapping, for one of your own.")
    form = Format(load_mapping(mapping)) if mapping is not None else FORMATS[name or ""][0]
    settings = settings_of(context)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with Ingestion(settings, form, topic, notify) as ingestion, progress(f"ingesting {topic}", "records") as advance:
        ingestion.run(stopping.is_set, advance)
    write_report(ingestion.summary, report)
