"""``headrace inspect``: prints the rows of a data directory."""

from itertools import islice
from pathlib import Path
from typing import Final

import click

from streams.cli.base import Command, Registered, data_option, print_lines, settings_of, settings_options

_BATCH_LINES: Final = 1000


@click.command(cls=Command, example="headrace inspect users --data .headrace | head -1 | jq .")
@click.argument("view", type=Registered("streams.admin.inspection:VIEWS"))
@data_option
@settings_options
@click.pass_context
def inspect(context: click.Context, view: str, data: Path | None) -> None:
    """Prints the rows of a data directory.

    One JSON object a line, read without a broker or a worker.
    """
    from streams.admin.inspection import VIEWS, dump_view

    lines = dump_view(data or Path(settings_of(context).engine.data_dir), VIEWS[view])
    print_lines(iter(lambda: list(islice(lines, _BATCH_LINES)), []))
