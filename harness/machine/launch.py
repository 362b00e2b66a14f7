"""Becomes a child process: `python -I -S launch.py PARENT COMMAND...`. Standard library only.

Between the fork and the child's own interpreter it asks the kernel for two things, neither of
which a parent with threads may safely do in the forked child (`preexec_fn`): to be killed when the
parent dies, even by SIGKILL, and to be the first that the out-of-memory killer takes.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by `command`; its exit status is the command's."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent died before its child began")
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
            adjust.write("1000")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
