"""The optimization steps, one module each: what `optimize` of a `bundle.yaml` does."""
