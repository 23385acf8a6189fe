"""The examples in docstrings are right."""

import doctest
from importlib import import_module

import pytest
from places import ROOT

FOLDERS = ("tokenizer", "pipeline", "model", "deploy")
FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
WITH_EXAMPLES = [path for path in FILES if ">>> " in (ROOT / path).read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_give_what_they_show(path):
    module = import_module(f"maskmill.{'.'.join(path.with_suffix('').parts)}")
    found = doctest.testmod(module)
    assert found.attempted or path.name == "prose.py"
    assert not found.failed
