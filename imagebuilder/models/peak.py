"""Memory of tensors while a graph runs."""

from __future__ import annotations


def peak(nodes: list[tuple[list[str], list[str]]], sizes: dict[str, int], kept: set[str]) -> int:
    """Most bytes alive at once: a tensor lives from the node that makes it to its last reader."""
    last = {name: i for i, (inputs, _) in enumerate(nodes) for name in inputs}
    made = {name for _, outputs in nodes for name in outputs}
    alive = sum(size for name, size in sizes.items() if name not in made and name in last)
    most = alive
    for index, (inputs, outputs) in enumerate(nodes):
        alive += sum(sizes.get(name, 0) for name in outputs)
        most = max(most, alive)
        done = {n for n in (*inputs, *outputs) if last.get(n, index) == index and n not in kept}
        alive -= sum(sizes.get(name, 0) for name in done)
    return most
