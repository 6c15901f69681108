"""The table as a picture: events per core-second of each job, on a logarithmic scale."""

from collections.abc import Mapping
from pathlib import Path


def draw(rates: Mapping[str, float], path: Path) -> bool:
    """Draws the bars to a PNG; returns whether matplotlib is there to do it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = sorted(rates, key=lambda name: rates[name])
    figure = Figure(figsize=(8, 0.5 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [rates[name] for name in names], log=True)
    axes.bar_label(bars, [f"{rates[name]:,.0f}" for name in names], padding=3)
    axes.set_xlabel("events per core-second")
    axes.margins(x=0.15)
    figure.savefig(path)
    return True
