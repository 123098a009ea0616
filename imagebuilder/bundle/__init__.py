"""Sealed model bundles: format, reader, verifier (docs/reference/bundle-format.md)."""
