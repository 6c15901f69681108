"""``headrace lab``: compares policies in simulated worlds with a known optimum."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.base import Command, Registered, report_option, write_report

if TYPE_CHECKING:
    from streams.evaluation.laboratory.worlds import Drift


@click.command(
    cls=Command,
    example="headrace lab --policies squarecb,epsilon-greedy,greedy --world disjoint-linear --report out.json\n"
    "headrace lab --policies squarecb@0.998,squarecb --world shared-linear --drift abrupt --plot out.png\n"
    "headrace lab --policies squarecb,linucb --world disjoint-linear --delay 400\n"
    "headrace lab --policies q,q-myopic,fixed --world funnel",
)
@click.option("--policies", required=True, metavar="KIND[:VALUE][@DISCOUNT],...", help="Policies, the baseline first.")
@click.option("--world", required=True, type=Registered("streams.evaluation.laboratory.study:WORLD_NAMES"))
@click.option(
    "--drift", default="none", show_default=True, type=Registered("streams.evaluation.laboratory.worlds:DRIFTS")
)
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True)
@click.option("--decisions", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Per seed.")
@click.option(
    "--delay",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Decisions whose rewards are learned together, after the last of them; 0 learns each at once.",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png")
@report_option
def lab(
    policies: str,
    world: str,
    drift: "Drift",
    seeds: int,
    decisions: int,
    delay: int,
    plot: Path | None,
    report: Path | None,
) -> None:
    """Compares policies in a simulated world with a known optimum.

    The policies of production decide and learn, without Kafka, on the same seeds. A hyper-parameter that is not given
    is tuned on other seeds first. Every policy has its floor of production; only greedy has none. In production rewards
    come minutes after the decision: choose by a --delay of some hundred decisions.
    """
    from streams.evaluation.laboratory.plot import write_regret_plot
    from streams.evaluation.laboratory.study import FUNNEL, Study, play, read_contenders
    from streams.evaluation.plots import require_matplotlib
    from streams.observability.progress import progress

    if world == FUNNEL and drift != "none":
        raise click.BadParameter(f"the world {FUNNEL} has no drift; leave --drift out.")
    if world == FUNNEL and delay:
        raise click.BadParameter(f"the world {FUNNEL} learns at once; leave --delay out.")
    if plot is not None:
        if plot.suffix != ".png":
            raise click.BadParameter("--plot takes a .png file.")
        require_matplotlib()
    study = Study(read_contenders(policies, world), world, drift, seeds, decisions, delay)
    with progress(f"playing {world}", "decisions", study.n_plays) as advance:
        result = play(study, advance)
    if plot is not None:
        write_regret_plot(plot, result)
    for name, row in result["policies"].items():
        low, high = row["regret_ci95"]
        edge = f"  {row['end_of_grid']} is an end of the grid" if "end_of_grid" in row else ""
        click.echo(
            f"{name:24} regret {row['regret']:9,.1f} [{low:,.1f}, {high:,.1f}]  {row['ratio_to_first']:.1%}{edge}"
        )
    write_report(result, report, shown=True)
