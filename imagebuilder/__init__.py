"""One manifest in, verified AI firmware out."""

__version__ = "0.1.0"
