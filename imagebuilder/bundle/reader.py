"""Reads and verifies sealed bundles (docs/reference/bundle-format.md)."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.bundle.errors import BundleError, no_doubled_keys
from imagebuilder.bundle.format import (
    Accuracy,
    Description,
    FileEntry,
    ModelFile,
    Provenance,
    Resources,
    Tensor,
    TensorsCheck,
    TextCheck,
    TextModel,
)
from imagebuilder.state import sha256_file
from imagebuilder.yamlfile import dotted, read_schema

MAX_DESCRIPTION = 1 << 20
MAX_DEPTH = 32
MAX_SIGNATURE = 1024
MANIFEST = "bundle.json"
SIGNATURE = "bundle.sig"


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A sealed bundle in `folder`; `digest` is `sha256:` and the SHA-256 of its bundle.json."""

    folder: Path
    digest: str
    description: Description


def read_bundle(folder: Path) -> SealedBundle:
    """Read a bundle and verify all of it; `BundleError` with the first error."""
    from imagebuilder.bundle.drift import read_drift
    from imagebuilder.bundle.golden import check_golden

    try:
        bundle = _open(folder, strict=True)
        _check_listing(bundle)
        _check_contents(bundle)
        for check in bundle.description.checks:
            check_golden(folder / check.file, bundle.description, check)
        if bundle.description.drift is not None:
            read_drift(folder / bundle.description.drift["file"], bundle.description)
    except BundleError as error:
        raise BundleError(error.code, error.what, str(folder)) from error
    except OSError as error:
        what = f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
        raise BundleError("missing-file", what, str(folder)) from error
    return bundle


def open_bundle(folder: Path) -> SealedBundle:
    """Read only the description of a bundle that was verified when it was sealed."""
    return _open(folder, strict=False)


def bundle_files(bundle: SealedBundle, *, signed: bool) -> dict[str, Path]:
    """File name → file of all that a device gets, sorted; the signature only where it is asked."""
    names = sorted({*bundle.description.files, MANIFEST, *((SIGNATURE,) if signed else ())})
    return {name: bundle.folder / name for name in names}


def read_files(bundle: SealedBundle, *, signed: bool) -> dict[str, bytes]:
    """File name → bytes of all that a device gets, sorted.

    Raises `BundleError` when a file is not the one that the bundle's digest stands for.
    """
    wanted = {name: entry.sha256 for name, entry in bundle.description.files.items()}
    wanted[MANIFEST] = bundle.digest.removeprefix("sha256:")
    files = {name: path.read_bytes() for name, path in bundle_files(bundle, signed=signed).items()}
    for name, sha256 in wanted.items():
        if hashlib.sha256(files[name]).hexdigest() != sha256:
            raise BundleError("digest-mismatch", f"{name} is another file", str(bundle.folder))
    return files


def read_signature(folder: Path) -> bytes:
    """The bytes of `bundle.sig`; `BundleError` bad-signature if it is no small regular file."""
    path = folder / SIGNATURE
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError("bad-signature", "no regular file bundle.sig")
        if status.st_size > MAX_SIGNATURE:
            raise BundleError("bad-signature", "bundle.sig is over 1 KiB")
        return path.read_bytes()
    except OSError as error:
        raise BundleError("bad-signature", "no regular file bundle.sig") from error


def _open(folder: Path, *, strict: bool) -> SealedBundle:
    path = folder / MANIFEST
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError("missing-manifest", "no regular file bundle.json")
        if status.st_size > MAX_DESCRIPTION:
            raise BundleError("too-large", "bundle.json is over 1 MiB")
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError("missing-manifest", "no regular file bundle.json") from error
    data = _parse(raw)
    if strict:
        _check_schema(data)
        _check_names(data)
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    return SealedBundle(folder, digest, parse_description(data))


