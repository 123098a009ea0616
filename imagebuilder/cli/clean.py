"""`imagebuilder clean`: removes only what we made."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from imagebuilder.artifact import FILE_NAME
from imagebuilder.cli.app import App, manifest_argument
from imagebuilder.errors import UserError
from imagebuilder.units import show_size

CACHE_PARTS = ("steps", "models", "bundles", "tools", "downloads", "apt", "logs", "operators",
               "zig", "checked", "parity", "tries")  # fmt: skip


@click.command()
@manifest_argument
@click.option("--cache", is_flag=True, help="Remove also the cache that all projects share.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def command(app: App, manifest: Path, cache: bool, dry_run: bool) -> None:
    """Remove the built images of MANIFEST; the manifest, its lock and your files stay."""
    folder = (manifest if manifest.is_dir() else manifest.parent) / "build"
    paths = list(built(folder))
    if cache:
        root = app.fetcher.cache.root
        paths += [root / part for part in CACHE_PARTS if (root / part).is_dir()]
    for path in paths:
        app.log.info(f"{'would remove' if dry_run else 'remove'} {path} ({show_size(size(path))})")
        if not dry_run:
            remove(path)
    if not dry_run and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if not paths:
        app.log.info("nothing to remove")


def built(folder: Path) -> list[Path]:
    """The sub-folders that a build of ours left, finished or not."""
    if not folder.is_dir():
        return []
    marks = (FILE_NAME, "steps.json")
    return [path for path in sorted(folder.iterdir()) if any((path / m).is_file() for m in marks)]


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def remove(folder: Path) -> None:
    """Remove a folder; `UserError` if the host forbids it."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UserError(f"cannot remove {error.filename}: {error.strerror}") from error
