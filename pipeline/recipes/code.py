"""Fingerprints of code: a hash of the syntax trees of all modules that a module imports, without docstrings.

What a result depends on is read off the imports, in one place: dvc.yaml names fingerprint files in place of modules,
and the keys of the store hold the same fingerprints.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from pipeline.common.files import sha256_file

ROOT = Path(__file__).parents[2]
PLUMBING = (
    "models.errors", "models.names", "pipeline.common.errors", "pipeline.common.files", "pipeline.common.layout",
    "pipeline.params", "pipeline.recipes.code", "pipeline.recipes.listeners", "pipeline.recipes.store",
    "pipeline.runtime", "pipeline.tracking",
)  # fmt: skip
"""What cannot change a result: paths, errors, atomic writes, typed parameters, tracking, progress."""


@cache
def fingerprint(module: str) -> str:
    """Return the hex SHA-256 of the code that decides what `module`, a dotted name, computes."""
    found = hashlib.sha256()
    modules = sorted(closure(module))
    for name in modules:
        found.update(f"{name} {_digest(name)}\n".encode())
    for path in sorted({one for name in modules for one in _beside(name)}):
        found.update(f"{path.name} {sha256_file(path)}\n".encode())
    return found.hexdigest()


@cache
def closure(module: str) -> frozenset[str]:
    """Return the project's modules that `module` needs, itself among them, through any number of imports."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or _is_plumbing(name) or file_of(name) is None:
            continue
        seen.add(name)
        waiting += imports(name)
    return frozenset(seen)


@cache
def imports(module: str) -> frozenset[str]:
    """Return every dotted name that one of the project's modules imports, also inside functions."""
    path = file_of(module)
    assert path is not None
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def file_of(module: str) -> Path | None:
    """Return the file of one of the project's modules; None for another's, and for a name that is no module."""
    if module.split(".")[0] not in ("models", "pipeline"):
        return None
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _beside(module: str) -> list[Path]:
    """The files beside a module that are no modules: templates, tables."""
    path = file_of(module)
    assert path is not None
    return [one for one in path.parent.iterdir() if one.is_file() and one.suffix not in (".py", ".pyc")]


def _is_plumbing(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PLUMBING)


@cache
def _digest(module: str) -> str:
    path = file_of(module)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_text(one)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare string: a docstring, or one that documents the name above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
