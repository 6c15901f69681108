"""Plot of a study's regret curves with their intervals."""

from pathlib import Path
from typing import Any

from streams.contract.errors import ConfigurationError


def write_regret_plot(path: Path, result: dict[str, Any]) -> None:
    """Writes a ``.png`` of the result of :func:`streams.evaluation.laboratory.study.play`.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, summary in result["policies"].items():
        curve = summary["curve"]
        axes.plot(curve["decisions"], curve["regret"], label=name)
        axes.fill_between(curve["decisions"], curve["low"], curve["high"], alpha=0.2)
    axes.set_title(f"{result['world']}, drift {result['drift']}, {result['seeds']} seeds")
    axes.set_xlabel("decisions")
    axes.set_ylabel("regret, mean and 95 % interval")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise ConfigurationError(f"the plot cannot be written: {error}") from error
