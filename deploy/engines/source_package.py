"""Our sources as a package that Beam stages for remote workers (`--setup_file`), from a checkout or an installation.

`python -m maskmill.deploy.engines.source_package FOLDER` writes it there as maskmill.tar.gz.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from maskmill.tokenizer.errors import InputError

PACKAGES = ("tokenizer", "pipeline", "model", "deploy")
SETUP_FILES = ("setup.py", "pyproject.toml", "LICENSE")  # what a checkout is built with
HOME = Path(__file__).resolve().parents[2]  # a checkout, or the folder `maskmill` of installed packages

SETUP = '''"""Made by maskmill {version} from its installation, for remote workers."""

from setuptools import setup

setup(**{arguments!r})
'''


@contextmanager
def find_setup_file(home: Path = HOME) -> Iterator[Path]:
    """The absolute path of a setup.py that builds us, in a temporary copy of our sources.

    A copy, because setuptools gathers its files beside setup.py: two builds in one folder would share them, and a
    checkout may be read-only. Raises InputError where it could not be built into the package that travels.
    """
    if find_spec("setuptools") is None:
        raise InputError(
            "setuptools is not installed here, and the package for the remote workers is built with it",
            way_out="run: pip install 'setuptools>=77' build",
        )
    with tempfile.TemporaryDirectory(prefix="maskmill-sources-") as temporary:
        folder = Path(temporary)
        for package in PACKAGES:
            shutil.copytree(home / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
        if is_checkout(home):
            for name in SETUP_FILES:
                shutil.copyfile(home / name, folder / name)
        else:
            write_setup_file(folder, distribution("maskmill"))
        yield folder / "setup.py"


def is_checkout(home: Path) -> bool:
    """Whether our own setup.py stands beside our packages; a stranger's may, among installed ones."""
    try:
        return 'name="maskmill"' in (home / "setup.py").read_text(encoding="utf-8")
    except OSError:
        return False


def write_setup_file(folder: Path, installed: Distribution) -> None:
    """Writes a setup.py beside a copy of our packages, by what is known of the installation they come from."""
    folders = sorted(path.parent for package in PACKAGES for path in (folder / package).rglob("__init__.py"))
    data = {
        _name_package(folder, package): sorted(
            path.name for path in package.iterdir() if path.is_file() and path.suffix != ".py"
        )
        for package in folders
    }
    arguments: dict[str, Any] = {
        "name": "maskmill",
        "version": installed.version,
        "description": installed.metadata["Summary"],
        "python_requires": installed.metadata["Requires-Python"],
        "package_dir": {f"maskmill.{name}": name for name in PACKAGES},
        "packages": [_name_package(folder, package) for package in folders],
        "package_data": {package: names for package, names in data.items() if names},
        "install_requires": list_requirements(installed),
        "extras_require": list_extras(installed),
        "entry_points": {"console_scripts": ["maskmill = maskmill.deploy.cli:main"]},
    }
    setup = SETUP.format(version=installed.version, arguments=arguments)
    (folder / "setup.py").write_text(setup, encoding="utf-8")


def list_requirements(installed: Distribution) -> list[str]:
    """What an installation needs without its extras: workers train nothing."""
    return [name for name in installed.requires or () if not re.search(r";.*\bextra\s*==", name)]


def list_extras(installed: Distribution) -> dict[str, list[str]]:
    """What an installation needs for each of its extras: who trains elsewhere installs one."""
    extras: dict[str, list[str]] = {name: [] for name in installed.metadata.get_all("Provides-Extra") or ()}
    for requirement in installed.requires or ():
        if marker := re.search(r"^(.*?)\s*;.*\bextra\s*==\s*['\"](.+?)['\"]", requirement):
            extras[marker[2]].append(marker[1])
    return extras


def write_sdist(folder: Path) -> Path:
    """Builds our source distribution into a folder as maskmill.tar.gz. Raises InputError where it cannot be built."""
    folder.mkdir(parents=True, exist_ok=True)
    with find_setup_file() as setup_file, tempfile.TemporaryDirectory(prefix="maskmill-sdist-") as temporary:
        build = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", temporary]
        done = subprocess.run(build, cwd=setup_file.parent, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise InputError(f"{HOME} does not build: {done.stderr.strip().splitlines()[-1]}")
        (built,) = Path(temporary).glob("*.tar.gz")
        return Path(shutil.move(built, folder / "maskmill.tar.gz"))


def _name_package(folder: Path, package: Path) -> str:
    return ".".join(("maskmill", *package.relative_to(folder).parts))


if __name__ == "__main__":
    try:
        print(f"Wrote {write_sdist(Path(sys.argv[1]))}")
    except InputError as error:
        sys.exit(str(error))
