"""``headrace experiment``: sets or shows the policies' shares while the workers run."""

import click

from streams.cli.base import Group, settings_of, settings_options
from streams.contract.errors import ConfigurationError


@click.group(cls=Group, example="headrace experiment set random=0.2 bandit=0.8 --shadow q")
def experiment() -> None:
    """Sets or shows the experiment in force."""


@experiment.command(name="set", example="headrace experiment set random=0.05 ranked=0.05 bandit=0.9 --shadow q")
@click.argument("shares", nargs=-1, required=True, metavar="POLICY=SHARE...")
@click.option("--shadow", "shadows", multiple=True, metavar="POLICY", help="Decides for the log only; may be repeated.")
@settings_options
@click.pass_context
def set_shares(context: click.Context, shares: tuple[str, ...], shadows: tuple[str, ...]) -> None:
    """Changes the shares of the policies.

    Every worker applies them within seconds, without a restart, and keeps them over restarts. A shopper moves only away
    from a policy whose share fell or to one whose share rose. A policy that is left out has no share.
    """
    from streams.admin.experiments import set_experiment
    from streams.contract.experiment import Experiment, misfit_of

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

    It is the one of the topic; if the topic has none, or a refused one, the one of the settings.
    """
    import orjson

    from streams.admin.experiments import read_experiment

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
