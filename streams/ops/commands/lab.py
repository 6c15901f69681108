"""``headrace lab``: policies against each other in worlds whose best choice is known."""

from pathlib import Path

import click

from streams.ops.commands.base import Command, report_option, write_report


@click.command(
    cls=Command,
    example="headrace lab --policies squarecb,epsilon-greedy,greedy --world disjoint-linear --report out.json\n"
    "headrace lab --policies squarecb@0.998,squarecb --world shared-linear --drift abrupt --plot out.png\n"
    "headrace lab --policies q,q-myopic,fixed --world funnel",
)
@click.option("--policies", required=True, metavar="KIND[:VALUE][@DISCOUNT],...", help="The first is the yardstick.")
@click.option("--world", required=True, metavar="NAME", help="shared-linear, disjoint-linear, non-linear, ...")
@click.option(
    "--drift", default="none", show_default=True, metavar="NAME", help="none, gradual, abrupt, seasonal, churn"
)
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True)
@click.option("--decisions", type=click.IntRange(min=1000), default=20_000, show_default=True, help="Of each seed.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png")
@report_option
def lab(
    policies: str, world: str, drift: str, seeds: int, decisions: int, plot: Path | None, report: Path | None
) -> None:
    """Plays policies in a world with a known optimum.

    The core's own policies decide and learn, without Kafka, on the same seeds. A hyper-parameter that is not given is
    chosen on other seeds first. Every policy has the floor that it has in production; only greedy has none.
    """
    from streams.lab.study import FUNNEL, WORLD_NAMES, Study, play, read_contenders
    from streams.lab.worlds import DRIFTS
    from streams.ops.evaluate.plots import require_matplotlib
    from streams.ops.lab_plot import write_regret_plot
    from streams.ops.progress import progress

    if world not in WORLD_NAMES:
        raise click.BadParameter(f"there is no world {world!r}; there are {', '.join(WORLD_NAMES)}.")
    chosen = next((name for name in DRIFTS if name == drift), None)
    if chosen is None:
        raise click.BadParameter(f"there is no drift {drift!r}; there are {', '.join(DRIFTS)}.")
    if world == FUNNEL and chosen != "none":
        raise click.BadParameter("the funnel does not drift.")
    if plot is not None:
        if plot.suffix != ".png":
            raise click.BadParameter("--plot takes a .png file.")
        require_matplotlib()
    study = Study(read_contenders(policies, world), world, chosen, seeds, decisions)
    with progress(f"playing {world}", "decisions", study.n_plays) as advance:
        told = play(study, advance)
    if plot is not None:
        write_regret_plot(plot, told)
    for name, found in told["policies"].items():
        low, high = found["regret_ci95"]
        click.echo(f"{name:24} regret {found['regret']:9,.1f} [{low:,.1f}, {high:,.1f}]  {found['ratio_to_first']:.1%}")
    write_report(told, report, shown=True)
