"""Exit codes, and the immediate end of a process before anything more is acknowledged."""

import logging
import os
import sys
import threading
from typing import Final, NoReturn

from streams.engine.incidents import WORKER_ENDS, report

REFUSED: Final = 3
UNREACHABLE: Final = 4
FAILED: Final = 70
STALLED: Final = 75
OVERDUE: Final = 76
FENCED: Final = 77

_REPORT_TIMEOUT_S: Final = 2.0


def end_process(code: int, reason: str) -> NoReturn:
    """Reports the reason and ends the process; no other code of it runs.

    Raising an exception is not enough: Faust acknowledges an event whose agent raised, and elsewhere retries or logs.
    """
    # The pipe of standard error may be full and its reader stuck: the process ends all the same.
    deadline = threading.Timer(_REPORT_TIMEOUT_S, os._exit, (code,))
    deadline.daemon = True
    deadline.start()
    if logging.getLogger(__name__).hasHandlers():
        report(WORKER_ENDS, code=code, why=reason)
    else:
        print(f"headrace: the worker ends: {reason}", file=sys.__stderr__, flush=True)
    sys.stdout.flush()
    os._exit(code)
