"""`doctor`: whether an engine that Beam reaches by a job server answers."""

import re
import socket
from collections.abc import Sequence
from importlib.metadata import distribution
from typing import Any
from urllib.parse import urlsplit

from maskmill.deploy.doctor.findings import SECONDS, Check, Finding, attempt
from maskmill.deploy.doctor.installation import check_java, check_sources, check_worker_python
from maskmill.deploy.doctor.request import Request
from maskmill.deploy.terminal.numbers import count
from maskmill.pipeline.storage.storage import is_remote
from maskmill.tokenizer.errors import first_line

BY_ITSELF = ("[local]", "[auto]")  # Flink masters that Beam starts


def check_engine(request: Request) -> Check[None]:
    """Everything about an engine of `--runner portable` or `--runner flink`."""
    given, name = request.engine.given, request.engine.runner
    if endpoint := given.get("job_endpoint"):
        yield from attempt("job server", check_job_server(endpoint))
    elif master := given.get("flink_master"):
        yield from attempt("java", check_java())
        yield from attempt("flink", check_flink(master, request.beam_options))
    else:
        remedy = f"give --job-endpoint HOST:PORT{' or --flink-master HOST:PORT' if name == 'flink' else ''}"
        yield Finding("options", "wrong", f"--runner {name} is not told where the engine is", remedy)
    types = [option.partition("=")[2] for option in request.beam_options if option.startswith("--environment_type=")]
    environment = types[-1] if types else "DOCKER"
    if environment == "LOOPBACK":
        return  # the workers are processes of this machine: they have its code and see its files
    if not any(option.startswith("--setup_file") for option in request.beam_options):
        yield from attempt("code of the workers", check_sources())
    if environment == "DOCKER":
        yield from attempt("python of the workers", check_worker_python())
    yield from check_shared_names(request, environment)


def check_job_server(endpoint: str) -> Check[None]:
    """Whether something listens where the job server should be."""
    address = _parse_address(endpoint)
    remedy = "start the job server, or check host and port"
    if not address:
        yield Finding("job server", "wrong", f"{endpoint} is no address", "give --job-endpoint HOST:PORT")
    elif problem := find_silence(*address):
        yield Finding("job server", "wrong", f"{endpoint} does not answer ({problem})", remedy)
    else:
        yield Finding("job server", "ok", f"{endpoint} answers")


def check_flink(master: str, beam_options: Sequence[str] = ()) -> Check[None]:
    """Whether a Flink cluster answers, which version it is, and whether it has room."""
    if master in BY_ITSELF:
        yield Finding("flink", "ok", f"{master}: Beam starts a cluster on this machine")
        return
    address = _parse_address(master)
    if not address:
        yield Finding("flink", "wrong", f"{master} is no address", "give --flink-master HOST:PORT")
        return
    url = f"{master.rstrip('/') if '://' in master else f'http://{master}'}/overview"
    if problem := find_silence(*address):
        remedy = (
            "start the cluster, or check host and port; it is that of its REST interface, 8081 where it was not set"
        )
        yield Finding("flink", "wrong", f"{master} does not answer ({problem})", remedy)
        return
    overview = _get_json(url)
    if "flink-version" not in overview:
        remedy = "give the port of the cluster's REST interface, 8081 where it was not set"
        yield Finding("flink", "wrong", f"{master} answers, but not as Flink does at {url}", remedy)
        return
    version, slots, free = (overview.get(name, 0) for name in ("flink-version", "slots-total", "slots-available"))
    told = f"Flink {version} at {master}, {free} of {count(int(slots), 'slot')} free"
    if not slots:
        yield Finding("flink", "wrong", told, "start task managers: without a slot a job waits and nothing runs it")
    elif not free:
        yield Finding("flink", "warning", told, "wait for the jobs that run there, or cancel them")
    else:
        yield Finding("flink", "ok", told)
    yield from check_flink_version(str(version), beam_options)


def check_flink_version(version: str, beam_options: Sequence[str]) -> Check[None]:
    """Whether the job server that Beam starts is made for the version of the cluster."""
    made_for = list_flink_versions()
    given = [option.partition("=")[2] for option in beam_options if option.startswith("--flink_version=")]
    chosen = given[-1] if given else made_for[-1] if made_for else None
    cluster = ".".join(version.split(".")[:2])
    has_own_jar = any(option.startswith("--flink_job_server_jar") for option in beam_options)
    if chosen is None or chosen == cluster or has_own_jar:
        return
    if cluster in made_for:
        found = f"the cluster is {cluster}, Beam's job server is for {chosen}"
        yield Finding("flink version", "wrong", found, f"give after the INPUT: -- --flink_version={cluster}")
    else:
        found = f"the cluster is {cluster}; this Beam is made for {', '.join(made_for)}"
        yield Finding("flink version", "wrong", found, "use a cluster of one of these versions, or another Beam")


def list_flink_versions() -> list[str]:
    """The versions of Flink that the installed Beam has job servers for, its own choice last; none where not told.

    Read from its source: to import it takes seconds.
    """
    source = distribution("apache-beam").locate_file("apache_beam/options/pipeline_options.py")
    try:
        with open(str(source), encoding="utf-8") as file:
            found = re.search(r"PUBLISHED_FLINK_VERSIONS = \[(.*?)\]", file.read(), re.DOTALL)
    except OSError:
        return []
    return re.findall(r"'([\d.]+)'", found[1]) if found else []


def check_shared_names(request: Request, environment: str) -> Check[None]:
    """Reminds of what cannot be looked at from here: whether workers see the files of this machine."""
    names = [name for name in (*request.inputs, request.output) if name and not is_remote(name)]
    if names:
        found = f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} is a name on this machine"
        remedy = "see to it that all workers see the same files under the same names (a shared disk), or use gs://"
        if environment == "DOCKER":  # Beam's default
            found += "; workers in containers see no folder of their machine"
            remedy = "use gs://, or have workers run without containers: --environment_type"
        yield Finding("shared files", "warning", found, remedy)


def find_silence(host: str, port: int) -> str | None:
    """Why nothing answers at an address; None where something does."""
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        return error.strerror or first_line(error) or type(error).__name__
    return None


def _parse_address(text: str) -> tuple[str, int] | None:
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        return (parts.hostname, parts.port) if parts.hostname and parts.port else None
    except ValueError:  # a port that is no number
        return None


def _get_json(url: str) -> dict[str, Any]:
    """The object that a URL answers with; an empty one where it does not."""
    import requests

    with requests.Session() as session:
        session.trust_env = False  # the job server does not take this machine's proxy either
        try:
            answer = session.get(url, timeout=SECONDS).json()
        except (requests.RequestException, ValueError):
            return {}
    return answer if isinstance(answer, dict) else {}
