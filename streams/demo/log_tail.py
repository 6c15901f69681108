"""Log file of child processes, read while they write it."""

from pathlib import Path


class LogTail:
    """Reader of the lines that are new in a file.

    Attributes:
        path: Created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        path.touch()

    def read(self) -> list[str]:
        """Returns the lines that were completed since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode("utf-8", "replace").splitlines()
