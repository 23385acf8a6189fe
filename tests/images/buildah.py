"""buildah with a storage of its own: builds images and runs commands in them, without a daemon and a registry."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FROM_HOST = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf", "/etc/hosts")


def stop(sentence: str) -> None:
    """Ends with one sentence."""
    sys.exit(f"test-images: {sentence}")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Says how long something took."""
    start = time.monotonic()
    yield
    print(f"-- {what}: {time.monotonic() - start:.0f} s", flush=True)


class Images:
    """buildah with a storage of its own in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        driver = os.environ.get("STORAGE_DRIVER", "vfs")  # works everywhere; overlay is faster where it works
        self.places = ["--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", driver]
        self.volumes = [f"--volume={path}:{path}:ro" for path in FROM_HOST if Path(path).exists()]

    def buildah(self, *arguments: str) -> str:
        """Runs buildah; what it printed."""
        result = subprocess.run(["buildah", *self.places, *arguments], capture_output=True, text=True)
        if result.returncode:
            print(result.stdout[-3000:], result.stderr[-5000:], file=sys.stderr)
            stop(f"buildah {arguments[0]} failed with exit code {result.returncode}")
        return result.stdout

    def exists(self, name: str) -> bool:
        """Whether an image is there from an earlier run."""
        return name in self.buildah("images", "--format", "{{.Name}}").split()

    def build(self, name: str, dockerfile: Path, context: Path, base: str | None = None) -> None:
        """Builds an image, on a base of ours where one is named."""
        arguments = ["--build-arg", f"BASE=localhost/{base}"] if base else []
        with timed(f"built {name}"):
            self.buildah(
                *("bud", "--isolation", "chroot", "--network", "host", *self.volumes, *arguments),
                *("--file", str(dockerfile), "--tag", f"localhost/{name}", str(context)),
            )

    @contextmanager
    def container(self, name: str) -> Iterator[str]:
        """A container of an image."""
        container = self.buildah("from", f"localhost/{name}").strip()
        try:
            yield container
        finally:
            self.buildah("rm", container)

    def command(self, container: str, arguments: Sequence[str], volumes: Sequence[str] = ()) -> list[str]:
        """The command line that runs something in a container, as the image's own user."""
        run = ["run", "--isolation", "chroot", "--network", "host", *self.volumes, *volumes, container, "--"]
        return ["buildah", *self.places, *run, *arguments]

    def run(self, container: str, *arguments: str) -> str:
        """What something run in a container prints; stops where it fails."""
        result = subprocess.run(self.command(container, arguments), capture_output=True, text=True)
        if result.returncode:
            print(result.stdout[-3000:], result.stderr[-5000:], file=sys.stderr)
            stop(f"{' '.join(arguments)[:200]} failed in the image with exit code {result.returncode}")
        return result.stdout

    def entry_point(self, container: str) -> list[str]:
        """What the image starts."""
        return json.loads(self.buildah("inspect", container))["OCIv1"]["config"]["Entrypoint"]

    def megabytes(self, container: str) -> int:
        """Size of all files of a container."""
        mount = self.buildah("mount", container).strip()
        size = subprocess.run(["du", "-sm", mount], capture_output=True, text=True, check=True).stdout
        self.buildah("umount", container)
        return int(size.split()[0])
