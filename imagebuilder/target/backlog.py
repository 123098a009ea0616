"""Room for clients that come at once, on the ports that QEMU forwards.

QEMU's user network calls `listen(s, 1)`: two connections wait, and Linux answers the others with
SYN cookies. Where the first packet of such a client is dropped too, its second one is no valid
cookie, and the client is reset; a client that sends only once tries again ever more rarely. Both
look like faults of the guest's server, which never saw the connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path

BACKLOG = 128
PATIENCE = 5.0
"""Seconds for a child that has just started to listen."""
_PIDFD_GETFD = 438  # the same number on all architectures
_LIBC = ctypes.CDLL(None, use_errno=True)


def widen_backlog(pid: int, ports: Collection[int]) -> bool:
    """Let `BACKLOG` connections wait on TCP ports that a child listens on, or soon will.

    False where it ended, or where this process may not reach into another, as in some containers.
    """
    deadline = time.monotonic() + PATIENCE
    wanted = set(ports)
    while wanted and time.monotonic() < deadline:
        try:
            wanted -= {_widen(listener) for listener in _listeners(pid, wanted)}
        except OSError as error:
            # EBADF: closed meanwhile, by a child that still starts.
            if error.errno != errno.EBADF:
                return False
        if wanted:
            time.sleep(0.02)
    return not wanted


def _widen(listener: socket.socket) -> int:
    listener.listen(BACKLOG)
    return _port(listener)


def _port(listener: socket.socket) -> int:
    number: int = listener.getsockname()[1]
    return number


def _listeners(pid: int, ports: Collection[int]) -> Iterator[socket.socket]:
    """Copies of a process's sockets that listen there; `OSError` if it may not be asked."""
    process = os.pidfd_open(pid)
    try:
        if select.select([process], (), (), 0)[0]:
            raise ProcessLookupError(errno.ESRCH, "it has ended, and nobody asked for its code yet")
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(entry.readlink()).startswith("socket:"):
                    with _copy(process, int(entry.name)) as found:
                        if _listens(found) and _port(found) in ports:
                            yield found
    finally:
        os.close(process)


def _listens(found: socket.socket) -> bool:
    return found.family == socket.AF_INET and bool(
        found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def _copy(process: int, number: int) -> socket.socket:
    copy = _LIBC.syscall(_PIDFD_GETFD, process, number, 0)
    if copy < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return socket.socket(fileno=copy)
