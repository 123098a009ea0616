"""Evidence: what is packed fits together, and every change to it is found."""

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spdx_python_model import v3_0_1 as spdx

from imagebuilder.artifact import Artifact, Artifacts, ImageModel, write_artifacts
from imagebuilder.bundle.reader import read_bundle
from imagebuilder.bundle.signer import FileKey
from imagebuilder.cli.evidence import run_reports
from imagebuilder.errors import UserError
from imagebuilder.report.contents import Part
from imagebuilder.report.engine_sbom import ENGINE_SBOM, read_engine_document
from imagebuilder.report.evidence import (
    INDEX,
    SBOM,
    Evidence,
    bundle_evidence,
    read_evidence,
    verify_evidence,
)
from imagebuilder.report.sbom import Materials, sbom

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-labels"
PARTS = (
    Part("package", "libc6", "2.41-12", 1, "1" * 64),
    Part("runtime", "onnxruntime", "1.28.0", 1, "2" * 64, ("MIT",)),
)
YOCTO = Path(__file__).parents[1] / "fixtures" / "spdx" / "yocto-image.spdx.json"
"""What OE-core's own functions (wrynose, create-spdx-3.0) wrote of a root with three packages."""
KEY = FileKey(bytes(32))


def collected(folder: Path, engine: bytes | None = None) -> Evidence:
    """Evidence of an image with one disk and one model, and the document of its engine."""
    (folder / "disk").write_bytes(b"disk")
    bundle = read_bundle(FIXTURE)
    disk = Artifact("disk", "disk", 4, hashlib.sha256(b"disk").hexdigest())
    model = ImageModel("fixture", "1.0.0", bundle.digest, "onnxruntime")
    artifacts = Artifacts(folder, "doorbell", "1.4.0", "qemuarm64", "debian", "dev", "quiet",
                          "0.0.0.0:8080", False, (model,), (disk,))  # fmt: skip
    lock = {"models": {"fixture": {"bundle": bundle.digest}}}
    document = None if engine is None else read_engine_document(engine)
    materials = Materials(artifacts, PARTS, [bundle], {"fixture": {"set": "4" * 64}}, document)
    return Evidence({
        "artifacts.json": write_artifacts(artifacts).read_bytes(),
        "firmware.lock": json.dumps(lock).encode(),
        SBOM: json.dumps(sbom(materials, "2026-01-31T12:00:00Z")).encode(),
        **dict(bundle_evidence(bundle, signed=False)),
        **({} if engine is None else {ENGINE_SBOM: engine}),
    })  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory) -> Evidence:
    return collected(tmp_path_factory.mktemp("image"))


@pytest.fixture
def joined(tmp_path: Path) -> Evidence:
    return collected(tmp_path, YOCTO.read_bytes())


def unpacked(raw: bytes, folder: Path) -> Evidence:
    path = folder / "evidence.tar"
    path.write_bytes(raw)
    return read_evidence(path)


def test_a_pack_fits_together(evidence: Evidence, tmp_path: Path) -> None:
    raw = evidence.pack("doorbell", KEY)
    assert raw == evidence.pack("doorbell", KEY)
    found = unpacked(raw, tmp_path)
    assert verify_evidence(found, KEY.public_key()) == ()
    assert not any("model.onnx" in name or "golden" in name for name in found.files)
    assert "models/fixture/labels.txt" in found.files


def test_a_parity_report_is_of_the_same_bundle(evidence: Evidence) -> None:
    for digest, problems in (
        (read_bundle(FIXTURE).digest, ()),
        ("sha256:0", (f"the image has the model fixture {read_bundle(FIXTURE).digest}, its parity "
                      "report is of another",)),
    ):  # fmt: skip
        report = json.dumps({"digest": digest}).encode()
        found = Evidence({**evidence.files, "models/fixture/parity.json": report})
        whole = Evidence({**found.files, INDEX: found.index()})
        assert verify_evidence(whole, None) == problems


def test_another_key_and_no_signature(evidence: Evidence, tmp_path: Path) -> None:
    other = FileKey(bytes([1]) * 32)
    signed = unpacked(evidence.pack("doorbell", other), tmp_path)
    assert verify_evidence(signed, KEY.public_key()) == (
        "evidence.sig is not this key's, or evidence.json was changed",)  # fmt: skip
    plain = unpacked(evidence.pack("doorbell", None), tmp_path)
    assert verify_evidence(plain, None) == ()
    assert verify_evidence(plain, KEY.public_key()) == ("there is no evidence.sig",)


