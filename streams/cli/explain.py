"""``headrace explain``: shows why an item was shown, or a shopper's probabilities and the reasons for them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.base import Command, data_option, settings_of, settings_options

if TYPE_CHECKING:
    from streams.contract.settings import Settings

_LEAST_WEIGHT: Final = 0.005
"""Of a model that is named: less is 0 % in print."""


@click.command(
    cls=Command,
    example="headrace explain clickstream-3-41 --slot 2\n"
    "headrace explain user-17 --data .headrace | jq .targets.purchase.reasons",
)
@click.argument("id_", metavar="DECISION|EVENT|USER")
@click.option("--slot", type=click.IntRange(min=1), metavar="N", help="Slot of the slate, from 1.  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on a terminal, too.")
@data_option
@settings_options
@click.pass_context
def explain(context: click.Context, id_: str, slot: int | None, as_json: bool, data: Path | None) -> None:
    """Prints why an item was shown, or a shopper's present probabilities with their strongest reasons.

    A decision is named by its decision_id, or by the event_ref of the event that asked, and read from the topics, as
    are the titles of its items. Anything else is a shopper, and so is any id with `--data` and without `--slot`: their
    probabilities are as of the last event, by the latest models, read from the data directory without a broker or a
    worker. The output is text on a terminal, and JSON when piped. A reason is a group of features with its
    contribution: to the score, the log-odds, or the logarithm of an amount.
    """
    from streams.admin.logged_decisions import is_reference

    settings, as_json = settings_of(context), as_json or not sys.stdout.isatty()
    if slot is None and (data is not None or not is_reference(id_)):
        from streams.admin.explanation import explain_shopper

        explained = explain_shopper(settings, data or Path(settings.engine.data_dir), id_)
        if as_json:
            click.echo(json.dumps(explained))
        else:
            _show(explained)
        return
    if data is not None:
        raise click.UsageError("--slot is of a decision, which is read from the topics; leave --data out.")
    _explain_decision(settings, id_, slot or 1, as_json=as_json)


def _explain_decision(settings: "Settings", reference: str, slot: int, *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from streams.admin.catalogue import find_titles
    from streams.admin.logged_decisions import find_decision
    from streams.admin.tail import visible
    from streams.evaluation.decision_explanation import explain_decision

    found = find_decision(settings, reference)
    explained = explain_decision(found.decision, found.shadows, slot, settings.decisions, find_titles(settings))
    if as_json:
        click.echo(msgspec.json.encode(explained))
    else:
        for sentence in explained.sentences:
            Console().print(visible(sentence), markup=False, highlight=False)


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
        weights = sorted(target["weights"].items(), key=lambda each: -each[1])
        by = ", ".join(f"{model} {weight:.0%}" for model, weight in weights if weight >= _LEAST_WEIGHT)
        by = f"{by}; version {target['version']}" if target["version"] else "prior"
        expected = f"{target['amount']:.2f}" if "amount" in target else f"{target['probability']:.1%}"
        table.add_row(escape(name), expected, reasons or "none", by)
    Console().print(table)
