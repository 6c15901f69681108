"""``headrace decisions``: the log of decisions, for evaluation."""

from pathlib import Path

import click

from streams.ops.commands.base import Group, settings_of, settings_options, write_report


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
    """Writes decisions with the clicks on them.

    All that the topics still hold of what was shown, a line of JSON each, after the policies' latest weights: what
    `headrace evaluate policy --log` reads.
    """
    from streams.ops.decisions import dump_decisions

    write_report(dump_decisions(settings_of(context), file), None)
