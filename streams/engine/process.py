"""The worker as a process: what it says on a terminal or a pipe while it starts, runs and is told to stop."""

from typing import Any

import faust


class BatchWorker(faust.Worker):
    """Faust's worker without its spinner.

    The spinner writes cursor codes even into a pipe, and turns for every record that is logged at any level: with it,
    all of aiokafka's debug messages are made, only to be thrown away.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None

    def carp(self, msg: str) -> None:
        """Says nothing: Faust's only words here are that Ctrl-C was pressed."""
