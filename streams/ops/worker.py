"""Running one worker in this process, until it is told to stop."""

from collections.abc import Sequence

from streams.app import FOLDS, build_app
from streams.contract.settings import Settings


def run_worker(settings: Settings, folds: Sequence[str] = tuple(FOLDS), loglevel: str = "warning") -> None:
    """Runs a worker; it returns by ending the process, with 0 after Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: There is no such fold.
    """
    app = build_app(settings, folds)
    app.Worker(loglevel=loglevel, quiet=True).execute_from_commandline()
