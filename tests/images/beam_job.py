"""A Beam job whose workers are the image's: boot, the staged package, the dependencies that the image holds."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from buildah import Images, stop

ROOT = Path(__file__).resolve().parent.parent.parent
POOL_PORT = 50000  # of boot --worker_pool; no flag changes it


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def wait_for(port: int, process: subprocess.Popen[bytes], what: str) -> None:
    """Waits until somebody listens."""
    for _ in range(600):
        if is_open(port):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    stop(f"{what} does not listen on port {port}")


def run_job(images: Images, container: str) -> None:
    """`maskmill generate` from here, whose workers boot starts in the image: the same bytes as without them.

    boot serves as a worker pool, which is how a Flink cluster on Kubernetes runs the image.
    """
    with tempfile.TemporaryDirectory(dir=images.folder) as folder, ExitStack() as stack:
        jobs, pool = free_port(), POOL_PORT
        if is_open(pool):
            stop(f"port {pool}, which boot --worker_pool listens on, is taken; end what has it")
        log = stack.enter_context(open(images.folder / "job.log", "wb"))

        def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
            stack.callback(end_group, process)
            return process

        server = start(
            [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={jobs}"],
            cwd=folder,
        )
        boot = [*images.entry_point(container), "--worker_pool"]
        workers = start(images.command(container, boot, [f"--volume={folder}:{folder}"]))
        wait_for(jobs, server, "the job service")
        wait_for(pool, workers, "boot in the worker's image")
        text = "".join(f"the cat {n} sat on the mat\nthe dog {n} ran to the park\n\n" for n in range(60))
        Path(folder, "corpus.txt").write_text(text)
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(text.split()))]
        Path(folder, "vocab.txt").write_text("\n".join(words) + "\n")
        command = [sys.executable, "-c", "from maskmill.deploy.cli import main; main(prog_name='maskmill')"]
        here = "corpus.txt", "--vocab-file", "vocab.txt", "--max-seq-length", "32", "--max-predictions-per-seq", "5"
        remote = ["--runner", "portable", "--job-endpoint", f"localhost:{jobs}", "--", "--environment_type=EXTERNAL"]
        # The timeout is that of the whole job, and the staged package takes its time to install on a busy machine.
        remote += [f"--environment_config=localhost:{pool}", "--job_server_timeout=600"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for output, more in (("local", []), ("remote", remote)):
            run = [*command, "generate", *here, "--output", output, *more]
            done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
            if done.returncode:
                print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
                stop(f"the Beam job failed; its workers' log is {log.name}")
        local, remotely = (
            {path.name: path.read_bytes() for path in Path(folder, output).glob("*.tfrecord*")}
            for output in ("local", "remote")
        )
        assert local, "no shards"
        assert local == remotely, "the workers of the image made other bytes than this machine"


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and what it started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()
