"""Who may import whom, and that the command line answers at once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

# From the ground up: a file imports from its own folder and from those before it.
ORDER = (
    "tokenizer",
    "pipeline",  # processes.py
    "pipeline/storage", "pipeline/reading", "pipeline/dataset", "pipeline/records", "pipeline/instances",
    "pipeline/spill",
    "pipeline/tables", "pipeline/jobs", "pipeline/analysis", "pipeline/validation",
    "model/bert", "model/training", "model/formats", "model/pretraining", "model/tasks", "model/pruning",
    "deploy/terminal", "deploy/engines", "deploy/data", "deploy/report", "deploy/datasets", "deploy/tasks",
    "deploy/training", "deploy/tpu", "deploy/doctor", "deploy/demo",
    "deploy",  # cli.py
    "deploy/flex_template",
)  # fmt: skip
PACKAGES = ("tokenizer", "pipeline", "model", "deploy")
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
# Workers import the pipeline, and have none of these.
ONLY_IN = {"keras": "model", "tensorflow": "model", "jax": "model", "apache_beam": "pipeline/jobs"}
# What `model` needs of the pipeline is numpy without Beam, which takes seconds to import.
NOT_IN_MODEL = ("pipeline/jobs", "pipeline/reading", "pipeline/analysis", "pipeline/validation")


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            is_package = (ROOT / "/".join(str(node.module).split(".")[1:])).is_dir()
            names.update(f"{node.module}.{alias.name}" if is_package else str(node.module) for alias in node.names)
    return names


def folder_of(module: str) -> str:
    """`maskmill.pipeline.jobs.dag` to `pipeline/jobs`."""
    return "/".join(module.split(".")[1:-1])


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_from_its_own_folder_and_those_below(path):
    own = str(path.parent)
    for module in imported_modules(path):
        top = module.split(".")[0]
        if top == "maskmill":
            assert ORDER.index(folder_of(module)) <= ORDER.index(own), module
            assert not (path.parts[0] == "model" and folder_of(module) in NOT_IN_MODEL), module
        assert own.startswith(ONLY_IN.get(top, "")), module
        assert top not in PACKAGES, f"{module}: import it as maskmill.{module}"


def test_every_folder_has_a_place_in_the_order():
    assert {str(path.parent) for path in FILES} == set(ORDER) | {"model"}


def test_help_imports_nothing_heavy():
    code = "import sys, maskmill.deploy.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pyarrow", "rich", "tokenizers", "keras", "tensorflow", "jax", "apache_beam"} & set(modules)
