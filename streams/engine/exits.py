"""How a worker ends when it must: loudly, at once, before anything more is acknowledged."""

import os
import sys
from typing import Final, NoReturn

REFUSED: Final = 3
UNREACHABLE: Final = 4
FAILED: Final = 70
STALLED: Final = 75
OVERDUE: Final = 76


def end_process(code: int, reason: str) -> NoReturn:
    """Prints why and ends the process without running anything else.

    An exception would not do: Faust acknowledges an event whose agent raised, and retries or logs elsewhere.
    """
    # Faust puts a logger in the place of sys.stderr, which would drop this at its level "error".
    print(f"headrace: the worker ends: {reason}", file=sys.__stderr__, flush=True)
    sys.stdout.flush()
    os._exit(code)
