"""How far the laws are tried: a little in the suite, and at length by ``make fuzz``."""

import os
from typing import Final

AT_LENGTH: Final = bool(os.environ.get("HEADRACE_FUZZ"))
"""Whether this is ``make fuzz``."""
