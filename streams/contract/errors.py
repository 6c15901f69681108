"""Every error Headrace raises, and what the caller does about each.

::

    HeadraceError
    ├── RejectedRecord          one bad record: write a dead letter with its reason, go on
    ├── ConfigurationError      the settings are wrong: print the message, exit with 2
    ├── RefusedStart            state and cluster do not belong together: print, exit with 3
    ├── UnreachableBroker       no broker answers at the configured address: print, exit with 4; trying again may help
    ├── BrokenInvariant         a promise would be broken: end the process, let a supervisor restart it
    │   └── UndeliveredOutput   the broker did not take an output or a changelog row
    │       └── FencedWorker    another worker owns the partition now: end the process, let a supervisor restart it
    └── UnreadableSource        a file to replay or evaluate is not what it should be: print, exit with 2
"""


class HeadraceError(Exception):
    """The root of all errors of this project."""


class RejectedRecord(HeadraceError):
    """A record that cannot be applied; it becomes a dead letter and the stream goes on.

    Args:
        reason: One of a small closed set of kebab-case words, the key that dead letters are counted by.
        detail: A sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigurationError(HeadraceError):
    """The settings are wrong; the message names the key and what it may be."""


class RefusedStart(HeadraceError):
    """The worker's state and the cluster do not belong together; starting would lose or repeat events."""


class UnreachableBroker(HeadraceError):
    """No broker answers at the configured address; it may be starting, or the address or the credentials are wrong."""


class BrokenInvariant(HeadraceError):
    """A promise would be broken by going on; the process must end before anything is acknowledged."""


class UndeliveredOutput(BrokenInvariant):
    """The broker did not acknowledge an output or a changelog row."""


class FencedWorker(UndeliveredOutput):
    """Another worker owns the partition now; whatever this one still holds of it is out of date."""


class UnreadableSource(HeadraceError):
    """A file to replay or to evaluate is missing, or a line of it is not of the format."""