def _parse(raw: bytes) -> Any:
    try:
        data = json.loads(
            raw.decode("utf-8"), object_pairs_hook=no_doubled_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise BundleError("not-json", str(error).splitlines()[0][:100]) from error
    if _depth(data) > MAX_DEPTH:
        raise BundleError("not-json", f"nested deeper than {MAX_DEPTH} levels")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _check_schema(data: Any) -> None:
    from jsonschema import Draft202012Validator

    version = data.get("format") if isinstance(data, dict) else None
    if type(version) is int and version != 1:
        raise BundleError("unknown-format", f"format is {version}, known is 1")
    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    )
    validator = _with_types(Draft202012Validator, checker)(read_schema("bundle"))
    for error in validator.iter_errors(data):
        where = dotted(tuple(error.absolute_path))
        raise BundleError("schema", f"{where or 'bundle.json'}: {error.message[:200]}")
    for kind in ("inputs", "outputs"):
        names = [tensor["name"] for tensor in data[kind]]
        if len(set(names)) != len(names):
            raise BundleError("schema", f"{kind}: a name is doubled")


def _with_types(validator: Any, checker: Any) -> Any:
    """JSON Schema takes 1.0 for an integer, the format does not."""
    from jsonschema import validators

    extend: Any = validators.extend
    return extend(validator, type_checker=checker)


def _check_names(data: Mapping[str, Any]) -> None:
    named = [data["model"]["file"], *(check["file"] for check in data["checks"])]
    named += [data["labels"]] if data["labels"] is not None else []
    named += [data[key]["file"] for key in ("drift", "ai_bom") if data[key] is not None]
    for name in (*data["files"], *named):
        if not is_file_name(name):
            raise BundleError("bad-path", name)
    for name in named:
        if name not in data["files"]:
            raise BundleError("unlisted-file", f"{name} is not in files")


def is_file_name(name: str) -> bool:
    """1 to 128 characters of [A-Za-z0-9._-], not beginning with a dot."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name) is not None


def _check_listing(bundle: SealedBundle) -> None:
    files = bundle.description.files
    present = {path.name for path in bundle.folder.iterdir()}
    for name in sorted(present - set(files) - {MANIFEST, SIGNATURE}):
        raise BundleError("extra-file", f"{name} is not listed")
    for name in sorted(files):
        if name not in present or not stat.S_ISREG((bundle.folder / name).lstat().st_mode):
            raise BundleError("missing-file", f"no regular file {name}")


def _check_contents(bundle: SealedBundle) -> None:
    files = sorted(bundle.description.files.items())
    for name, entry in files:
        size = (bundle.folder / name).lstat().st_size
        if size != entry.size:
            raise BundleError("size-mismatch", f"{name} has {size} bytes, not {entry.size}")
    for name, entry in files:
        if sha256_file(bundle.folder / name) != entry.sha256:
            raise BundleError("digest-mismatch", f"{name} is another file")


def parse_description(data: Mapping[str, Any]) -> Description:
    """A `bundle.json` that has passed the schema."""
    accuracy = data["accuracy"]
    provenance = dict(data["provenance"])
    return Description(
        name=data["name"],
        version=data["version"],
        task=data["task"],
        license=data["license"],
        model=ModelFile(**data["model"]),
        inputs=tuple(_tensor(item) for item in data["inputs"]),
        outputs=tuple(_tensor(item) for item in data["outputs"]),
        labels=data["labels"],
        checks=tuple(
            TensorsCheck(c["file"], c["samples"], c["rtol"], c["atol"], c["top1"])
            for c in data["checks"]
            if c["kind"] == "tensors"
        ),
        accuracy=None if accuracy is None else Accuracy(**accuracy),
        resources=Resources(**data["resources"]),
        provenance=Provenance(**{**provenance, "cpu_features": tuple(provenance["cpu_features"])}),
        files={name: FileEntry(**entry) for name, entry in data["files"].items()},
        rollback_version=data["rollback_version"],
        signature=data["signature"],
        drift=data["drift"],
        ai_bom=data["ai_bom"],
        text=TextModel(**data["text"]) if "text" in data else None,
        text_checks=tuple(
            TextCheck(c["file"], c["agreement"], c["perplexity"])
            for c in data["checks"]
            if c["kind"] == "text"
        ),
    )


def _tensor(data: Mapping[str, Any]) -> Tensor:
    return Tensor(data["name"], data["dtype"], tuple(data["shape"]))
