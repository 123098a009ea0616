"""Tar archives whose bytes depend on nothing but names and contents."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def tarball(top: str, files: Mapping[str, bytes]) -> bytes:
    """An uncompressed ustar archive with `files` below the folder `top`.

    Not compressed, because the bytes of a compressor differ between its versions.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 0
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