def test_files_that_do_not_fit(evidence: Evidence, tmp_path: Path) -> None:
    """A forger may write an index that fits; the files must still speak of the same image."""
    for name, old, new, what in (
        ("firmware.lock", b"sha256:", b"sha256:0", "the lock has another"),
        ("models/fixture/bundle.json", b"1.0.0", b"1.0.1", "the archive has another"),
        (SBOM, hashlib.sha256(b"disk").hexdigest().encode(), b"5" * 64, "does not have disk"),
        ("artifacts.json", b"models", b"modals", "a file is not what it must be"),
    ):
        files = {**evidence.files, name: evidence.files[name].replace(old, new)}
        found = unpacked(Evidence(files).pack("doorbell", None), tmp_path)
        assert any(what in problem for problem in verify_evidence(found, None)), name


def test_what_is_listed_missing_and_changed(evidence: Evidence) -> None:
    files = {**evidence.files, INDEX: evidence.index()}
    assert verify_evidence(Evidence({**files, "x": b""}), None) == ("x is not listed",)
    assert verify_evidence(Evidence({**files, "firmware.lock": b"{}"}), None)[0] == (
        "firmware.lock was changed")  # fmt: skip
    del files["models/fixture/labels.txt"]
    assert verify_evidence(Evidence(files), None) == ("models/fixture/labels.txt is missing",)
    assert verify_evidence(Evidence({}), None) == ("there is no evidence.json",)


@settings(max_examples=300)
@given(data=st.data())
def test_every_change_of_a_byte_is_found(evidence: Evidence, tmp_path_factory, data) -> None:
    """Padding of the archive is nobody's; all else is the same or refused."""
    raw = bytearray(evidence.pack("doorbell", KEY))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("changed")
    whole = unpacked(evidence.pack("doorbell", KEY), folder)
    try:
        found = unpacked(bytes(raw), folder)
    except UserError:
        return
    assert found == whole or verify_evidence(found, KEY.public_key())


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.tar"
    for name, kind in (("a/../../x", tarfile.REGTYPE), ("a/x", tarfile.SYMTYPE),
                       ("a", tarfile.REGTYPE)):  # fmt: skip
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            archive.addfile(entry)
        path.write_bytes(stream.getvalue())
        with pytest.raises(UserError, match="has no place in an archive of evidence"):
            read_evidence(path)
    path.write_bytes(b"no tar" * 1000)
    with pytest.raises(UserError, match="no readable archive of evidence"):
        read_evidence(path)
    with pytest.raises(UserError) as caught:
        read_evidence(tmp_path / "none.tar")
    assert str(caught.value) == (
        f"{tmp_path}/none.tar: no readable archive of evidence: No such file or directory"
    )


def read_spdx(*documents: bytes) -> spdx.SHACLObjectSet:
    """Read by the bindings made from the specification's own model, which know what must be.

    Elements that none of the documents has are an error.
    """
    found = spdx.SHACLObjectSet()
    for document in documents:
        spdx.JSONLDDeserializer().read(io.BytesIO(document), found)
    assert found.link() <= {
        "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"}  # fmt: skip
    # Writing checks that every element has what its class asks for.
    spdx.JSONLDSerializer().write(found, io.BytesIO())
    return found


def relations(found: spdx.SHACLObjectSet) -> set[tuple[str, str, str]]:
    return {
        (relation.from_.name, str(relation.relationshipType).rpartition("/")[2], to.name)
        for relation in found.foreach_type("Relationship")
        for to in relation.to
        if not isinstance(to, str)
    }


def test_the_sbom_is_spdx_3(evidence: Evidence) -> None:
    found = read_spdx(evidence.files[SBOM])
    (model,) = found.foreach_type("ai_AIPackage")
    (data,) = found.foreach_type("dataset_DatasetPackage")
    assert (model.name, data.name) == ("fixture", "set")
    kinds = {(name, kind) for name, kind, _ in relations(found)}
    assert {("doorbell", "contains"), ("fixture", "testedOn"), ("fixture", "hasDeclaredLicense"),
            ("onnxruntime", "hasDeclaredLicense")} <= kinds  # fmt: skip


