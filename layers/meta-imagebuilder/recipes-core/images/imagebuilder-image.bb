SUMMARY = "Firmware image: what ships"
DESCRIPTION = "Base system, inference server, runtimes and models; read-only root, no password, no shell, no test agent."
LICENSE = "MIT"

inherit imagebuilder_image release_check
