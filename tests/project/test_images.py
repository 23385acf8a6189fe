"""The Dockerfiles, read and not built: `make test-images` builds them and runs what they hold."""

import ast
import re
from pathlib import Path

import pytest
from places import ROOT

WORKER = ROOT / "deploy" / "Dockerfile.worker"
TRAINER = ROOT / "deploy" / "Dockerfile.trainer"
LAUNCHER = ROOT / "deploy" / "flex_template" / "Dockerfile"
ALL = [WORKER, TRAINER, LAUNCHER]
each = pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and rest of each, comments and line ends taken out."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in lines]


def rests(path: Path, word: str) -> list[str]:
    return [rest for name, rest in instructions(path) if name == word]


def argument(path: Path, name: str) -> str:
    """The default of an ARG."""
    (value,) = [rest.split("=", 1)[1] for rest in rests(path, "ARG") if rest.startswith(f"{name}=")]
    return value


def setup_py() -> dict[str, ast.expr]:
    """What setup.py gives names to at the top, and what it passes to setup()."""
    values: dict[str, ast.expr] = {}
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            values |= {keyword.arg: keyword.value for keyword in node.value.keywords if keyword.arg}
    return values


@pytest.fixture(scope="module")
def beam_version() -> str:
    """The lowest Beam that setup.py allows, with all of its three numbers."""
    (requirement,) = [one for one in ast.literal_eval(setup_py()["CORE"]) if one.startswith("apache-beam")]
    lowest = re.search(r">=([\d.]+)", requirement)[1]
    return lowest if lowest.count(".") == 2 else f"{lowest}.0"


@pytest.fixture(scope="module")
def python_version() -> str:
    return ast.literal_eval(setup_py()["python_requires"]).removeprefix(">=")


def test_beam_is_the_lowest_of_setup_py_everywhere(beam_version):
    assert argument(WORKER, "BASE").endswith(f":{beam_version}")
    assert argument(TRAINER, "BEAM_VERSION") == beam_version
    assert argument(LAUNCHER, "BEAM_VERSION") == beam_version


def test_python_is_the_lowest_of_setup_py_everywhere(python_version):
    assert argument(WORKER, "BASE").startswith(f"apache/beam_python{python_version}_sdk:")
    assert argument(TRAINER, "BASE") == f"python:{python_version}-slim"
    assert f"/python{python_version.replace('.', '')}-template-launcher-base:" in argument(LAUNCHER, "BASE")


@each
def test_the_base_can_be_replaced(path):
    assert rests(path, "FROM") == ["${BASE}"]


def test_the_trainer_does_not_run_as_root():
    (user,) = rests(TRAINER, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [word for word, _ in instructions(TRAINER)].index("USER") > max(
        place for place, (word, _) in enumerate(instructions(TRAINER)) if word == "RUN"
    )


@pytest.mark.parametrize("path", [WORKER, LAUNCHER], ids=["worker", "launcher"])
def test_who_runs_as_root_says_why(path):
    assert not rests(path, "USER")
    assert re.search(r"^# No USER: .+", path.read_text(), re.MULTILINE)


@each
def test_sources_of_copy_exist_and_pass_the_dockerignore(path):
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for rest in rests(path, "COPY"):
        *sources, _ = rest.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source in allowed


def test_the_dockerignore_lets_nothing_else_in():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for path in ALL for rest in rests(path, "COPY") for source in rest.split()[:-1]}
    assert allowed == copied


@each
def test_every_package_is_copied(path):
    assert set(ast.literal_eval(setup_py()["FOLDERS"])) <= {rest.split()[0] for rest in rests(path, "COPY")}


@each
def test_dependencies_stand_in_a_layer_before_the_sources(path):
    steps = instructions(path)
    dependencies = [place for place, (word, rest) in enumerate(steps) if word == "RUN" and "pip install" in rest]
    sources = [place for place, (word, rest) in enumerate(steps) if word == "COPY" and rest.startswith("pipeline ")]
    assert dependencies[0] < sources[0] < dependencies[1]


@each
def test_images_keep_no_cache_and_no_secret(path):
    text = path.read_text()
    assert any("PIP_NO_CACHE_DIR=1" in rest for rest in rests(path, "ENV"))
    assert not re.search(r"(password|secret|token|credential|api_?key|private_key|\.json)\b", text.lower())
    assert not rests(path, "ADD")


@each
def test_a_failing_step_fails_the_build(path):
    for rest in rests(path, "RUN"):
        assert "|| true" not in rest
        assert ";" not in rest


def test_only_the_trainer_installs_tensorflow():
    assert argument(TRAINER, "EXTRA") == "train"
    for path in (WORKER, LAUNCHER):
        assert not re.search(r"\[(train|jax|tpu)\]|pip install .*tensorflow", path.read_text())


def test_every_extra_that_the_trainer_names_is_one_of_setup_py():
    extras = {ast.literal_eval(key) for key in setup_py()["extras_require"].keys}
    named = set(re.findall(r"EXTRA=(\w+)", TRAINER.read_text()))
    assert named == {"train", "jax", "tpu"}
    assert named <= extras


def test_each_image_starts_what_its_place_expects():
    assert rests(WORKER, "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert rests(TRAINER, "ENTRYPOINT") == ['["maskmill"]']
    assert rests(LAUNCHER, "ENTRYPOINT") == ['["/opt/google/dataflow/python_template_launcher"]']
    (environment,) = [rest for rest in rests(LAUNCHER, "ENV") if rest.startswith("FLEX_TEMPLATE_PYTHON_PY_FILE=")]
    assert (ROOT / environment.split("=/template/")[1]).exists()
