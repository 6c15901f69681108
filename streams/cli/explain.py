"""``headrace explain``: shows a shopper's probabilities and the reasons for them."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from streams.cli.base import Command, data_option, settings_of, settings_options


@click.command(cls=Command, example="headrace explain user-17 --data .headrace | jq .targets.purchase.reasons")
@click.argument("user_id")
@data_option
@settings_options
@click.pass_context
def explain(context: click.Context, user_id: str, data: Path | None) -> None:
    """Prints a shopper's present probabilities and their strongest reasons.

    They are as of the shopper's last event, by the latest models, read without a broker or a worker. The output is a
    table on a terminal, and JSON when piped. A reason is a feature with its contribution to the log-odds, or to the
    logarithm of an amount.
    """
    from streams.admin.explanation import explain_shopper

    settings = settings_of(context)
    explained = explain_shopper(settings, data or Path(settings.engine.data_dir), user_id)
    if sys.stdout.isatty():
        _show(explained)
    else:
        click.echo(json.dumps(explained))


def _show(explained: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "target", "expected", "reasons, in log-odds", "by", box=SIMPLE_HEAD, title=escape(explained["user_id"])
    )
    for name, target in explained["targets"].items():
        reasons = "\n".join(
            f"{reason['contribution']:+.2f} {reason['group']}: {reason['words']}" for reason in target["reasons"]
        )
        by = f"{target['champion']}, version {target['version']}" if target["version"] else "prior"
        expected = f"{target['amount']:.2f}" if "amount" in target else f"{target['probability']:.1%}"
        table.add_row(escape(name), expected, reasons or "none", by)
    Console().print(table)
