"""No function takes more than seven arguments: where one would, an object is missing."""

import ast

from places import ROOT

MOST = 7
FOLDERS = ("tokenizer", "pipeline", "model", "deploy")
MAY_TAKE_MORE = {
    "model/bert/fused.py embed",
}


def count_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many it takes, without self and cls."""
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_function_takes_more_than_seven_arguments():
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and count_arguments(node) > MOST:
                    found.add(f"{path.relative_to(ROOT)} {node.name}")
    assert found == MAY_TAKE_MORE
