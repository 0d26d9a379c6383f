"""Functions and modules stay within the style guide's limits."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("engine", "kernels", "export", "training", "benchmarks", "scripts")
MODULE_LINES, FUNCTION_LINES = 400, 60
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_and_functions_stay_within_their_lines(folder: str) -> None:
    too_long = []
    for path in (p for p in FILES if p.is_relative_to(ROOT / folder)):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        if len(text.splitlines()) >= MODULE_LINES:
            too_long.append(f"{name}: {len(text.splitlines())} lines")
        too_long += [
            f"{name}::{node.name}: {_lines(node)} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines(node) > FUNCTION_LINES
        ]
    assert too_long == []


def test_the_budget_is_measured_on_real_files() -> None:
    assert len(FILES) > 100


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1
