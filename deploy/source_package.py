"""Our sources as a package that Beam stages for remote workers (`--setup_file`), from a checkout or an installation.

`python -m deploy.source_package FOLDER` writes it there as maskmill.tar.gz.
"""

import fcntl
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

from tokenizer.errors import InputError

PACKAGES = ("tokenizer", "pipeline", "model", "deploy")
HOME = Path(__file__).resolve().parent.parent  # a checkout, or the folder of installed packages

SETUP = '''"""Made by maskmill {version} from its installation, for remote workers."""

from setuptools import setup

setup(**{arguments!r})
'''


@contextmanager
def find_setup_file(home: Path = HOME) -> Iterator[Path]:
    """The absolute path of a setup.py that builds us: the checkout's, or that of a temporary source package.

    Raises InputError where it could not be built into the package that travels.
    """
    if find_spec("setuptools") is None:
        raise InputError(
            "setuptools is not installed here, and the package for the remote workers is built with it; "
            "run: pip install 'setuptools>=77' build"
        )
    if is_checkout(home):
        yield home / "setup.py"
        return
    with tempfile.TemporaryDirectory(prefix="maskmill-sources-") as folder:
        yield write_source_package(Path(folder), home, distribution("maskmill"))


def is_checkout(home: Path) -> bool:
    """Whether our own setup.py stands beside our packages; a stranger's may, among installed ones."""
    try:
        return 'name="maskmill"' in (home / "setup.py").read_text(encoding="utf-8")
    except OSError:
        return False


def write_source_package(folder: Path, home: Path, installed: Distribution) -> Path:
    """Copies our packages below `home` to `folder` and writes their setup.py, whose path it returns."""
    for package in PACKAGES:
        shutil.copytree(home / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
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
        "packages": [_name_package(folder, package) for package in folders],
        "package_data": {package: names for package, names in data.items() if names},
        "install_requires": list_requirements(installed),
        "extras_require": list_extras(installed),
        "entry_points": {"console_scripts": ["maskmill = deploy.cli:main"]},
    }
    setup_file = folder / "setup.py"
    setup_file.write_text(SETUP.format(version=installed.version, arguments=arguments), encoding="utf-8")
    return setup_file


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
    with (
        find_setup_file() as setup_file,
        tempfile.TemporaryDirectory(prefix="maskmill-sdist-") as temporary,
        setup_file.open() as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # setuptools gathers files beside setup.py: two would share them
        build = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", temporary, "sdist"]
        done = subprocess.run(
            [*build, "--dist-dir", temporary], cwd=setup_file.parent, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise InputError(f"{setup_file} does not build: {done.stderr.strip().splitlines()[-1]}")
        (built,) = Path(temporary).glob("*.tar.gz")
        return Path(shutil.move(built, folder / "maskmill.tar.gz"))


def _name_package(folder: Path, package: Path) -> str:
    return ".".join(package.relative_to(folder).parts)


if __name__ == "__main__":
    try:
        print(f"Wrote {write_sdist(Path(sys.argv[1]))}")
    except InputError as error:
        sys.exit(str(error))
