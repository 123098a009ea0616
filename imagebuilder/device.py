"""The device contract (docs/reference/device-contract.md) as values for the code."""

from __future__ import annotations

ESP, ROOT, MODELS, DATA = "esp", "root-a", "models-a", "data"
"""Names of the GPT partitions."""

RESERVED_PARTITIONS = ("root-b", "models-b")

MODELS_PATH = "/models"
DATA_PATH = "/data"
SERVER_PATH = "/usr/bin/inferd"
SERVER_CONFIG_PATH = "/etc/inferd.json"
SERVER_DEVICES_PATH = "/etc/inferd.devices"
SERVER_TOKEN_PATH = "/data/credentials/inferd"
READY_PATH = "/run/inferd/ready"
TEXT_SERVER_PATH = "/usr/bin/llama-server"
TEXT_CONFIG_PATH = "/etc/llama-server.conf"
TEXT_READY_PATH = "/run/llama-server/ready"
TEXT_KEY_PATH = "/data/credentials/llama-server"
BOOT_PATH = "/run/boot"
IMAGE_PATH = "/etc/imagebuilder/image.json"
DIGESTS_PATH = "/usr/share/imagebuilder/sha256sums"
CHECK_PATH = "/usr/libexec/imagebuilder/check-files"

SERVER_USER = "inferd"
SERVER_UID = 901
TEXT_USER = "llama-server"
TEXT_UID = 902
TEXT_BATCH = 128
"""Tokens of a prompt that the text server computes at once."""

AGENT_PORT = "imagebuilder.agent"
AGENT_READY = "ready"

MARKER = "imagebuilder: "
STAGES = ("root", "models", "data", "services", "ready")
FAILED = "failed: "
DAMAGED, REPAIRED = "damaged: ", "repaired: "
