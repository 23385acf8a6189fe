"""A real Flink cluster for the tests: a JobManager, TaskManagers, Beam's job server, workers by Beam's boot program.

Everything is a process of its own on this machine. Flink itself comes from PyPI (230 MB), Beam's job server from Maven
Central (150 MB); both are kept, see `engines.CACHE`. Needs Java 17, Maven and Go.
"""

import hashlib
import json
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from engines import (
    ROOT,
    Server,
    Servers,
    boot_script,
    cached,
    free_port,
    outside,
    site_packages,
    succeed,
    wait_until,
)

FLINK = "1.19.3"
POM = ROOT / "docs" / "flink-job-server.pom.xml"
TASK_MANAGER_MEMORY = "1500m"
JAVA_17 = [  # what Flink's own start scripts open
    *(f"--add-exports={name}=ALL-UNNAMED" for name in ("java.base/sun.net.util", "java.rmi/sun.rmi.registry")),
    *(
        f"--add-opens=java.base/java.{name}=ALL-UNNAMED"
        for name in ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util")
        + ("util.concurrent", "util.concurrent.atomic", "util.concurrent.locks")
    ),
]
CONFIG = """\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
rest.address: localhost
rest.port: {rest}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.numberOfTaskSlots: 1
taskmanager.memory.process.size: {memory}
io.tmp.dirs: {folder}/tmp
heartbeat.interval: 2000
heartbeat.timeout: 8000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 10
restart-strategy.fixed-delay.delay: 2 s
"""
LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


def flink_libraries() -> Path:
    """The folder of Flink's jars, `lib` and `bin`."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        succeed([*command, "--no-binary", "apache-flink-libraries", f"apache-flink-libraries=={FLINK}"])
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        (folder / archive.name.removesuffix(".tar.gz") / "deps").rename(folder / "deps")
        archive.unlink()

    return cached(f"flink-{FLINK}", make) / "deps"


def job_server_jar() -> Path:
    """Beam's job server for Flink in one jar, as docs/flink.md has a user make it."""

    def make(folder: Path) -> None:
        succeed(["mvn", "--quiet", "--batch-mode", "--file", POM, f"-Dfolder={folder}/target", "package"])
        (folder / "target/flink-job-server-1.jar").rename(folder / "job-server.jar")
        shutil.rmtree(folder / "target")

    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    return cached(f"flink-job-server-{digest}", make) / "job-server.jar"


class FlinkCluster:
    """One JobManager and the TaskManagers of one slot each that are asked for, and Beam's job server."""

    def __init__(self, servers: Servers):
        for program in ("java", "mvn"):
            if not shutil.which(program):
                pytest.skip(f"needs {program}")
        self.servers, self.folder = servers, servers.folder
        self.libraries = flink_libraries()
        self.rest = free_port()
        config = CONFIG.format(rpc=free_port(), rest=self.rest, memory=TASK_MANAGER_MEMORY, folder=self.folder)
        (self.folder / "config.yaml").write_text(config)
        (self.folder / "log4j.properties").write_text(LOGGING)
        (self.folder / "tmp").mkdir()
        self.boot = boot_script(
            self.folder / "boot.sh",
            # Each worker installs the staged package for itself, over what the tests have installed. That this checkout
            # is installed there as editable does not count: Python reads the .pth files of its own environment only.
            f"""environment="$own/environment"
{sys.executable} -m venv --without-pip "$environment"
echo {site_packages(Path(sys.prefix))} > "{site_packages(Path("$environment"))}/below.pth" """,
        )
        self.task_managers: list[Server] = []
        self.started = 0
        self.job_endpoint = ""
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        manager = self._java("jobmanager", ["-Xmx512m"], entry, ["--executionMode", "cluster"])
        wait_until(self._answers, "the JobManager answers", server=manager)

    @property
    def master(self) -> str:
        """HOST:PORT of the JobManager's REST interface."""
        return f"localhost:{self.rest}"

    def ask(self, path: str) -> Any:
        """What the JobManager's REST interface says."""
        with urllib.request.urlopen(f"http://{self.master}/{path}", timeout=10) as answer:
            return json.load(answer)

    def start_task_manager(self) -> None:
        """Starts one more, and waits until the JobManager knows it."""
        name = f"taskmanager{self.started}"
        self.started += 1
        jvm, dynamic = self._sizes()
        server = self._java(name, jvm, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", dynamic)
        # The number that the JobManager knows does not tell: a lost one counts until its heartbeat is missed.
        registered = "Successful registration at resource manager"
        wait_until(lambda: registered in server.log.read_text(errors="replace"), f"{name} registers", server=server)
        self.task_managers.append(server)

    def lose(self, task_manager: Server) -> list[int]:
        """Kills a TaskManager, and returns the ids of the processes that it had started, which stay behind."""
        self.task_managers.remove(task_manager)
        left_behind = self.servers.descendants(task_manager)
        task_manager.process.kill()
        task_manager.process.wait()
        return left_behind

    def workers(self) -> list[int]:
        """The process ids of the workers, which run Python."""
        return [process for process, command in self.servers.processes().items() if "sdk_worker_main" in command]

    def failures(self) -> list[str]:
        """What failed in jobs, in part or as a whole, whether Flink repaired it or not."""
        jobs = [job["id"] for job in self.ask("jobs")["jobs"]]
        entries = [one for job in jobs for one in self.ask(f"jobs/{job}/exceptions")["exceptionHistory"]["entries"]]
        return [f"{entry['taskName']}: {entry['stacktrace'][:2_000]}" for entry in entries]

    def start_job_server(self) -> None:
        """Starts Beam's job server for this cluster."""
        job, artifact, expansion = free_port(), free_port(), free_port()
        ports = ["--job-port", job, "--artifact-port", artifact, "--expansion-port", expansion]
        where = ["--flink-master", self.master, "--job-host", "localhost", "--artifacts-dir", self.folder / "artifacts"]
        self.servers.start("jobserver", ["java", "-Xmx512m", "-jar", job_server_jar(), *where, *ports], outside(), job)
        self.job_endpoint = f"localhost:{job}"

    @property
    def worker_options(self) -> list[str]:
        """Beam's options for workers that the TaskManagers start."""
        worker = ["--environment_type=PROCESS", "--environment_config=" + json.dumps({"command": str(self.boot)})]
        return [*worker, "--parallelism=2"]

    def _java(self, name: str, jvm: list[str], entry: str, arguments: list[str]) -> Server:
        logging = [f"-Dlog4j.configurationFile={self.folder}/log4j.properties"]
        command = ["java", *jvm, *JAVA_17, *logging, "-cp", f"{self.libraries}/lib/*", entry]
        return self.servers.start(name, [*command, "--configDir", self.folder, *arguments], outside())

    def _sizes(self) -> tuple[list[str], list[str]]:
        """The flags of a TaskManager's JVM, and the options that say the same to Flink, as its script does."""
        (dist,) = (self.libraries / "lib").glob("flink-dist-*.jar")
        main = ["-cp", f"{self.libraries}/bin/bash-java-utils.jar:{dist}"]
        main += ["org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS"]
        printed = succeed(["java", *main, "--configDir", self.folder]).splitlines()
        mark = "BASH_JAVA_UTILS_EXEC_RESULT:"
        jvm, dynamic = (line.removeprefix(mark).split() for line in printed if line.startswith(mark))
        return jvm, dynamic

    def _answers(self) -> bool:
        try:
            return bool(self.ask("overview"))
        except (urllib.error.URLError, OSError):
            return False
