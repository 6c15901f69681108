"""How a worker ends when it must: loudly, at once, before anything more is acknowledged."""

import os
import sys
import threading
from typing import Final, NoReturn

from streams.engine.incidents import WORKER_ENDS, is_heard, report

REFUSED: Final = 3
UNREACHABLE: Final = 4
FAILED: Final = 70
STALLED: Final = 75
OVERDUE: Final = 76
FENCED: Final = 77

_LAST_WORDS_S: Final = 2.0


def end_process(code: int, reason: str) -> NoReturn:
    """Says why and ends the process without running anything else.

    An exception would not do: Faust acknowledges an event whose agent raised, and retries or logs elsewhere.
    """
    # Whoever should read the last words may be stuck, and the pipe full; the process ends all the same.
    last_words = threading.Timer(_LAST_WORDS_S, os._exit, (code,))
    last_words.daemon = True
    last_words.start()
    if is_heard():
        report(WORKER_ENDS, code=code, why=reason)
    else:
        print(f"headrace: the worker ends: {reason}", file=sys.__stderr__, flush=True)
    sys.stdout.flush()
    os._exit(code)
