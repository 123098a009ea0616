"""Files on the device that every engine writes, rendered from a build. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from imagebuilder import device
from imagebuilder.resolve import Build, BuildModel, model_memory, text_context

SERVER = "inferd"
TEXT_SERVER = "llama-server"


def serves(build: Build, server: str) -> bool:
    """Whether a model of the image is served by it."""
    return any(model.runtime.server == server for model in build.models)


def text_config(build: Build) -> str:
    """/etc/llama-server.conf (device contract): settings of the text server, for a shell."""
    model = next(model for model in build.models if model.runtime.server == TEXT_SERVER)
    address = build.manifest.server.text
    values = {
        "model": f"{device.MODELS_PATH}/{model.request.bundle}/"
        f"{model.bundle.description.model.file}",
        "name": model.request.bundle,
        "host": address.host,
        "port": address.port,
        "loopback": int(address.loopback),
        "context": text_context(model),
        "threads": model.request.threads,
        "batch": device.TEXT_BATCH,
        "metrics": int(build.manifest.server.metrics),
        "memory": (model.request.memory_limit or model_memory(model)) + model.target.memory,
        "verify_key": build.trust.key_text() if build.trust else "",
        "verify_minimum": build.trust.minimum_version if build.trust else 0,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def server_config(build: Build, libraries: Mapping[str, str]) -> dict[str, Any]:
    """/etc/inferd.json (device contract); `libraries` are backend → path on the device."""
    return {
        "format": 1,
        "listen": build.manifest.server.listen.replace("localhost", "127.0.0.1"),
        "metrics": build.manifest.server.metrics,
        **dataclasses.asdict(build.manifest.server.limits),
        **_token(build.manifest.server.token),
        "runtimes": dict(libraries),
        "models": [
            {
                "bundle": f"{device.MODELS_PATH}/{model.request.bundle}",
                "name": model.bundle.description.name,
                "device": model.request.device,
                "fallback": model.request.fallback,
                **_delegate(build, model),
                "threads": model.request.threads,
                "memory_limit": model.request.memory_limit,
            }
            for model in build.models
            if model.runtime.server == SERVER
        ],
        **_verify(build),
    }


def _token(token: str | None) -> dict[str, str]:
    if token is None or token == "none":
        return {}
    return {"token_file": device.SERVER_TOKEN_PATH if token == "device" else token}


def _delegate(build: Build, model: BuildModel) -> dict[str, str]:
    """The machine's library for the model's device, if there is one."""
    found = build.machine.accelerator
    if found is None or model.request.device != found.kind:
        return {}
    own = found.runtimes.get(model.runtime.name, {})
    return {"delegate": own["delegate"]} if "delegate" in own else {}


def device_nodes(build: Build) -> tuple[str, ...]:
    """The nodes that inferd has to open: the accelerator's, if a model uses its delegate."""
    found = build.machine.accelerator
    own = (model for model in build.models if model.runtime.server == SERVER)
    if found is None or not any(_delegate(build, model) for model in own):
        return ()
    return found.devices or ()


def devices_text(nodes: Iterable[str]) -> str:
    """/etc/inferd.devices (device contract), which a script gives to inferd."""
    return "".join(f"{node}\n" for node in nodes)


def _verify(build: Build) -> dict[str, Any]:
    trust = build.trust
    if trust is None:
        return {}
    return {"verify": {"key": trust.key_text(), "minimum_version": trust.minimum_version}}


def image_info(build: Build) -> dict[str, Any]:
    """/etc/imagebuilder/image.json (device contract)."""
    manifest = build.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "compatible": manifest.compatible,
        "machine": build.machine.name,
        "engine": build.engine,
        "variant": build.variant,
        "models": {model.request.bundle: model.bundle.digest for model in build.models},
    }


def json_text(data: Any) -> str:
    """JSON with sorted keys, two spaces, one newline at the end."""
    return json.dumps(data, indent=2, sort_keys=True) + "\n"
