"""Which ONNX operators a runtime and a core can run: Debian's operator models as bundles."""
