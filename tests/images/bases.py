"""Stand-ins of the public bases: Debian's Python 3.11 from debootstrap, and Beam from PyPI with its boot from Go."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from buildah import Images, stop, timed

ROOT = Path(__file__).resolve().parent.parent.parent
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
BEAM_MODULE = "github.com/apache/beam/sdks/v2/python/container"

PYTHON_BASE = """
FROM scratch
ADD root.tar /
RUN rm -f /usr/lib/python3.11/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
"""
BEAM_BASE = """
FROM localhost/maskmill-python
RUN python -m pip install --no-cache-dir "apache-beam[gcp]=={version}"
COPY boot /opt/apache/beam/boot
"""


def make_bases(images: Images) -> bool:
    """The stand-ins of python:3.11-slim and of Beam's SDK image; whether the latter has Beam's boot program."""
    context = images.folder / "base"
    context.mkdir(parents=True, exist_ok=True)
    if not images.exists("localhost/maskmill-python"):
        with timed("debootstrap"), tempfile.TemporaryDirectory(dir=images.folder) as root:
            # In a mount namespace of its own: whatever it mounts is gone before the folder is deleted.
            command = f"unshare --mount debootstrap --variant=minbase --include={PACKAGES} bookworm".split()
            done = subprocess.run([*command, root, MIRROR], capture_output=True, text=True)
            if done.returncode:
                stop(f"debootstrap failed: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
            subprocess.run(["tar", "-C", root, "-cf", context / "root.tar", "."], check=True)
        (context / "Dockerfile").write_text(PYTHON_BASE)
        images.build("maskmill-python", context / "Dockerfile", context)
        (context / "root.tar").unlink()
    boot = context / "boot"
    if not images.exists("localhost/maskmill-beam"):
        version = re.search(r"BASE=.*:([\d.]+)", (ROOT / "deploy" / "Dockerfile.worker").read_text())[1]
        build_boot(boot, version)
        (context / "Dockerfile.beam").write_text(BEAM_BASE.format(version=version))
        images.build("maskmill-beam", context / "Dockerfile.beam", context)
    return boot.stat().st_size > 1000


def build_boot(path: Path, version: str) -> None:
    """Beam's boot program where Go is, else a file that says so."""
    if shutil.which("go"):
        with timed("built Beam's boot program"), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            environment = {**os.environ, "GOPATH": folder, "GOBIN": f"{folder}/bin", "CGO_ENABLED": "0"}
            environment["GOFLAGS"] = "-modcacherw"
            subprocess.run(["go", "install", f"{BEAM_MODULE}@v{version}"], env=environment, capture_output=True)
            built = Path(folder, "bin", "container")
            if built.exists():
                shutil.move(built, path)
                return
    path.write_text("#!/bin/sh\necho 'a stand-in of boot'\n")
    path.chmod(0o755)
