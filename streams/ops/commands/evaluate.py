"""``headrace evaluate``: what the core's parts are worth, measured on files, without Kafka."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

from streams.contract.errors import ConfigurationError
from streams.ops.commands.base import Group, report_option, settings_of, settings_options, write_report
from streams.ops.commands.served import pipeline, replay, shop

if TYPE_CHECKING:
    from streams.contract.settings import Member

DATASETS: Final = {
    "online-shoppers": ("online_shoppers/online_shoppers_intention.csv", "Revenue", ()),
    "credit-default": ("credit_default_uci/UCI_Credit_Card.csv", "default.payment.next.month", ("ID",)),
}
"""Name to its file below the folder of the data sets, its label, and what is not a feature."""

TAOBAO: Final = "taobao_userbehavior/user_histories.csv"

evaluate = Group(
    "evaluate", example="headrace evaluate models --help", help="Measures the core on files, without Kafka."
)


def data_dir() -> Path:
    """Returns the folder of the public data sets."""
    return Path(os.environ.get("HEADRACE_DATA") or "../shared/data")


@evaluate.command(
    example="headrace evaluate models --dataset online-shoppers --seeds 10 --yardstick --report out.json\n"
    "headrace evaluate models --dataset csv sales.csv --label sold --time at --plot out.png"
)
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--dataset", type=click.Choice((*DATASETS, "taobao", "csv")), required=True)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Orders of the examples.")
@click.option("--label", metavar="COLUMN", help="What to predict: a column of two values; of taobao a target.")
@click.option("--ignore", "ignored", metavar="COLUMN", multiple=True, help="Leave it out; may be repeated.")
@click.option("--time", metavar="COLUMN", help="Order the rows by it, instead of at random.")
@click.option("--members", metavar="NAME,NAME", help="Of the family, champion first.")
@click.option("--trees", is_flag=True, help="Also Hoeffding adaptive tree and adaptive random forest: slow.")
@click.option("--yardstick", is_flag=True, help="Also batch gradient boosting on the same split.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png|FILE.html")
@report_option
@settings_options
@click.pass_context
def models(
    context: click.Context,
    path: Path | None,
    dataset: str,
    seeds: int,
    label: str | None,
    ignored: tuple[str, ...],
    time: str | None,
    members: str | None,
    trees: bool,
    yardstick: bool,
    plot: Path | None,
    report: Path | None,
) -> None:
    """Measures a target's family on a table.

    Each example is predicted before it is learned, by the code that serves the stream. Data sets are looked for in
    HEADRACE_DATA, ../shared/data without it; `csv` takes any table with a header.
    """
    from streams.ops.evaluate.clickstream import read_clickstream
    from streams.ops.evaluate.models import MEMBERS, Options, evaluate_table
    from streams.ops.evaluate.plots import require_matplotlib, write_plot
    from streams.ops.evaluate.table import read_table
    from streams.ops.progress import progress

    if plot is not None:
        if plot.suffix not in {".png", ".html"}:
            raise click.BadParameter("--plot takes a .png or an .html file.")
        require_matplotlib()
    options = Options(_members(members, MEMBERS), seeds, trees, yardstick)
    if dataset == "taobao":
        path, label = path or data_dir() / TAOBAO, label or "purchase"
        if ignored or time:
            raise click.UsageError("--dataset taobao has its own features and its own time.")
        with progress(f"folding {path.name}", "events") as advance:
            table = read_clickstream(path, label, settings_of(context), advance)
    elif dataset == "csv":
        if path is None:
            raise click.UsageError("--dataset csv needs the path of a table.")
    elif path is not None:
        raise click.UsageError(f"--dataset {dataset} has a path of its own; --dataset csv takes any.")
    else:
        file, own_label, not_features = DATASETS[dataset]
        path, label, ignored = data_dir() / file, label or own_label, (*ignored, *not_features)
    if dataset != "taobao":
        table = read_table(path, label, ignored, time)
    with progress(f"learning {path.name}", "examples", len(table.labels) * seeds) as advance:
        outcome = evaluate_table(label or "", table, options, advance)
    if plot is not None:
        write_plot(plot, f"{path.name}, {label}: one order of {len(table.labels):,} examples", outcome.curves)
    write_report({"dataset": dataset} | outcome.report, report)


@evaluate.command(example="headrace evaluate retrieval clicks_train.tsv clicks_test.tsv --report retrieval.json")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--scored",
    type=click.IntRange(min=1),
    metavar="N",
    help="Score the last N events.  [default: as many as the last of several files has, a sixth of a single one]",
)
@report_option
@settings_options
@click.pass_context
def retrieval(context: click.Context, sessions: tuple[Path, ...], scored: int | None, report: Path | None) -> None:
    """Measures how well retrieval guesses the next item.

    SESSIONS are files of visited items with the columns session_id, item_id and time (or SessionId, ItemId, Time), by
    commas or tabs; they are merged in the order of time. Each step whose next item differs from the current one is
    guessed first and learned then.
    """
    from streams.ops.evaluate.retrieval import evaluate_retrieval

    write_report(evaluate_retrieval(settings_of(context), sessions, scored), report)


@evaluate.command(example="headrace evaluate drift --member linear --seeds 5 --report out.json")
@click.option("--member", default="linear", show_default=True, help="Of a family.")
@click.option("--before", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Examples.")
@click.option("--after", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Examples.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Streams.")
@report_option
def drift(member: str, before: int, after: int, seeds: int, report: Path | None) -> None:
    """Measures how fast a member comes back from drift.

    The weights behind the labels are permuted in mid-stream, which makes them no harder to predict. Counted are the
    examples after which the loss above an oracle's is halved, with the fresh challenger and without.
    """
    from streams.ops.evaluate.drift import evaluate_drift

    write_report(evaluate_drift(_members(member, ())[0], before, after, seeds), report)


@evaluate.command(
    example="headrace evaluate policy --log decisions.jsonl --policy bandit\n"
    "headrace evaluate policy --log obd/random/all --policy table --table bts_all.csv"
)
@click.option(
    "--log", type=click.Path(path_type=Path), required=True, help="A .jsonl, a CSV, or a folder of Open Bandit."
)
@click.option("--policy", required=True, metavar="NAME", help="A configured one, uniform or table.")
@click.option("--table", type=click.Path(path_type=Path), metavar="FILE", help="Of --policy table.")
@click.option("--cap", type=click.FloatRange(min=1.0), help="No importance weight is above it; its bias is reported.")
@click.option("--least-effective", type=click.FloatRange(min=1.0), default=500.0, show_default=True, metavar="N")
@click.option("--resamples", type=click.IntRange(min=100), default=1000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@report_option
@settings_options
@click.pass_context
def policy(
    context: click.Context,
    log: Path,
    policy: str,
    table: Path | None,
    cap: float | None,
    least_effective: float,
    resamples: int,
    seed: int,
    report: Path | None,
) -> None:
    """Estimates what a frozen policy would have earned on decisions that others made.

    The log is what `headrace decisions dump` writes, a CSV (action, propensity, reward; context_*, position and user_id
    if there are such), or a campaign's folder of the Open Bandit data. Estimates of an effective sample size below
    --least-effective are refused; where all are, so is the whole.
    """
    from math import inf

    from streams.ops.evaluate.policy import Options, evaluate_policy

    options = Options(policy, table, inf if cap is None else cap, least_effective, resamples, seed)
    write_report(evaluate_policy(settings_of(context), log, options), report)


def _members(given: str | None, default: "tuple[Member, ...]") -> "tuple[Member, ...]":
    import msgspec

    from streams.contract.settings import Member

    if given and "hurdle" in given.split(","):
        raise ConfigurationError("--members: hurdle predicts amounts, and a label has two values here")
    try:
        return msgspec.convert(given.split(","), tuple[Member, ...]) if given else default
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"--members: there are {', '.join(get_args(Member))}") from error


for command in (pipeline, replay, shop):
    evaluate.add_command(command)
