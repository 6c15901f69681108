"""All errors of Headrace, and the action of the caller for each.

::

    HeadraceError
    ├── RejectedRecord          one bad record: write a dead letter with its reason, go on
    ├── ConfigurationError      the settings are wrong: print the message, exit with 2
    ├── RefusedStart            state and cluster do not belong together: print, exit with 3
    ├── UnreachableBroker       no broker answers at the configured address: print, exit with 4; a retry may help
    ├── BrokenInvariant         a guarantee would be broken: end the process, let a supervisor restart it
    │   └── UndeliveredOutput   the broker did not take an output or a changelog row
    │       └── FencedWorker    another worker owns the partition now: end the process, let a supervisor restart it
    └── UnreadableSource        a file or table to read is missing or has another format: print, exit with 2
"""

from typing import Final, Literal, get_args

Reason = Literal[
    "empty",
    "malformed",
    "wrong-unit",
    "bad-candidates",
    "unanswered",
    "incomplete",
    "oversized",
    "ahead",
    "behind",
    "stale",
    "flood",
    "wrong-key",
    "wrong-partition",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""All reasons for which a record is rejected; docs/reference/dead-letters.md has an example of each."""


class HeadraceError(Exception):
    """The root of all errors of this project."""


class RejectedRecord(HeadraceError):
    """A record that cannot be applied; it becomes a dead letter and the stream goes on.

    Args:
        reason: Dead letters are counted by it.
        detail: A sentence for the operator.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigurationError(HeadraceError):
    """The settings are wrong; the message names the key and its allowed values."""


class RefusedStart(HeadraceError):
    """The worker's state and the cluster do not belong together; starting would lose or repeat events."""


class UnreachableBroker(HeadraceError):
    """No broker answers at the configured address; it may be starting, or the address or the credentials are wrong."""


class BrokenInvariant(HeadraceError):
    """Continuing would break a guarantee; the process must end before anything is acknowledged."""


class UndeliveredOutput(BrokenInvariant):
    """The broker did not acknowledge an output or a changelog row."""


class FencedWorker(UndeliveredOutput):
    """Another worker owns the partition now; this worker's rows of it are outdated."""


class UnreadableSource(HeadraceError):
    """A file or table to read is missing, or a part of it does not have the expected format."""
