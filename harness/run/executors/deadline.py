"""A time limit that can stand still while its trial waits for others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Deadline:
    """Calls `act` when its seconds have run out. Safe to use from several threads."""

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        """Paused so far; `act` is called in a thread of its own."""
        self._left = seconds
        self._act = act
        self._since: float | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def resume(self) -> None:
        """Let the seconds run."""
        with self._lock:
            self._since = time.monotonic()
            self._timer = threading.Timer(max(self._left, 0), self._act)
            self._timer.daemon = True
            self._timer.start()

    def pause(self) -> None:
        """Let the seconds stand still; nothing if they do."""
        with self._lock:
            if self._timer is not None and self._since is not None:
                self._timer.cancel()
                self._left -= time.monotonic() - self._since
                self._timer = None
