"""Keeps off the terminal what a library's C++ part tells everyone."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Drop lines of standard error that begin with `INFO:`; others come when the block ends.

    LiteRT has no setting for it. The file descriptor is the process's: threads that write to it
    meanwhile are heard at the end too.
    """
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            said.seek(0)
            for line in said:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)
