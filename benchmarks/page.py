"""What was measured as pictures: the rates of the table, and what an event costs as the shop grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

GOAL: Final = 1.5
"""What an event may cost at the largest size, in what it costs at the smallest."""


def draw(report: Mapping[str, Any], path: Path) -> list[Path]:
    """Draws what the report holds to PNGs beside ``path``, and returns them.

    Raises:
        ImportError: There is something to draw, and no matplotlib.
    """
    pictures = []
    if "events_per_core_s" in report:
        pictures.append(path.with_suffix(".png"))
        draw_rates(report["events_per_core_s"], pictures[-1])
    if "growth" in report:
        pictures.append(path.with_name(f"{path.stem}-growth.png"))
        draw_growth(report["growth"], pictures[-1])
    return pictures


def draw_rates(rates: Mapping[str, float], path: Path) -> None:
    """Draws a bar for each job, on a logarithmic scale."""
    from matplotlib.figure import Figure

    names = sorted(rates, key=lambda name: rates[name])
    figure = Figure(figsize=(8, 0.4 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [rates[name] for name in names], log=True)
    axes.bar_label(bars, [f"{rates[name]:,.0f}" for name in names], padding=3)
    axes.set_xlabel("events per core-second")
    axes.margins(x=0.15)
    figure.savefig(path)


def draw_growth(growth: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draws what an event costs at each size, in what it costs at the smallest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(growth), 2.8), layout="constrained", dpi=80)
    panels = figure.subplots(1, len(growth), sharey=True, squeeze=False)[0]
    for axes, (what, found) in zip(panels, growth.items(), strict=True):
        us = list(found["cpu_us_per_event"].values())
        sizes = [int(size.replace(",", "")) for size in found["cpu_us_per_event"]]
        axes.plot(sizes, [each / us[0] for each in us], marker="o")
        axes.axhline(GOAL, linestyle="--", color="grey")
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axes.minorticks_off()
        axes.set_xlabel(what)
        axes.set_ylim(0.0, max(2.0, *(each / us[0] for each in us)))
    figure.supylabel("CPU an event, of the smallest")
    figure.savefig(path)
