"""``headrace serve``: runs an HTTP door."""

from pathlib import Path

import click

from streams.cli.base import Command, notify, settings_of, settings_options


@click.command(
    cls=Command,
    example="headrace serve --port 8080 &\ncurl localhost:8080/v1/events --json @events.json",
)
@click.option("--host", help="Address to listen on.  [default: serve.host]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [default: serve.port]")
@click.option("--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the address to it at start.")
@click.option("--loglevel", type=click.Choice(("debug", "info", "warning", "error")), default="warning")
@settings_options
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None, ready_file: Path | None, loglevel: str) -> None:
    """Runs an HTTP door: events in, slates out, and the page for people at `/`.

    It runs until Ctrl-C or SIGTERM, and first answers what it has begun to. Any number of doors may run on one cluster.
    """
    from msgspec.structs import replace

    from streams.serving.server import run_door

    settings = settings_of(context)
    if host is not None:
        settings = replace(settings, serve=replace(settings.serve, host=host))
    if port is not None:
        settings = replace(settings, serve=replace(settings.serve, port=port))
    run_door(settings, loglevel, notify, ready_file)
