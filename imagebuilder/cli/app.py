"""What every command shares: settings from the command line, and what they lead to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagebuilder.catalog import Catalog, make_catalog
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.log import NORMAL, QUIET, VERBOSE, Log
from imagebuilder.state import default_cache

if TYPE_CHECKING:
    from imagebuilder.manifest import Manifest


@dataclass
class App:
    """Settings are filled in while the command line is read, the rest is made on first use."""

    level: int = NORMAL
    offline: bool = False
    mirror: str | None = None
    snapshot: str | None = None

    @cached_property
    def log(self) -> Log:
        """Messages and progress."""
        return Log(self.level)

    @cached_property
    def fetcher(self) -> Fetcher:
        """The network door."""
        return Fetcher(default_cache(), self.log, self.offline, self.mirror, self.snapshot)

    def manifest(self, path: Path) -> Manifest:
        """The checked manifest; a folder means the `firmware.yaml` in it."""
        from imagebuilder.manifest import load_manifest

        path = path / "firmware.yaml" if path.is_dir() else path
        if not path.exists() and path == Path("firmware.yaml"):
            hint = "`imagebuilder init` writes one, or name another"
            raise UserError("there is no firmware.yaml in this folder", hint=hint)
        return load_manifest(path)

    def catalog(self, manifest: Manifest | None = None) -> Catalog:
        """What exists, with the manifest's own search folders first."""
        if manifest is None:
            return make_catalog()
        missing = [
            manifest.problem(("search", index), f"{folder}: no such folder")
            for index, folder in enumerate(manifest.search)
            if not folder.is_dir()
        ]
        if missing:
            raise UserError(*missing)
        return make_catalog(manifest.search)


def shared_options(*, local: bool) -> list[click.Option]:
    """Options that every command takes; they fill the `App`.

    A `local` command, which fetches nothing, takes those of the network without showing them.
    """
    network = [
        _flag(["--offline"], "offline", True, "Use only what is in the cache."),
        _value("--mirror", "mirror", "IMAGEBUILDER_DEBIAN_MIRROR", "Debian mirror."),
        _value("--snapshot", "snapshot", "IMAGEBUILDER_DEBIAN_SNAPSHOT", "Dated Debian mirror."),
    ]
    for option in network:
        option.hidden = local
    return [
        _flag(["-q", "--quiet"], "level", QUIET, "Show errors and results only."),
        _flag(["-v", "--verbose"], "level", VERBOSE, "Show also what is reused, and why not."),
        *network,
    ]


def _flag(names: list[str], field: str, value: object, text: str) -> click.Option:
    return click.Option(
        names, is_flag=True, expose_value=False, callback=_store(field, value), help=text
    )


def _value(name: str, field: str, variable: str, text: str) -> click.Option:
    return click.Option(
        [name],
        envvar=variable,
        metavar="URL",
        expose_value=False,
        callback=_store(field, None),
        help=f"{text}  [env: {variable}]",
    )


def _store(field: str, constant: object) -> Callable[[click.Context, Any, Any], None]:
    def callback(context: click.Context, _parameter: Any, given: Any) -> None:
        if given:
            setattr(context.find_object(App), field, given if constant is None else constant)

    return callback


def manifest_argument(function: Callable[..., None]) -> Callable[..., None]:
    """The argument MANIFEST, by default `./firmware.yaml`."""
    return click.argument(
        "manifest", type=click.Path(path_type=Path), default=Path("firmware.yaml"), required=False
    )(function)


def machine_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option `--machine`, which overrides the manifest's."""
    return click.option("--machine", metavar="NAME", help="Machine instead of the manifest's.")(
        function
    )
