"""A clean stop: Ctrl-C or a scheduler's SIGTERM lets the segment end and be saved first."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from collapse_jax.engine import hosts

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def deferred(active: bool) -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back, if `active`; yield a function that stops the run if one has come to any process.

    A second signal stops it at once. Outside the main thread nothing is held back, as Python handles signals only
    there.
    """
    if not active or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            act()
        print("\nstopping once this segment is saved; once more stops at once", file=sys.stderr)

    def release() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def act() -> None:
        release()
        signal.raise_signal(came[0])
        raise KeyboardInterrupt

    def check() -> None:
        if not hosts.lowest(not came):
            if came:
                act()
            raise KeyboardInterrupt("another process of this run was asked to stop")

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield check
    finally:
        release()
