"""`python -m imagebuilder`."""

from imagebuilder.cli import main

main()
