"""Evidence of one image in one archive: what it was made from, what is in it, how it was tested."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.artifact import FILE_NAME, Artifacts, read_artifacts
from imagebuilder.bundle.reader import MANIFEST, SealedBundle, bundle_files
from imagebuilder.bundle.signer import Signer, check_signature, signature_line
from imagebuilder.errors import UserError
from imagebuilder.kasproject.tarball import tarball
from imagebuilder.report.parity_page import PARITY

INDEX, INDEX_SIGNATURE = "evidence.json", "evidence.sig"
SBOM = "sbom.spdx.json"
MAX_FILE = 64 << 20
"""Bytes of one file of an archive; a larger one is not read."""
MAX_ALL = 256 << 20
"""Bytes of all files of an archive."""
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Files by their path in the archive."""

    files: Mapping[str, bytes]

    def index(self) -> bytes:
        """`evidence.json`: path → size and SHA-256 of every other file."""
        entries = {path: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                   for path, data in self.files.items()}  # fmt: skip
        return (json.dumps({"format": 1, "files": entries}, indent=2, sort_keys=True) + "\n"
                ).encode()  # fmt: skip

    def pack(self, name: str, signer: Signer | None) -> bytes:
        """A tar archive; with `signer` it also has `evidence.sig`, over `evidence.json`."""
        index = self.index()
        signature = {} if signer is None else {INDEX_SIGNATURE: signature_line(signer, index)}
        return tarball(name, {**self.files, INDEX: index, **signature})


def bundle_evidence(bundle: SealedBundle, *, signed: bool) -> Iterator[tuple[str, bytes]]:
    """What the archive holds of a bundle: all but the model and its golden tensors."""
    description = bundle.description
    large = {description.model.file, *(check.file for check in description.checks)}
    for name, path in bundle_files(bundle, signed=signed).items():
        if name not in large:
            yield f"models/{description.name}/{name}", path.read_bytes()


def read_evidence(path: Path) -> Evidence:
    """The files of an archive, without its top folder; `UserError` if it is none."""
    try:
        with tarfile.open(path, "r:") as archive:
            return Evidence(dict(_members(path, archive)))
    except (OSError, tarfile.TarError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: no readable archive of evidence: {why}") from error


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    left = MAX_ALL
    for number, member in enumerate(archive):
        name = member.name.partition("/")[2]
        parts = name.split("/")
        if not member.isreg() or not name or ".." in parts or name in seen:
            raise UserError(f"{path}: {member.name!r} has no place in an archive of evidence")
        left -= member.size
        if member.size > MAX_FILE or left < 0 or number >= MAX_FILES:
            raise UserError(f"{path}: {member.name!r} is too large, or one file too many")
        seen.add(name)
        stream = archive.extractfile(member)
        assert stream is not None
        yield name, stream.read()


def verify_evidence(evidence: Evidence, key: bytes | None) -> tuple[str, ...]:
    """Everything that does not fit, as sentences; `key` is a public key (32 bytes)."""
    files = dict(evidence.files)
    index, signature = files.pop(INDEX, None), files.pop(INDEX_SIGNATURE, None)
    if index is None:
        return (f"there is no {INDEX}",)
    problems = list(_signature_problems(index, signature, key))
    if Evidence(files).index() != index:
        problems += _index_problems(index, files)
    try:
        problems += _content_problems(files)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problems.append(f"a file is not what it must be: {type(error).__name__} {error}")
    return tuple(problems)


def _signature_problems(index: bytes, signature: bytes | None, key: bytes | None) -> Iterator[str]:
    if key is None:
        return
    if signature is None:
        yield f"there is no {INDEX_SIGNATURE}"
        return
    try:
        check_signature(signature, index, key)
    except UserError:
        yield f"{INDEX_SIGNATURE} is not this key's, or {INDEX} was changed"


def _index_problems(index: bytes, files: Mapping[str, bytes]) -> Iterator[str]:
    try:
        listed = json.loads(index)["files"]
        names = sorted({*listed, *files})
    except (ValueError, KeyError, TypeError):
        yield f"{INDEX} cannot be read"
        return
    count = 0
    for name in names:
        if name not in files:
            count += 1
            yield f"{name} is missing"
        elif name not in listed:
            count += 1
            yield f"{name} is not listed"
        elif listed[name] != json.loads(Evidence({name: files[name]}).index())["files"][name]:
            count += 1
            yield f"{name} was changed"
    if count == 0:
        yield f"{INDEX} is not in its canonical form"


def _content_problems(files: Mapping[str, bytes]) -> Iterator[str]:
    """Whether image, lock, bundles and SBOM speak of the same models and the same disk."""
    image = json.loads(files[FILE_NAME])
    lock = json.loads(files["firmware.lock"])
    graph = json.loads(files[SBOM])["@graph"]
    yield from _import_problems(graph, files)
    hashes = {item["hashValue"] for element in graph for item in element.get("verifiedUsing", ())}
    for model in image["models"]:
        name, digest = model["name"], model["digest"]
        raw = files.get(f"models/{name}/{MANIFEST}")
        if raw is None or f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
            yield f"the image has the model {name} {digest}, the archive has another"
        if lock["models"].get(name, {}).get("bundle") != digest:
            yield f"the image has the model {name} {digest}, the lock has another"
        parity = files.get(f"models/{name}/{PARITY}")
        if parity is not None and json.loads(parity)["digest"] != digest:
            yield f"the image has the model {name} {digest}, its parity report is of another"
        if digest.removeprefix("sha256:") not in hashes:
            yield f"{SBOM} does not have the model {name}"
    for file in image["files"]:
        if file["sha256"] not in hashes:
            yield f"{SBOM} does not have {file['file']}"


def _import_problems(
    graph: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]
) -> Iterator[str]:
    """Whether what the SBOM refers to in other documents is there."""
    for item in (item for element in graph for item in element.get("import", ())):
        place, name = item["locationHint"], item["externalSpdxId"]
        raw = files.get(place, b"")
        if item["verifiedUsing"][0]["hashValue"] != hashlib.sha256(raw).hexdigest():
            yield f"{SBOM} refers to another {place}"
        elif name not in {other.get("spdxId") for other in json.loads(raw)["@graph"]}:
            yield f"{place} does not have {name}, which {SBOM} refers to"


def image_problems(evidence: Evidence, folder: Path) -> tuple[str, ...]:
    """How the built image in `folder` differs from the one that the evidence is of."""
    built: Artifacts = read_artifacts(folder)
    wanted = {f["file"]: f["sha256"] for f in json.loads(evidence.files[FILE_NAME])["files"]}
    found = {file.file: file.sha256 for file in built.files}
    other = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    return tuple(f"{name}: the evidence is of another file" for name in other)
