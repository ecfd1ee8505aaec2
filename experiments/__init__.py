"""One script for each claim; see README.md in this folder for the table."""

import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nothing caught; of Ctrl-C, where in the imports it came tells nobody anything."""
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, trace)
    print("\nstopped", file=sys.stderr)
    sys.exit(130)  # as a shell tells Ctrl-C


# This package is the first thing that `python -m experiments.<name>` imports; JAX and the rest take seconds.
sys.excepthook = _tell
