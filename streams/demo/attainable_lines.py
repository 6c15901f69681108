"""Best attainable quality, for the demo's report and its last lines."""

from typing import Any

import msgspec
from rich.text import Text

from producers.simulator.attainable import Attainable


def attainable_report(attainable: Attainable) -> dict[str, Any]:
    """Returns the report's keys ``attainable``, by target, and ``attainable_ctr``."""
    report: dict[str, Any] = msgspec.to_builtins(
        {"attainable": attainable.targets | attainable.amounts, "attainable_ctr": attainable.click_rate}
    )
    return report


def attainable_lines(attainable: Attainable) -> Text:
    """Formats the best attainable quality of each target, and the click rate of the best slates."""
    found = [
        f"{name} AUC {_number(quality.auc)}, log loss {_number(quality.log_loss)} ({_number(quality.base_log_loss)})"
        for name, quality in attainable.targets.items()
    ]
    found += [
        f"{name} RMSE {_number(quality.rmse)} ({_number(quality.base_rmse)})"
        for name, quality in attainable.amounts.items()
    ]
    if not found:
        return Text("attainable: the run was too short for final labels", style="dim")
    lines = [f"attainable from the events alone (base rate's), by {attainable.users:,} shoppers: {'; '.join(found)}"]
    if (rate := attainable.click_rate) is not None:
        lines.append(
            f"click rate of a slot: shown {rate.shown_ctr:.1%}, attainable from the events alone "
            f"{rate.attainable_ctr:.1%}, best {rate.best_ctr:.1%}"
        )
    return Text("\n".join(lines), style="dim")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
