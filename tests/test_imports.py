"""Who may import whom, and that the command line answers at once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tokenizer", "pipeline", "model", "deploy")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

MAY_IMPORT_OF_OURS = {
    "tokenizer": {"tokenizer"},
    "pipeline": {"tokenizer", "pipeline"},
    "model": {
        "model",
        "pipeline.decoding",
        "pipeline.tables",  # what is fine-tuned on: rows and their ids, numpy and no Beam
        "pipeline.schema",
        "pipeline.storage",
        "pipeline.tfrecord",
        "tokenizer.errors",
        "tokenizer.fast",
        "tokenizer.json_file",
        "tokenizer.vocab",
    },
    "deploy": {"tokenizer", "pipeline", "model", "deploy"},
}
HEAVY = {"keras": {"model"}, "tensorflow": {"model"}, "jax": {"model"}, "apache_beam": {"pipeline"}}
BEAM_MODULES = {"pipeline/transforms.py", "pipeline/dag.py"}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_in_one_direction(path):
    package = path.relative_to(ROOT).parts[0]
    for name in imported_modules(path):
        top = name.split(".")[0]
        if top in PACKAGES:
            assert any(name.startswith(allowed) for allowed in MAY_IMPORT_OF_OURS[package]), name
        assert package in HEAVY.get(top, {package}), name
        if top == "apache_beam":
            assert str(path.relative_to(ROOT)) in BEAM_MODULES


def test_help_imports_nothing_heavy():
    code = "import sys, deploy.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pyarrow", "rich", "tokenizers", *HEAVY} & set(modules)


def test_every_package_is_named_in_setup_py():
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.Call)]
    (setup,) = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "setup"]
    (packages,) = [ast.literal_eval(keyword.value) for keyword in setup.keywords if keyword.arg == "packages"]
    inits = [path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    assert set(packages) == {".".join(path.parts) for path in inits} - {"deploy.flex_template"}  # run from a checkout
