"""``headrace experiment``: who decides for whom, while the workers run."""

import click

from streams.contract.errors import ConfigurationError
from streams.ops.commands.base import Group, settings_of, settings_options


@click.group(cls=Group, example="headrace experiment set control=0.2 bandit=0.8 --shadow q")
def experiment() -> None:
    """Sets or shows the experiment in force."""


@experiment.command(name="set", example="headrace experiment set control=0.1 bandit=0.9 --shadow q")
@click.argument("shares", nargs=-1, required=True, metavar="POLICY=SHARE...")
@click.option("--shadow", "shadows", multiple=True, metavar="POLICY", help="Decides and logs unseen; may be repeated.")
@settings_options
@click.pass_context
def set_shares(context: click.Context, shares: tuple[str, ...], shadows: tuple[str, ...]) -> None:
    """Changes the shares of the policies.

    Every worker takes them over within a moment, without a restart, and keeps them over restarts. Nobody changes hands
    but from a policy whose share fell or to one whose share rose. A policy that is left out has no share.
    """
    from streams.contract.experiment import Experiment, misfit_of
    from streams.ops.experiments import set_experiment

    settings = settings_of(context)
    chosen = dict(map(_share, shares))
    if misfit := misfit_of(chosen, shadows, settings.decisions.policy_names):
        raise ConfigurationError(misfit)
    set_experiment(settings, Experiment(shares=chosen, shadows=shadows))
    click.echo(", ".join(f"{policy} {share:g}" for policy, share in chosen.items()))


@experiment.command(example="headrace experiment show | jq .shares")
@settings_options
@click.pass_context
def show(context: click.Context) -> None:
    """Prints the experiment in force.

    It is that of the topic, or that of the settings where the topic has none or one that was refused.
    """
    import orjson

    from streams.ops.experiments import read_experiment

    click.echo(orjson.dumps(read_experiment(settings_of(context))))


def _share(text: str) -> tuple[str, float]:
    policy, _, share = text.partition("=")
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if not policy or not 0.0 <= number <= 1.0:
        raise click.BadParameter(
            f"{text!r} is not POLICY=SHARE with a share between 0 and 1", param_hint="POLICY=SHARE"
        )
    return policy, number
