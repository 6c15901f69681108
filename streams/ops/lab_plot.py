"""Regret curves of a study, with their intervals, as a picture."""

from pathlib import Path
from typing import Any

from streams.contract.errors import ConfigurationError


def write_regret_plot(path: Path, told: dict[str, Any]) -> None:
    """Writes a ``.png`` of what :func:`streams.lab.study.play` has told.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, found in told["policies"].items():
        curve = found["curve"]
        axes.plot(curve["decisions"], curve["regret"], label=name)
        axes.fill_between(curve["decisions"], curve["low"], curve["high"], alpha=0.2)
    axes.set_title(f"{told['world']}, drift {told['drift']}, {told['seeds']} seeds")
    axes.set_xlabel("decisions")
    axes.set_ylabel("regret, mean and 95 % interval")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise ConfigurationError(f"the plot cannot be written: {error}") from error