def test_the_sbom_is_joined_with_that_of_bitbake(joined: Evidence) -> None:
    assert verify_evidence(Evidence({**joined.files, INDEX: joined.index()}), None) == ()
    found = read_spdx(joined.files[SBOM], joined.files[ENGINE_SBOM])
    assert {
        ("doorbell", "contains", "imagebuilder-image"),
        ("doorbell", "contains", "fixture"),
        ("model-bundle-fixture", "contains", "fixture"),
        ("imagebuilder-image-qemuarm64.rootfs-1.wic", "copiedTo", "disk"),
        ("fixture", "testedOn", "set"),
        ("imagebuilder-image:do_create_rootfs_spdx:rootfs", "hasInput", "inferd"),
    } <= relations(found)
    # Packages are the engine's alone: none is listed twice.
    assert sorted(p.name for p in found.foreach_type("software_Package", match_subclass=False)) == [
        "doorbell", "imagebuilder-image", "inferd", "model-bundle-fixture",
        "onnxruntime-prebuilt"]  # fmt: skip
    (document,) = [d for d in found.foreach_type("SpdxDocument") if d.name == "doorbell 1.4.0"]
    assert {str(item.locationHint) for item in document.import_} == {ENGINE_SBOM}
    assert {item.verifiedUsing[0].hashValue for item in document.import_} == {
        hashlib.sha256(YOCTO.read_bytes()).hexdigest()}  # fmt: skip


def test_another_document_of_the_engine_is_found(joined: Evidence) -> None:
    other = joined.files[ENGINE_SBOM].replace(b"0.1.0", b"0.1.1")
    files = {**joined.files, ENGINE_SBOM: other}
    problems = verify_evidence(Evidence({**files, INDEX: Evidence(files).index()}), None)
    assert problems[0] == f"{SBOM} refers to another {ENGINE_SBOM}"
    text = joined.files[SBOM].replace(b"/rootfs/imagebuilder-image", b"/rootfs/another")
    files = {**joined.files, SBOM: text}
    (problem,) = verify_evidence(Evidence({**files, INDEX: Evidence(files).index()}), None)
    assert re.fullmatch(rf"{ENGINE_SBOM} does not have \S+/rootfs/another, which {SBOM} refers to",
                        problem)  # fmt: skip


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"SPDXID": "SPDXRef-DOCUMENT"}', b'{"@graph": [1]}'])
def test_what_is_no_spdx_3_is_not_joined(raw: bytes) -> None:
    assert read_engine_document(raw) is None


def test_only_reports_of_this_image(tmp_path: Path) -> None:
    folder = tmp_path / "qemuarm64"
    folder.mkdir()
    artifacts = Artifacts(folder, "doorbell", "1.4.0", "qemuarm64", "debian", "dev", "quiet",
                          "0.0.0.0:8080", False, (), ())  # fmt: skip
    image = hashlib.sha256(write_artifacts(artifacts).read_bytes()).hexdigest()
    (folder / "junit.xml").write_bytes(b"junit")
    (tmp_path / "report.md").write_bytes(b"page")
    other = {"machine": "qemuarm", "image": "0" * 64}
    own = {"machine": "qemuarm64", "image": image}
    for results, wanted in (
        ([own], {"tests/results.json", "tests/junit.xml", "tests/report.md"}),
        ([own, other], {"tests/results.json", "tests/junit.xml"}),
        ([other], set()),
        ([{"machine": "qemuarm64"}], set()),
    ):
        (tmp_path / "results.json").write_text(json.dumps(results))
        found = dict(run_reports(artifacts))
        assert set(found) == wanted
        if found:
            assert json.loads(found["tests/results.json"]) == [own]
    (tmp_path / "results.json").unlink()
    assert dict(run_reports(artifacts)) == {}


def test_an_archive_is_limited_in_all(tmp_path: Path) -> None:
    path = tmp_path / "evidence.tar"
    with path.open("wb") as stream:
        for number in range(5):
            entry = tarfile.TarInfo(f"a/{number}")
            entry.size = 60 << 20
            stream.write(entry.tobuf())
            stream.seek(entry.size, io.SEEK_CUR)
        stream.truncate()
    with pytest.raises(UserError, match=r"'a/4' is too large, or one file too many"):
        read_evidence(path)
