"""How long a thread of the worker may keep the others from the interpreter while it computes.

The consumer's thread needs it several times for one fetch, and the threads that wait for deliveries once for each look.
By default each time may cost five milliseconds while a batch is folded; giving way costs some microseconds.
"""

import sys
from typing import Final

_TURN_S: Final = 0.0005


def take_short_turns() -> None:
    """Has a thread that computes give way to one that waits after half a millisecond."""
    sys.setswitchinterval(_TURN_S)
