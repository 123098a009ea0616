"""Software bill of materials as SPDX 3.0.1 JSON-LD, with the models and their data. Pure.

https://spdx.github.io/spdx-spec/v3.0.1/ has the classes; profiles: software, AI, dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from imagebuilder import __version__
from imagebuilder.artifact import Artifacts
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.kasproject.names import bundle_recipe
from imagebuilder.report.contents import Part
from imagebuilder.report.engine_sbom import ENGINE_SBOM, EngineDocument

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
CREATION = "_:creation"
NO_PLACE = "urn:imagebuilder:no-place"
"""Where a part cannot be downloaded from one address."""
NO_CONCLUSION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
Element = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Materials:
    """What an image is made of: parts but for models, bundles, and data sets by model.

    With the document of the engine its packages are referred to in place of `parts`.
    """

    artifacts: Artifacts
    parts: Sequence[Part]
    bundles: Sequence[SealedBundle]
    data: Mapping[str, Mapping[str, str]]
    engine: EngineDocument | None = None


def sbom(materials: Materials, created: str) -> dict[str, Any]:
    """The document; `created` is a UTC time such as 2026-01-31T12:00:00Z."""
    artifacts = materials.artifacts
    space = f"urn:imagebuilder:{_digest(artifacts.files[0].sha256 + artifacts.machine)}"
    graph = list(_Graph(space, created).document(materials))
    return {"@context": CONTEXT, "@graph": graph}


@dataclass(frozen=True, slots=True)
class _Graph:
    """Makes elements with identifiers below `space`."""

    space: str
    created: str

    def element(self, kind: str, path: str, name: str, **values: Any) -> Element:
        return {"type": kind, "spdxId": f"{self.space}:{path}", "creationInfo": CREATION,
                "name": name, **values}  # fmt: skip

    def relation(self, source: str, kind: str, targets: Sequence[str]) -> Element:
        path = f"relationship:{_digest(f'{source} {kind} {targets}')}"
        return {"type": "Relationship", "spdxId": f"{self.space}:{path}", "creationInfo": CREATION,
                "from": source, "relationshipType": kind, "to": list(targets)}  # fmt: skip

    def document(self, materials: Materials) -> Iterator[Element]:
        elements = [*self.parts(materials)]
        agent, tool = f"{self.space}:agent", f"{self.space}:tool"
        yield {"type": "CreationInfo", "@id": CREATION, "specVersion": "3.0.1",
               "created": self.created, "createdBy": [agent], "createdUsing": [tool]}  # fmt: skip
        yield self.element("SoftwareAgent", "agent", "imagebuilder")
        yield self.element("Tool", "tool", f"imagebuilder {__version__}")
        ids = [element["spdxId"] for element in elements]
        name = f"{materials.artifacts.name} {materials.artifacts.version}"
        yield self.element(
            "SpdxDocument", "document", name, rootElement=[f"{self.space}:sbom"],
            element=[agent, tool, f"{self.space}:sbom", *ids],
            profileConformance=["core", "software", "ai", "dataset", "simpleLicensing"],
            **self.imports(materials),
        )  # fmt: skip
        yield self.element("software_Sbom", "sbom", name, rootElement=[f"{self.space}:image"],
                           element=ids, software_sbomType=["build"])  # fmt: skip
        yield from elements

    def parts(self, materials: Materials) -> Iterator[Element]:
        artifacts = materials.artifacts
        image = self.element(
            "software_Package", "image", artifacts.name,
            software_packageVersion=artifacts.version, software_primaryPurpose="firmware",
        )  # fmt: skip
        yield image
        files = [self.file(file.file, file.sha256) for file in artifacts.files]
        yield from files
        yield self.relation(image["spdxId"], "hasDistributionArtifact",
                            [file["spdxId"] for file in files])  # fmt: skip
        parts = [] if materials.engine else list(materials.parts)
        packages = [self.package(part) for part in parts]
        models = [self.model(bundle) for bundle in materials.bundles]
        yield from packages
        yield from models
        contained = [part["spdxId"] for part in (*packages, *models)]
        yield self.relation(image["spdxId"], "contains", contained)
        yield from self.joined(materials, image, files, models)
        for bundle, model in zip(materials.bundles, models, strict=True):
            yield from self.data(model["spdxId"], materials.data.get(bundle.description.name, {}))
        yield from self.licenses(materials, parts, packages, models)

    def imports(self, materials: Materials) -> Element:
        """The elements of the engine's document that ours refers to, for `SpdxDocument`."""
        engine = materials.engine
        if engine is None:
            return {}
        names = [bundle_recipe(bundle.description.name) for bundle in materials.bundles]
        ids = {*engine.roots, *(engine.packages[name] for name in names if name in engine.packages)}
        ids |= {engine.files[file.sha256] for file in materials.artifacts.files
                if file.sha256 in engine.files}  # fmt: skip
        return {
            "import": [
                {"type": "ExternalMap", "externalSpdxId": name, "locationHint": ENGINE_SBOM,
                 "verifiedUsing": [_hash(engine.sha256)]}
                for name in sorted(ids)
            ]
        }  # fmt: skip

    def joined(
        self,
        materials: Materials,
        image: Element,
        files: Sequence[Element],
        models: Sequence[Element],
    ) -> Iterator[Element]:
        """How our elements are related to those of the engine's document."""
        engine = materials.engine
        if engine is None:
            return
        yield self.relation(image["spdxId"], "contains", engine.roots)
        for artifact, file in zip(materials.artifacts.files, files, strict=True):
            if artifact.sha256 in engine.files:
                source = engine.files[artifact.sha256]
                yield self.relation(source, "copiedTo", [file["spdxId"]])
        for bundle, model in zip(materials.bundles, models, strict=True):
            package = engine.packages.get(bundle_recipe(bundle.description.name))
            if package is not None:
                yield self.relation(package, "contains", [model["spdxId"]])

    def file(self, name: str, sha256: str) -> Element:
        return self.element("software_File", f"file:{quote(name)}", name,
                            verifiedUsing=[_hash(sha256)])  # fmt: skip

    def package(self, part: Part) -> Element:
        values: dict[str, Any] = {}
        if part.sha256:
            values["verifiedUsing"] = [_hash(part.sha256)]
        if part.kind == "package" and part.sha256:
            purl = f"pkg:deb/debian/{quote(part.name)}@{quote(part.version)}"
            values["software_packageUrl"] = purl
        return self.element(
            "software_Package", f"{part.kind}:{quote(part.name)}", part.name,
            software_packageVersion=part.version, software_primaryPurpose="library", **values,
        )  # fmt: skip

    def model(self, bundle: SealedBundle) -> Element:
        found = bundle.description
        metrics = []
        if found.accuracy is not None:
            score = f"{found.accuracy.optimized} of {found.accuracy.samples} samples"
            metrics = [{"type": "DictionaryEntry", "key": found.accuracy.metric, "value": score}]
        text = (f"Optimization: {found.model.quantization}; made from a model with the SHA-256 "
                f"{found.provenance.source_sha256}")  # fmt: skip
        return self.element(
            "ai_AIPackage", f"model:{found.name}", found.name,
            software_packageVersion=found.version, software_primaryPurpose="model",
            software_downloadLocation=NO_PLACE,
            ai_domain=[found.task], ai_typeOfModel=[found.model.format],
            ai_informationAboutApplication=found.provenance.source,
            ai_modelDataPreprocessing=[text],
            ai_metric=metrics, verifiedUsing=[_hash(bundle.digest.removeprefix("sha256:"))],
        )  # fmt: skip

    def data(self, model: str, sets: Mapping[str, str]) -> Iterator[Element]:
        found = [
            self.element(
                "dataset_DatasetPackage", f"data:{_digest(model + name)}", name,
                software_primaryPurpose="data", software_downloadLocation=NO_PLACE,
                dataset_datasetType=["noAssertion"],
                verifiedUsing=[_hash(sha256)],
            )
            for name, sha256 in sorted(sets.items())
        ]  # fmt: skip
        yield from found
        if found:
            yield self.relation(model, "testedOn", [item["spdxId"] for item in found])

    def licenses(
        self,
        materials: Materials,
        parts: Sequence[Part],
        packages: Sequence[Element],
        models: Sequence[Element],
    ) -> Iterator[Element]:
        known = [list(part.licenses) for part in parts]
        known += [list(bundle.description.license.values()) for bundle in materials.bundles]
        # The profile asks for one; nobody has judged the licences here.
        for model in models:
            yield self.relation(model["spdxId"], "hasConcludedLicense", [NO_CONCLUSION])
        made: dict[str, Element] = {}
        for part, names in zip((*packages, *models), known, strict=True):
            expressions = [name for name in names if name != "not-separate"]
            if not expressions:
                continue
            text = " AND ".join(dict.fromkeys(expressions))
            if text not in made:
                made[text] = self.element(
                    "simplelicensing_LicenseExpression", f"license:{_digest(text)}", text,
                    simplelicensing_licenseExpression=text,
                )  # fmt: skip
                yield made[text]
            yield self.relation(part["spdxId"], "hasDeclaredLicense", [made[text]["spdxId"]])


def _hash(sha256: str) -> Element:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": sha256}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
