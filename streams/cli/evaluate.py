"""``headrace evaluate``: measures models, retrieval and policies on files, without Kafka."""

import os
from pathlib import Path
from typing import Literal

import click

from streams.cli.base import (
    Group,
    Registered,
    notify,
    report_option,
    settings_of,
    settings_options,
    strict_option,
    write_report,
)
from streams.cli.recorded import FileOptions, formats_of, mapping_option, recorded, timeline_of
from streams.cli.served import pipeline, replay, shop
from streams.contract.errors import ConfigurationError

evaluate = Group(
    "evaluate",
    example="headrace evaluate models --help",
    help="Measures models, retrieval and policies on files, without Kafka.",
)


def data_dir() -> Path:
    """Returns the folder of the public data sets."""
    return Path(os.environ.get("HEADRACE_DATA") or "../shared/data")


@evaluate.command(
    example="headrace evaluate models --dataset online-shoppers --seeds 10 --baseline --report out.json\n"
    "headrace evaluate models --dataset csv sales.csv --label sold --time at --plot out.png"
)
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--dataset", type=Registered("streams.evaluation.datasets:CHOICES"), required=True)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Number of random orders.")
@click.option("--label", metavar="COLUMN", help="Column to predict, with two values; for taobao, a target.")
@click.option("--positive", metavar="VALUE", help="Value of the label to predict.  [default: the rarer one]")
@click.option("--ignore", "ignored", metavar="COLUMN", multiple=True, help="Leave this column out; may be repeated.")
@click.option("--time", metavar="COLUMN", help="Order the rows by this column instead of at random.")
@click.option("--models", metavar="NAME,NAME", help="Models to measure; their mixture serves.")
@click.option("--baseline", is_flag=True, help="Also measure batch gradient boosting on the same split.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png|FILE.html")
@mapping_option
@strict_option
@report_option
@settings_options
@click.pass_context
def models(
    context: click.Context,
    path: Path | None,
    dataset: str,
    seeds: int,
    label: str | None,
    positive: str | None,
    ignored: tuple[str, ...],
    time: str | None,
    models: str | None,
    baseline: bool,
    plot: Path | None,
    mappings: tuple[Path, ...],
    strict: bool,
    report: Path | None,
) -> None:
    """Measures the models on a table.

    Each example is predicted before it is learned, by the code that serves the stream. Data sets are read from the
    folder HEADRACE_DATA, by default ../shared/data. `csv` takes any table with a header, `clickstream` any file of
    events that `headrace replay` reads, both also compressed with gz or zst; the path - is standard input. The report
    says what was inferred about each column.
    """
    from producers.delimited import LeftOut
    from streams.evaluation.clickstream import clickstream_table
    from streams.evaluation.comparison import Options, evaluate_table
    from streams.evaluation.datasets import ANY_TABLE, DATASETS
    from streams.evaluation.plots import require_matplotlib, write_plot
    from streams.evaluation.table import read_table
    from streams.observability.progress import progress

    if plot is not None:
        if plot.suffix not in {".png", ".html"}:
            raise click.BadParameter("--plot takes a .png or an .html file.")
        require_matplotlib()
    options = Options(_models(models), seeds, baseline)
    left_out = LeftOut(strict)
    known = DATASETS.get(dataset)
    if path is None and (known is None or not known.file):
        raise click.UsageError(f"--dataset {dataset} needs the path of a file.")
    if known is not None and known.format:
        if ignored or time or positive:
            raise click.UsageError(f"--dataset {dataset} has its own features and its own time.")
        path, label = path or known.below(data_dir()), label or known.label
        files = FileOptions(known.format, mappings, strict=strict)
        with recorded([path], files) as read, timeline_of(read, files) as timeline:
            events, left_out = list(timeline.events()), read[0].recording.left_out
        with progress(f"folding {path.name}", "events", len(events)) as advance:
            table = clickstream_table(events, path.name, label, settings_of(context), advance)
    else:
        if mappings:
            raise click.UsageError("--mapping is for --dataset clickstream.")
        if known is not None and path is not None:
            raise click.UsageError(f"--dataset {dataset} has a path of its own; --dataset {ANY_TABLE} takes any.")
        if known is not None:
            label, ignored = label or known.label, (*ignored, *known.ignored)
        path = path or DATASETS[dataset].below(data_dir())
        table = read_table(path, label, ignored, time, positive=positive, left_out=left_out)
        for warning in (*table.warnings, *left_out.sentences(path)):
            notify(warning)
    with progress(f"learning {path.name}", "examples", len(table.labels) * seeds) as advance:
        outcome = evaluate_table(label or "", table, options, advance)
    if plot is not None:
        write_plot(plot, f"{path.name}, {label}: one order of {len(table.labels):,} examples", outcome.curves)
    write_report({"dataset": dataset, "left_out": left_out.count} | outcome.report, report)


