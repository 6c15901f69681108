"""Back-pressure: a bound on the bytes of all requests that are being answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from streams.serving.problems import Problem

_LEAST: Final = 4096
"""A request without a body costs something, too."""
RETRY_AFTER_S: Final = 1


class ByteBudget:
    """Bytes that requests may hold at the same time; a request that finds too few left is refused at once.

    Attributes:
        held: Bytes that are held now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Holds ``size`` bytes for the length of a block.

        Raises:
            Problem: 429, too few bytes are left.
        """
        size = max(size, _LEAST)
        if self.held + size > self._limit:
            raise Problem(
                429,
                "too-busy",
                f"requests that are being answered hold {self.held} bytes of {self._limit}; send it again later",
                retry_after_s=RETRY_AFTER_S,
            )
        self.held += size
        try:
            yield
        finally:
            self.held -= size
