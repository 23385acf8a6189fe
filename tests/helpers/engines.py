"""Beam's engines for the tests: servers that end with the test, and programs and environments that are made once.

What is built or downloaded stays in ~/.cache/maskmill-tests, or MASKMILL_TEST_CACHE, under a name with its version.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from places import ROOT

BEAM_VERSION = version("apache-beam")
CACHE = Path(os.environ.get("MASKMILL_TEST_CACHE", Path.home() / ".cache" / "maskmill-tests"))
BEAM_ENVIRONMENT = [f"apache-beam=={BEAM_VERSION}", "setuptools>=77", "wheel"]  # boot builds without isolation


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name in the cache; `make` fills it the first time."""
    target = CACHE / name
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
        try:
            make(folder)
            with contextlib.suppress(FileExistsError):  # another test run was quicker
                folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return target


def succeed(command: Sequence[object], **options: object) -> str:
    """What a command prints, which must succeed."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore
    assert result.returncode == 0, f"{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


def go_program(package: str) -> Path:
    """The program of a Go package of Beam's, of the version that is installed here; without Go the test is skipped."""
    name = package.rsplit("/", 1)[-1]

    def build(folder: Path) -> None:
        if not shutil.which("go"):
            pytest.skip(f"needs Go, to build Beam's {name}")
        command = ["go", "install", f"github.com/apache/beam/sdks/v2/{package}@v{BEAM_VERSION}"]
        result = subprocess.run(command, env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"Go cannot build Beam's {name} here: {result.stderr.strip()[-300:]}")

    return cached(f"{name}-{BEAM_VERSION}", build) / name


def site_packages(environment: Path) -> Path:
    """Where a virtual environment of this Python keeps its packages."""
    return environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def beam_environment() -> Path:
    """A virtual environment that holds only apache-beam, of the version that is installed here."""

    def make(folder: Path) -> None:
        succeed([sys.executable, "-m", "venv", folder])
        succeed([folder / "bin/python", "-m", "pip", "install", "--quiet", *BEAM_ENVIRONMENT], env=outside())

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return cached(f"beam-{BEAM_VERSION}-python{python}", make)


def wheels_of_core() -> Path:
    """What setup.py asks for, as wheels: Beam's boot program lets pip cache nothing, and would fetch them each time."""
    setup = (ROOT / "setup.py").read_bytes()

    def make(folder: Path) -> None:
        python = beam_environment() / "bin/python"
        listing = "import setuptools, runpy; setuptools.setup = lambda **kw: print(*kw['install_requires'], sep='\\n');"
        listing += "runpy.run_path('setup.py')"
        core = succeed([sys.executable, "-c", listing], cwd=ROOT).split()
        succeed(
            [python, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, *BEAM_ENVIRONMENT, *core], env=outside()
        )

    digest = hashlib.sha256(setup).hexdigest()[:12]
    return cached(f"wheels-{BEAM_VERSION}-python{sys.version_info.major}.{sys.version_info.minor}-{digest}", make)


def layer_over(packages: Path, folder: Path) -> Path:
    """A new virtual environment that sees the packages of another one, and installs its own over them."""
    succeed([sys.executable, "-m", "venv", "--without-pip", folder])
    (site_packages(folder) / "below.pth").write_text(f"{packages}\n")
    return folder


def outside(**more: str) -> dict[str, str]:
    """The environment of a process that knows nothing of the checkout, nor of the environment that tests run in."""
    ours = ("PYTHON", "VIRTUAL_ENV", "COVERAGE", "PYTEST", "MASKMILL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if folder != own)
    return {**kept, "PATH": path, **more}


def boot_script(script: Path, prepare: str) -> Path:
    """A script that starts Beam's boot program for a worker; `prepare` are shell lines that set $environment."""
    boot = go_program("python/container")
    script.write_text(
        f"""#!/bin/sh
set -e
own="$(mktemp -d {script.parent}/worker.XXXXXX)"  # else workers would share a folder of staged files
{prepare}
export RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1  # else boot makes its environment in /opt/apache
export PATH="$environment/bin:$PATH"
cd "$own"
exec {boot} --semi_persist_dir="$own" "$@"
"""
    )
    script.chmod(0o755)
    return script


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that nobody listens to, and that nobody else gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def free_port() -> int:
    """A port that nobody listens to at the moment, for a server that takes it at once."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 300, server: "Server | None" = None) -> None:
    """Asks again and again; an AssertionError with the end of the server's log where that ended, or the time is up."""
    deadline = time.monotonic() + seconds
    while not is_so():
        ended = server is not None and server.process.poll() is not None
        if ended or time.monotonic() > deadline:
            log = server.log.read_text(errors="replace")[-3000:] if server else ""
            raise AssertionError(f"not after {seconds} s{', as its process ended' if ended else ''}: {what}\n{log}")
        time.sleep(0.1)


class Server:
    """A process that was started, and its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path):
        self.process, self.log = process, log


class Servers:
    """Starts servers, and ends them with all they started, by their process ids, when the block is left."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.mark = f"MASKMILL_ENGINE={uuid.uuid4().hex}"  # children inherit it, also those that lose their parent

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        self.end(self.processes())

    def start(self, name: str, command: Sequence[object], env: dict[str, str], port: int | None = None) -> Server:
        """Starts a server in the folder, and waits until it listens to the port."""
        log = self.folder / f"{name}.log"
        mark, value = self.mark.split("=")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env={**env, mark: value},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, log)
        if port:
            wait_until(lambda: listens(port), f"{name} listens to port {port}", server=server)
        return server

    def processes(self) -> dict[int, str]:
        """Process ids and command lines of all that was started here and still runs."""
        return dict(self._find())

    def _find(self) -> Iterator[tuple[int, str]]:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()

    def descendants(self, server: Server) -> list[int]:
        """The ids of the processes that a server started, and those that they did."""
        parents = {}
        for process in self.processes():
            with contextlib.suppress(OSError):
                parents[process] = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        below = [server.process.pid]
        for process in below:  # grows
            below += [child for child, parent in parents.items() if parent == process]
        return below[1:]

    def end(self, processes: "dict[int, str] | list[int]") -> None:
        """Ends processes and waits until they are gone."""
        for patience, name in ((10, signal.SIGTERM), (60, signal.SIGKILL)):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, name)
            deadline = time.monotonic() + patience
            while (left := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
                time.sleep(0.1)
            processes = left
        assert not processes, f"these processes do not end: {processes}"


def is_running(process: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent to ask does not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)  # ours must be asked for
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listens(port: int) -> bool:
    """Whether something listens to a port of this machine."""
    with contextlib.suppress(OSError):
        socket.create_connection(("localhost", port), timeout=1).close()
        return True
    return False


@pytest.fixture(scope="module")
def job_endpoint(tmp_path_factory) -> Iterator[str]:
    """A job server, on loopback, that runs what it is given by itself."""
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "--port", port]
    with Servers(tmp_path_factory.mktemp("server")) as servers:
        servers.start("jobs", command, dict(os.environ), port)
        yield f"localhost:{port}"
