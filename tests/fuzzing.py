"""How far the laws are tried: a little in the suite, and at length by ``make fuzz``."""

import os
from typing import Final

AT_LENGTH: Final = bool(os.environ.get("HEADRACE_FUZZ"))
"""Whether this is ``make fuzz``."""

EXAMPLES_AT_LENGTH: Final = 20_000


def examples(few: int) -> int:
    """Returns how many examples to try of a law whose examples take long: ``few``, or ``EXAMPLES_AT_LENGTH``."""
    return EXAMPLES_AT_LENGTH if AT_LENGTH else few
