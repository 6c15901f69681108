"""``headrace dead-letters``: exports rejected records, and replays them after they were mended."""

from pathlib import Path

import click

from streams.cli.base import Group, report_option, settings_of, settings_options, write_report
from streams.contract.errors import REASONS


@click.group(cls=Group, name="dead-letters", example="headrace dead-letters export > letters.jsonl")
def dead_letters() -> None:
    """Exports dead letters, and replays mended ones."""


@dead_letters.command(
    example="headrace dead-letters export | jq -c '.event.price |= tonumber' > mended.jsonl",
)
@click.option("--reason", type=click.Choice(REASONS), help="Only dead letters with this reason.")
@settings_options
@click.pass_context
def export(context: click.Context, reason: str | None) -> None:
    """Prints the dead letters of clickstream that were not replayed yet.

    One JSON object a line: origin, reason, detail, and the event; or the record's text if it is not a JSON object.
    """
    from streams.admin.dead_letters import DeadLetters

    letters = DeadLetters(settings_of(context))
    try:
        for line in letters.export(reason):
            click.echo(line)
    finally:
        letters.close()


@dead_letters.command(example="headrace dead-letters replay mended.jsonl --report replayed.json")
@click.argument("file", type=click.Path(path_type=Path))
@report_option
@settings_options
@click.pass_context
def replay(context: click.Context, file: Path, report: Path | None) -> None:
    """Puts mended events back into clickstream, each once.

    FILE has the lines of `export` with their `event` mended; you may leave lines out. All lines are checked before the
    first is published. Events that were replayed before are skipped, so if a run was interrupted, run it again. An
    event that is older than the allowed lateness is applied as late.
    """
    from streams.admin.dead_letters import DeadLetters, read_mended

    mended = read_mended(file)
    letters = DeadLetters(settings_of(context))
    try:
        write_report(letters.replay(mended), report)
    finally:
        letters.close()
