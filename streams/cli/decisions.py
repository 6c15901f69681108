"""``headrace decisions``: writes the log of decisions, for evaluation."""

from pathlib import Path

import click

from streams.cli.base import Group, settings_of, settings_options, write_report


@click.group(cls=Group, example="headrace decisions dump decisions.jsonl")
def decisions() -> None:
    """Writes the log of decisions."""


@decisions.command(
    example="headrace decisions dump decisions.jsonl\nheadrace evaluate policy --log decisions.jsonl --policy bandit"
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.jsonl")
@settings_options
@click.pass_context
def dump(context: click.Context, file: Path) -> None:
    """Writes the shown decisions, with the clicks on them, to a file.

    The file has the policies' latest weights, then all shown decisions that the topics still hold, one JSON object a
    line. `headrace evaluate policy --log` reads it.
    """
    from streams.admin.decisions import dump_decisions

    write_report(dump_decisions(settings_of(context), file), None)
