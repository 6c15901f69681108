"""Plot of the running AUC and log loss of every learner on one order, as a picture or an HTML page."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from streams.contract.errors import ConfigurationError
from streams.core.models.measures import auc, losses
from streams.evaluation.comparison import Curve

_POINTS: Final = 60


def write_plot(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Writes a ``.png``, or an ``.html`` page with the same picture.

    Raises:
        ConfigurationError: matplotlib is not installed, or the file cannot be written.
    """
    picture = _picture(title, curves)
    if path.suffix == ".html":
        encoded = base64.b64encode(picture).decode()
        text = html.escape(title)
        image = f'<img src="data:image/png;base64,{encoded}" alt="{text}">'
        picture = f"<!doctype html><title>{text}</title><h1>{text}</h1>{image}\n".encode()
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigurationError(f"the plot cannot be written: {error}") from error


def require_matplotlib() -> None:
    """Checks that matplotlib is installed, before hours of work.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        import matplotlib as _  # noqa: F401 # only to see whether it is installed
    except ImportError as error:
        raise ConfigurationError("--plot needs matplotlib: pip install 'headrace[plots]'") from error


def _picture(title: str, curves: Sequence[Curve]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, given, labels in curves:
        ends = np.unique(np.linspace(len(labels) / _POINTS, len(labels), _POINTS).astype(int))
        style: dict[str, Any] = {"label": name, "linewidth": 2.0 if name == "champion" else 1.0}
        known = [int(end) for end in ends if 0.0 < labels[:end].sum() < end]
        left.plot(known, [auc(given[:end], labels[:end]) for end in known], **style)
        right.plot(ends, (np.cumsum(losses(given, labels)) / np.arange(1, len(labels) + 1))[ends - 1], **style)
    _describe(left, "AUC of all examples so far")
    _describe(right, "mean log loss of all examples so far, nats")
    figure.suptitle(title)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120)
    return written.getvalue()


def _describe(axes: Any, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("examples")
    axes.grid(alpha=0.3)
    axes.legend()