@evaluate.command(example="headrace evaluate retrieval clicks_train.tsv clicks_test.tsv --report retrieval.json")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--scored",
    type=click.IntRange(min=1),
    metavar="N",
    help="Score the last N events.  [default: the events of the last file; of a single file a sixth]",
)
@mapping_option
@report_option
@settings_options
@click.pass_context
def retrieval(
    context: click.Context,
    sessions: tuple[Path, ...],
    scored: int | None,
    mappings: tuple[Path, ...],
    report: Path | None,
) -> None:
    """Measures how well retrieval predicts the next item.

    SESSIONS are files of visited items with the columns session_id, item_id and time (or SessionId, ItemId, Time),
    separated by commas, semicolons, tabs or |, or files of events that `headrace replay` reads, of which the views
    count. They are merged in the order of time. Each step to another item is predicted first and learned afterwards.
    """
    from streams.evaluation.retrieval.report import evaluate_retrieval

    write_report(
        evaluate_retrieval(settings_of(context), sessions, scored, formats_of(FileOptions(mappings=mappings))), report
    )


@evaluate.command(example="headrace evaluate drift --model linear --seeds 5 --report out.json")
@click.option(
    "--model", default="linear", show_default=True, type=Registered("streams.evaluation.progressive:MODELS_OF_VECTORS")
)
@click.option("--before", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Examples before it.")
@click.option("--after", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Examples after it.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of streams.")
@report_option
def drift(model: str, before: int, after: int, seeds: int, report: Path | None) -> None:
    """Measures how fast a model recovers from drift.

    The weights behind the labels are permuted in mid-stream; the labels are as easy to predict as before. The result is
    the number of examples until the loss above an oracle's is halved, with a replacement and without.
    """
    from streams.evaluation.drift import evaluate_drift

    write_report(evaluate_drift(model, before, after, seeds), report)


@evaluate.command(example="headrace evaluate mixture --streams 200 --report out.json")
@click.option("--streams", type=click.IntRange(min=1), default=20, show_default=True, help="Streams of each kind.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first stream.")
@report_option
def mixture(streams: int, seed: int, report: Path | None) -> None:
    """Measures on synthetic streams what mixing two models costs, and what is claimed about them.

    Half of the streams have equal models, in the others one is ahead by 5 % of its loss. The result has, by share of
    positives and number of predictions that share an outcome, the mixture's loss above the better model's, as a share
    of the loss of knowing the rate alone, and the share of streams in which a model was said to be better.
    """
    from streams.evaluation.forecasters import evaluate_forecasters

    write_report(evaluate_forecasters(streams, seed), report)


@evaluate.command(
    example="headrace evaluate policy --log decisions.jsonl --policy bandit\n"
    "headrace evaluate policy --log obd/random/all --policy bts_all.csv --against uniform --against arm:12"
)
@click.option(
    "--log", type=click.Path(path_type=Path), required=True, help="A .jsonl file, a CSV, or a folder of Open Bandit."
)
@click.option(
    "--policy",
    required=True,
    metavar="NAME",
    help="A configured policy, uniform, or table; for a CSV also arm:ACTION, a column of it, or a table's FILE.csv.",
)
@click.option(
    "--against", metavar="NAME", multiple=True, help="Compare with this policy on the same rows; may be repeated."
)
@click.option("--table", type=click.Path(path_type=Path), metavar="FILE", help="Probabilities for --policy table.")
@click.option(
    "--actions", type=click.Path(path_type=Path), metavar="FILE", help="The actions that exist: a CSV, column action."
)
@click.option(
    "--interval",
    type=click.Choice(["likelihood", "betting"]),
    default="likelihood",
    show_default=True,
    help="By empirical likelihood, or by bets, which hold for any number of decisions and are wider.",
)
@click.option("--cap", type=click.FloatRange(min=1.0), help="Largest importance weight; its bias is reported.")
@click.option(
    "--least-effective",
    type=click.FloatRange(min=1.0),
    default=500.0,
    show_default=True,
    metavar="N",
    help="Smallest effective sample size of an estimate.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=100),
    default=10_000,
    show_default=True,
    help="Draws for the critical value of several intervals at once.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@report_option
@settings_options
@click.pass_context
def policy(
    context: click.Context,
    log: Path,
    policy: str,
    against: tuple[str, ...],
    table: Path | None,
    actions: Path | None,
    interval: Literal["likelihood", "betting"],
    cap: float | None,
    least_effective: float,
    resamples: int,
    seed: int,
    report: Path | None,
) -> None:
    """Estimates the reward of a frozen policy from logged decisions of other policies.

    The log is a file of `headrace decisions dump`, a CSV with the columns action, propensity, reward and, optionally,
    context_*, position, user_id and columns of other policies' probabilities of the chosen action, or a campaign's
    folder of the Open Bandit data. What the log cannot tell is refused with the reason: an effective sample size below
    --least-effective, choices that were never logged, a mean weight other than 1, a heavy tail of weights. If all
    estimates are refused, the command fails.
    """
    from math import inf

    from streams.evaluation.offpolicy.evaluation import Options, evaluate_policy

    options = Options(
        policy, table, inf if cap is None else cap, least_effective, resamples, seed, against, actions, interval
    )
    evaluated = evaluate_policy(settings_of(context), log, options)
    if "warning" in evaluated:
        notify(evaluated["warning"])
    write_report(evaluated, report)


def _models(given: str | None) -> tuple[str, ...]:
    from streams.evaluation.comparison import MEMBERS

    names = tuple(given.split(",")) if given else MEMBERS
    if unknown := [name for name in names if name not in MEMBERS]:
        raise ConfigurationError(f"--models: there is no model {unknown[0]!r} here; known: {', '.join(MEMBERS)}")
    return names


for command in (pipeline, replay, shop):
    evaluate.add_command(command)
