"""Where files are kept: the cache shared by all projects, and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import UserError

TEMPORARY = ".imagebuilder-"
"""What the name of an unfinished file or folder begins with."""


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder for everything that can be made or fetched again, keyed by content.

    `downloads/` by SHA-256 of the file, `bundles/` by bundle digest, `steps/` by step fingerprint,
    `tools/` for unpacked host tools, `checked/` by schema and definition, `tries/` of searches,
    `parity/` by bundle digest, `locks/` of steps that run, `logs/`.
    """

    root: Path

    def download(self, sha256: str) -> Path:
        """Where a downloaded file with this SHA-256 is kept."""
        return self.root / "downloads" / sha256[:2] / sha256

    def bundle(self, digest: str) -> Path:
        """Where the sealed bundle with this digest (hex) is kept."""
        return self.root / "bundles" / digest.removeprefix("sha256:")

    def step(self, fingerprint: str) -> Path:
        """Where the outputs of a finished step are kept."""
        return self.root / "steps" / fingerprint

    def lock(self, fingerprint: str) -> Path:
        """What is locked while the step runs."""
        return self.root / "locks" / fingerprint


def default_cache() -> Cache:
    """`$IMAGEBUILDER_CACHE`, else `$XDG_CACHE_HOME/imagebuilder`, else `~/.cache/imagebuilder`."""
    named = os.environ.get("IMAGEBUILDER_CACHE")
    if named:
        return Cache(Path(named).absolute())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Cache(Path(base).absolute() / "imagebuilder")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


OTHER_FOLDER = "or name another folder: the cache's is IMAGEBUILDER_CACHE, the artifacts' --output"
HOST_HINTS = {
    errno.ENOSPC: f"free some space, {OTHER_FOLDER}",
    errno.EDQUOT: f"free some space, {OTHER_FOLDER}",
    errno.EROFS: f"make it writable, {OTHER_FOLDER}",
    errno.EACCES: f"make it writable, {OTHER_FOLDER}",
    errno.EPERM: f"make it writable, {OTHER_FOLDER}",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EIO: "look at the disk",
}
"""What to do about errors of the host that a user can mend."""


@contextlib.contextmanager
def host_errors(what: str, path: Path | None = None) -> Iterator[None]:
    """Turn a full disk, a read-only folder or a missing permission into a `UserError`.

    `path` is named when the error itself names none, as that of a write does.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in HOST_HINTS:
            raise
        # A copy's error names its source first.
        name = error.filename2 or error.filename or path
        if path is not None and Path(str(name)).name.startswith(TEMPORARY):
            name = path
        raise UserError(
            f"cannot write {what}{f' {name}' if name else ''}: {os.strerror(error.errno or 0)}",
            hint=HOST_HINTS[error.errno or 0],
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        # Where the kernel has no folders to make, as in /proc.
        what = f"cannot write folder {folder}: {os.strerror(error.errno or 0)}"
        raise UserError(what, hint="name a folder elsewhere") from error


def make_writable(folder: Path) -> None:
    """Make a folder if there is none; `UserError` if nothing can be written there."""
    with host_errors("folder", folder):
        _make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well."""
    with host_errors("file", path):
        _make_folder(path.parent)
        sweep(path.parent)
        temporary, lock = _claim(lambda: _make_file(path.parent))
    try:
        with host_errors("file", path):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name when the block ends well.

    When another process finished the same folder first, its result stays and ours is dropped.
    """
    with host_errors("folder", path):
        _make_folder(path.parent)
        sweep(path.parent)
        temporary, lock = _claim(lambda: Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent)))
    try:
        with host_errors("folder", path):
            yield temporary
            temporary.chmod(0o755)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` for as long as the block; what killed processes left there goes too."""
    with host_errors("folder", parent):
        _make_folder(parent)
        sweep(parent)
        folder, lock = _claim(lambda: Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path` for as long as the block, of all processes and threads.

    `waiting` is called before this waits for another that holds it.
    """
    with host_errors("file", path):
        _make_folder(path.parent)
        lock = _lock_file(path, waiting)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _lock_file(path: Path, waiting: Callable[[], None]) -> int:
    """The descriptor that holds the lock; where the file system knows none, one without."""
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held it has removed the file.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder.

    A living process holds a lock on what it is writing; one that dies in any way loses it.
    """
    for path in folder.glob(f"{TEMPORARY}*"):
        # One that is finished meanwhile, or of another user, is no concern of ours.
        with contextlib.suppress(OSError), _locked(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`; `OSError` when another process does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _claim(make: Callable[[], Path]) -> tuple[Path, int]:
    """A new temporary path and the descriptor that holds its lock."""
    while True:
        path = make()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            # Not every file system knows locks; where none does, nothing is swept either.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            # Swept between its making and its lock.
            os.close(descriptor)


def _make_file(folder: Path) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    os.close(descriptor)
    return Path(name)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write `data` atomically unless the file has it already; tells whether it wrote."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return False
    with new_file(path) as temporary:
        temporary.write_bytes(data)
    return True
