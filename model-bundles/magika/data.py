"""Files of known kinds out of two Python packages, and archives made from them.

A file's kind is told by its ending; .html is left out, since those are templates of several
languages. Half of the files, chosen by a hash of their names, are for calibration, the other half
only evaluation sees. Features are extracted as magika does (magika/magika.py,
`_extract_features_from_seekable`).
"""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

BLOCK, PART, PADDING = 4096, 1024, 256
MIN_BYTES = 200
MOST_OF_A_KIND = 120
ARCHIVES = 12

KINDS = {
    ".py": "python", ".ts": "typescript", ".js": "javascript", ".css": "css",
    ".json": "json", ".svg": "svg", ".po": "po",
}  # fmt: skip
LABELS = (Path(__file__).parent / "labels.txt").read_text("utf-8").split()


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`bytes` int32 [N, 2048] from 0 to 256, labels int64 [N]; splits `calibration` and `test`."""
    chosen: dict[str, list[bytes]] = {}
    for name, data in sorted(_files(sources), key=lambda item: _order(item[0])):
        kind = KINDS[Path(name).suffix]
        part = "test" if _order(name)[-1] in "02468ace" else "calibration"
        if part == split and len(chosen.setdefault(kind, [])) < MOST_OF_A_KIND:
            chosen[kind].append(data)
    chosen |= _archives(chosen["python"])
    features = [features_of(data) for kind in sorted(chosen) for data in chosen[kind]]
    labels = [LABELS.index(kind) for kind in sorted(chosen) for _ in chosen[kind]]
    return {"bytes": np.array(features, np.int32)}, np.array(labels, np.int64)


def features_of(data: bytes) -> list[int]:
    """The first and the last 1024 bytes without white space at the ends, padded with 256."""
    begin = list(data[:BLOCK].lstrip()[:PART])
    end = list(data[-BLOCK:].rstrip()[-PART:])
    return begin + [PADDING] * (PART - len(begin)) + [PADDING] * (PART - len(end)) + end


def _files(sources: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    for name in sorted(sources):
        with zipfile.ZipFile(sources[name]) as wheel:
            for info in wheel.infolist():
                if Path(info.filename).suffix in KINDS and info.file_size >= MIN_BYTES:
                    yield info.filename, wheel.read(info)


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _archives(files: list[bytes]) -> dict[str, list[bytes]]:
    parts = [files[i::ARCHIVES] for i in range(ARCHIVES)]
    whole = [b"".join(part) for part in parts]
    return {
        "gzip": [gzip.compress(data, mtime=0) for data in whole],
        "bzip": [bz2.compress(data) for data in whole],
        "xz": [lzma.compress(data) for data in whole],
        "tar": [_tar(part) for part in parts],
        "zip": [_zip(part) for part in parts],
    }


def _tar(files: list[bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(f"file-{number}.txt")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _zip(files: list[bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"file-{number}.txt"), data)
    return stream.getvalue()
