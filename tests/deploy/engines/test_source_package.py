"""What travels to remote workers is the same from a checkout and from an installation."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from email import message_from_bytes
from pathlib import Path

import pytest
from places import ROOT

from maskmill.deploy.engines.source_package import PACKAGES, find_setup_file, is_checkout, write_sdist
from maskmill.tokenizer.errors import InputError

FIELDS = ("Name", "Version", "Summary", "Requires-Python")


def run_python(*arguments: object, cwd: Path, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy, because setuptools writes beside the sources."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_nothing.py").touch()
    return folder


def build_sdist(setup_file: Path, folder: Path) -> tarfile.TarFile:
    """As Beam does where the `build` package is not there."""
    run_python(setup_file.name, "sdist", "--dist-dir", folder, cwd=setup_file.parent)
    (archive,) = folder.glob("*.tar.gz")
    return tarfile.open(archive)


def sources(sdist: tarfile.TarFile) -> dict[str, bytes]:
    """The files of our packages, by name."""
    found = {}
    for member in sdist.getmembers():
        name = member.name.partition("/")[2]
        if member.isfile() and name.startswith(PACKAGES):
            file = sdist.extractfile(member)
            assert file
            found[name] = file.read()
    return found


def metadata(sdist: tarfile.TarFile) -> dict[str, object]:
    (name,) = [name for name in sdist.getnames() if name.endswith("egg-info/PKG-INFO")]
    file = sdist.extractfile(name)
    requires = sdist.extractfile(name.replace("PKG-INFO", "requires.txt"))
    assert file
    assert requires
    message = message_from_bytes(file.read())
    core, *extras = (section.split() for section in re.split(r"\n(?=\[)", requires.read().decode()))
    return {
        **{name: message[name] for name in FIELDS},
        "requires": sorted(map(in_order, core)),
        "extras": {name: sorted(map(in_order, needs)) for name, *needs in extras},
    }


def in_order(requirement: str) -> str:
    """Its versions, which may stand in any order."""
    return ",".join(sorted(requirement.split(",")))


def test_an_installed_maskmill_makes_the_package_that_a_checkout_makes(checkout, tmp_path):
    site = tmp_path / "site"
    run_python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ".", cwd=checkout)
    (wheel,) = tmp_path.glob("*.whl")
    run_python("-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    code = """
import shutil, sys
from pathlib import Path
from maskmill.deploy.engines import source_package
assert source_package.HOME == Path(sys.argv[1]) / "maskmill"
with source_package.find_setup_file() as setup_file:
    shutil.copytree(setup_file.parent, sys.argv[2])
assert not setup_file.exists()
"""
    run_python("-c", code, site, tmp_path / "made", cwd=tmp_path, PYTHONPATH=str(site))
    ours = build_sdist(checkout / "setup.py", tmp_path / "ours")
    made = build_sdist(tmp_path / "made" / "setup.py", tmp_path / "theirs")
    assert sources(ours) == sources(made)
    assert {"tokenizer/unicode_14.txt", "deploy/report/template.html.j2"} <= set(sources(made))
    assert metadata(ours) == metadata(made)
    assert not [name for sdist in (ours, made) for name in sdist.getnames() if "/tests/" in name]
    assert "tensorflow" not in str(metadata(made)["requires"])


def test_a_package_for_other_machines_can_be_installed_with_the_extra_of_a_tpu(tmp_path):
    path = write_sdist(tmp_path / "new folder")
    assert path == tmp_path / "new folder" / "maskmill.tar.gz"
    with tarfile.open(path) as sdist:
        assert "tokenizer/unicode_14.txt" in sources(sdist)
        file = sdist.extractfile(f"{sdist.getnames()[0]}/PKG-INFO")
        assert file
        requires = message_from_bytes(file.read()).get_all("Requires-Dist") or []
    tpu = [line for line in requires if line.endswith('; extra == "tpu"')]
    assert any(line.startswith("jax[tpu]>=") for line in tpu)
    assert any(line.startswith("keras") for line in tpu)
    assert not any(line.startswith("tensorflow") for line in tpu)


def test_a_package_that_does_not_build_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "setup.py").write_text("raise SystemExit('no compiler')\n")
    monkeypatch.setattr(
        "maskmill.deploy.engines.source_package.find_setup_file", lambda: nullcontext(tmp_path / "setup.py")
    )
    with pytest.raises(InputError, match=r" does not build: no compiler"):
        write_sdist(tmp_path / "out")


def test_a_checkout_is_built_in_a_copy(checkout):
    """Two tests, or two jobs, that built in one folder took each other's files away."""
    before = sorted(checkout.rglob("*"))
    with find_setup_file(checkout) as one, find_setup_file(checkout) as other:
        assert one != other
        assert one.is_absolute()
        assert one.read_bytes() == (ROOT / "setup.py").read_bytes()
        build_sdist(one, one.parent / "dist")
    assert not one.exists()
    assert sorted(checkout.rglob("*")) == before


def test_another_packages_setup_py_is_not_ours(tmp_path):
    assert not is_checkout(tmp_path)
    (tmp_path / "setup.py").write_text("from setuptools import setup\nsetup(name='other')\n")
    assert not is_checkout(tmp_path)
    assert is_checkout(ROOT)


def test_setuptools_missing_is_one_sentence(monkeypatch):
    monkeypatch.setattr("maskmill.deploy.engines.source_package.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"setuptools is not installed here.*pip install"), find_setup_file():
        pass
