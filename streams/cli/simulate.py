"""``headrace simulate``: runs synthetic shoppers on the cluster."""

from pathlib import Path

import click

from streams.cli.base import Command, notify, report_option, settings_of, settings_options, total_of, write_report


@click.command(cls=Command, example="headrace simulate --events 100000 --seed 7 --report simulation.json")
@click.option("--events", type=click.IntRange(min=1), default=100_000, show_default=True, help="With feedback.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--items", type=click.IntRange(min=1), default=2000, show_default=True)
@report_option
@settings_options
@click.pass_context
def simulate(context: click.Context, events: int, seed: int, users: int, items: int, report: Path | None) -> None:
    """Runs synthetic shoppers.

    They browse, buy, and react to the workers' recommendations. Their items are listed in the catalogue first; workers
    then propose listed items only. Their event time begins in January 2025, or where the cluster's event time is later,
    there. It runs as fast as the workers decide.
    """
    import signal
    import threading

    from msgspec.structs import asdict

    from producers.simulator.closed_loop import fit_to_workers, simulate_closed_loop
    from producers.simulator.parameters import SimulationParameters
    from streams.observability.progress import progress

    settings = settings_of(context)
    shop = SimulationParameters(seed=seed, events=events, n_users=users, n_items=items)
    parameters = fit_to_workers(shop, settings)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    with progress("simulating", "events", events) as advance:
        simulated = simulate_closed_loop(settings, parameters, stopping.is_set, notify, total_of(advance))
    write_report(asdict(simulated.summary) | {"attainable": simulated.attainable(settings)}, report)
