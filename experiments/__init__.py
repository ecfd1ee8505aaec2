"""One script for each claim; see README.md in this folder for the table."""

import os
import signal
import sys
from types import FrameType, TracebackType

_STOPPED = 130  # as a shell tells Ctrl-C


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once where a module is being imported, and raise KeyboardInterrupt elsewhere.

    Much of what runs during imports swallows the exception, a callback of JAX's for one, at each collection of garbage.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            print("\nstopped", file=sys.stderr, flush=True)
            os._exit(_STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nothing caught; of Ctrl-C, where in the code it came tells nobody anything."""
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, trace)
    print("\nstopped", file=sys.stderr)
    sys.exit(_STOPPED)


# This package is the first thing that `python -m experiments.<name>` imports; JAX and the rest take seconds. Python
# calls its command "-m" while it looks for the module to run.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = _tell
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as for a job of nohup
        signal.signal(signal.SIGINT, _stop)
