"""Running one worker in this process, until it is told to stop."""

from collections.abc import Sequence

from streams.app import FOLDS, build_app
from streams.contract.settings import Settings
from streams.ops.logs import log_configuration


def run_worker(
    settings: Settings, folds: Sequence[str] = tuple(FOLDS), loglevel: str = "warning", incident_level: str = "info"
) -> None:
    """Runs a worker; it returns by ending the process, with 0 after Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: There is no such fold.
    """
    app = build_app(settings, folds)
    configuration = log_configuration(settings.log.form, loglevel, incident_level)
    app.Worker(loglevel=loglevel, logging_config=configuration, quiet=True).execute_from_commandline()
