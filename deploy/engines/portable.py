"""Runs DAGs on engines that Beam reaches by a job server, such as Flink."""

import logging
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from maskmill.deploy.engines.beam_errors import beams_refusals, lacks_job_server, read_worker_error, shorten_error
from maskmill.deploy.engines.jobs import submit
from maskmill.deploy.engines.remote import run_jobs
from maskmill.deploy.engines.source_package import find_setup_file
from maskmill.pipeline.jobs.jobs import Job
from maskmill.pipeline.processes import hold_back_stderr
from maskmill.pipeline.storage.storage import make_folder, remove_folder
from maskmill.tokenizer.errors import EndedError, InputError, first_line

SECONDS_TO_ANSWER = 10
BEAMS_OWN = ("[auto]", "[local]")  # masters of Flink that Beam finds or starts by itself
# Beam's own time for a job server to answer is with some of them the time that the whole job may take.
SECONDS_OF_A_JOB = 30 * 24 * 3600


@dataclass(frozen=True)
class PortableRunner:
    """Submits jobs to a job server of Beam's, or to a cluster of Flink's by the job server that Beam starts for it."""

    name: str
    engine_options: Sequence[str]  # where it is
    folder: str  # that the workers see, too
    beam_options: Sequence[str] = ()
    num_workers = 1
    billing = None

    @property
    def where(self) -> str:
        """The engine in words, such as "job_endpoint localhost:8099"."""
        return self.engine_options[-1].lstrip("-").replace("=", " ")

    def submit(self, job: Job, worker_bytes: int | None = None) -> "PortableJob":
        """As `RemoteRunner.submit`; a job server takes no wish for memory."""
        options = [*self.engine_options, f"--job_server_timeout={SECONDS_OF_A_JOB}", *self.beam_options]
        is_staged = not any(option.startswith(("--environment_type=LOOPBACK", "--setup_file")) for option in options)
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        with find_setup_file() if is_staged else nullcontext(None) as setup_file, self.one_sentence():
            if setup_file:
                options.append(f"--setup_file={setup_file}")
            with beams_refusals():
                return PortableJob(self, submit(job, options))

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs to their end, one after the other."""
        run_jobs(self, jobs)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A hidden folder beside what is written."""
        folder = os.path.join(self.folder, f".maskmill-{uuid.uuid4().hex}")
        make_folder(folder)
        try:
            yield folder
        finally:
            remove_folder(folder)

    def check(self) -> None:
        """Raises InputError when nothing listens there."""
        import grpc  # type: ignore[import-untyped]

        place = self.where.rpartition(" ")[2]
        if place in BEAMS_OWN:
            return
        try:
            host, _, port = place.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
            if self.where.startswith("job_endpoint"):
                grpc.channel_ready_future(grpc.insecure_channel(place)).result(SECONDS_TO_ANSWER)
        except ValueError as error:
            raise InputError(f"{self.where} is not an address", expected="HOST:PORT") from error
        except (OSError, grpc.FutureTimeoutError) as error:
            why = first_line(error) or "something else listens there"
            raise InputError(
                f"{self.where} does not answer ({why})", way_out="start it, or check host and port"
            ) from error

    @contextmanager
    def one_sentence(self, is_quiet: bool = True) -> Iterator[None]:
        """Raises what goes wrong with a job as InputError; `is_quiet` keeps back what libraries say besides."""
        import grpc

        try:
            with hold_back_stderr() if is_quiet else nullcontext():
                yield
        except grpc.RpcError as error:
            raise InputError(
                f"{self.where} no longer answers ({error.code().name})", way_out="look at its log"
            ) from error
        except RuntimeError as error:
            if ours := read_worker_error(str(error)):
                raise ours from None
            if lacks_job_server(error):
                raise InputError(
                    f"cannot download Beam's Flink job server ({first_line(error)})",
                    way_out=(
                        "set your Flink version with -- --flink_version=1.19, or give the jar with -- "
                        "--flink_job_server_jar=FILE (docs/flink.md)"
                    ),
                ) from error
            said = shorten_error(str(error))
            raise EndedError(f"the job failed on {self.where}: {said}", way_out="see its log") from error


@dataclass(frozen=True)
class PortableJob:
    """A job of a job server."""

    runner: PortableRunner
    result: Any  # Beam's PipelineResult

    @property
    def description(self) -> str:
        """The job in words, for messages."""
        return f"the job to {self.runner.where}"

    @property
    def state(self) -> str:
        """Its state as the job server names it."""
        with self.runner.one_sentence(is_quiet=False):  # it is asked for beside the waiting, which keeps stderr back
            return str(self.result.state)

    @property
    def counters(self) -> Mapping[str, int]:
        """None: Beam asks a job server for them once only."""
        return {}

    def wait(self) -> None:
        """Waits for the end of the job. Raises EndedError when it failed."""
        with self.runner.one_sentence():
            self.result.wait_until_finish()

    def leave(self) -> str:
        """Cancels it: its workers may be here, and nobody else waits for it."""
        self.cancel()
        return "The job was cancelled; the same command, without --overwrite, goes on with what is finished."

    def cancel(self) -> None:
        with self.runner.one_sentence():
            self.result.cancel()
