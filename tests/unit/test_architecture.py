"""A module imports only from rows below its own (DESIGN.md, "Layout")."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "imagebuilder"
UNITS = sorted((ROOT / "inferd").rglob("*.[ch]pp"))

ROWS = (
    ("errors", "log", "units", "device", "package", ""),
    ("state",),
    ("run", "yamlfile", "source", "templates", "operators"),
    ("fetch",),
    ("manifest", "catalog", "bundle", "lock", "artifact"),
    ("accelerator",),
    ("resolve", "plan", "hosttools", "hostcheck", "flash"),
    ("devicefiles", "services"),
    ("kasproject", "executor", "models", "target", "crossbuild"),
    ("engines", "report", "export"),
    ("testing", "conformance"),
    ("cli",),
    ("__main__",),
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
HEAVY = {"onnx", "onnxruntime", "numpy", "ai_edge_litert", "tflite_runtime"}

HEAVY_USERS = ("models", "testing", "target", "conformance")

FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return "" if relative.name == "__init__.py" and len(relative.parts) == 1 else (
        relative.parts[0].removesuffix(".py")
    )  # fmt: skip


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(("relative import", node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_lower_rows(path: Path) -> None:
    own = part_of(path)
    wrong = []
    for name, line in imports(ast.parse(path.read_text("utf-8"))):
        if name.split(".")[0] == "imagebuilder":
            other = name.split(".")[1]
            other = other if other in ROW else ""
            if other != own and ROW[other] >= ROW[own]:
                wrong.append(f"{path}:{line}: {own} (row {ROW[own]}) imports {name}")
        elif name == "relative import" or (
            name.split(".")[0] in HEAVY
            and own not in ("models", "testing", "target", "conformance")
        ):
            wrong.append(f"{path}:{line}: {own} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("path", [*FILES, *UNITS], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    assert path.read_text("utf-8").count("\n") <= 400
    assert path.stem not in ("utils", "helpers", "manager", "handler")


def test_verbs_start_without_what_only_models_need() -> None:
    """Reading a sealed bundle from the cache must not cost the import of numpy."""
    code = (
        "import sys, imagebuilder.cli.build, imagebuilder.cli.model, imagebuilder.cli.validate\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_sealed_is_shown_without_what_makes_it() -> None:
    """`model build` of what is in the cache: half of its time was imports."""
    unwanted = {"jsonschema", "imagebuilder.manifest", "imagebuilder.models.make",
                "imagebuilder.fetch.debian", "imagebuilder.run"}  # fmt: skip
    code = f"import sys, imagebuilder.cli.model\nprint(sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
