"""`doctor`: whether this installation and this machine can do the work."""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING

from maskmill.deploy.doctor.findings import SECONDS, Check, Finding, State, attempt
from maskmill.deploy.engines.memory import STARTER_BYTES, WORKER_BYTES, machine_memory
from maskmill.deploy.terminal.numbers import in_bytes

if TYPE_CHECKING:
    from packaging.requirements import Requirement

HIDDEN_EXTRAS = {"test"}  # for whoever changes maskmill
NOT_INSTALLED, MISSING = ABSENT = "is not installed", "is missing"
LITTLE_DISK = 1_000_000_000


def check_installation() -> Check[None]:
    """Everything that does not depend on the run."""
    yield from attempt("python", check_python())
    yield from attempt("packages", check_packages())
    yield from attempt("extras", check_extras())
    yield from attempt("machine", check_machine())


def check_python() -> Check[None]:
    """The version of Python."""
    from packaging.specifiers import SpecifierSet

    found, needed = platform.python_version(), _of_maskmill()["Requires-Python"] or ""
    if SpecifierSet(needed).contains(found, prereleases=True):
        yield Finding("python", "ok", found)
    else:
        remedy = f"make a virtual environment with Python {needed}, and install maskmill in it"
        yield Finding("python", "wrong", f"{found}; maskmill needs {needed}", remedy)


def check_packages() -> Check[None]:
    """Whether every package that maskmill needs is there in a version that it can use."""
    requirements = _list_requirements("")
    found = []
    for requirement in requirements:
        if problem := find_problem(requirement):
            yield Finding(
                f"package {requirement.name}", "wrong", problem, f"pip install '{_without_marker(requirement)}'"
            )
        else:
            found.append(f"{requirement.name} {metadata.version(requirement.name)}")
    state: State = "ok" if len(found) == len(requirements) else "warning"
    told = ", ".join([f"maskmill {metadata.version('maskmill')}", *found])
    yield Finding("packages", state, told, "" if state == "ok" else "see above")


def check_extras() -> Check[None]:
    """Which of maskmill's extras are there. None of them is needed for `vocab` and `generate`."""
    for extra in _of_maskmill().get_all("Provides-Extra") or ():
        if extra in HIDDEN_EXTRAS:
            continue
        problems = {requirement.name: find_problem(requirement) for requirement in _list_requirements(extra)}
        absent = {name: problem for name, problem in problems.items() if problem and problem.endswith(ABSENT)}
        missing = [name if problem == NOT_INSTALLED else f"{name} ({problem})" for name, problem in absent.items()]
        unfit = [f"{name} {problem}" for name, problem in problems.items() if problem and name not in absent]
        install = f"in maskmill's folder run: pip install '.[{extra}]'"
        if unfit:
            yield Finding(f"extra {extra}", "warning", "; ".join(unfit), install)
        elif missing:
            yield Finding(f"extra {extra}", "ok", f"not installed: {', '.join(missing)}", f"if wanted, {install}")
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def find_problem(requirement: "Requirement") -> str | None:
    """What is the matter with a requirement; None where it is met."""
    from packaging.requirements import Requirement

    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{found} is installed; maskmill needs {requirement.specifier}"
    for extra in sorted(requirement.extras):
        for text in metadata.requires(requirement.name) or ():
            part = Requirement(text)
            if part.marker and part.marker.evaluate({"extra": extra}) and not part.marker.evaluate({"extra": ""}):
                try:
                    metadata.version(part.name)
                except metadata.PackageNotFoundError:
                    return f"{found} is installed without [{extra}]: {part.name} {MISSING}"
    return None


def check_machine() -> Check[None]:
    """What this machine has."""
    processors, memory, free = os.cpu_count() or 1, machine_memory(), shutil.disk_usage(os.curdir).free
    told = f"{processors} processors, {in_bytes(memory)} of memory, {in_bytes(free)} free on the disk of this folder"
    if memory < STARTER_BYTES + WORKER_BYTES:
        least = in_bytes(STARTER_BYTES + WORKER_BYTES)
        yield Finding("machine", "warning", told, f"a run here takes {least} of memory or more; use a larger machine")
    elif free < LITTLE_DISK:
        yield Finding("machine", "warning", told, "make room, or write to another disk")
    else:
        yield Finding("machine", "ok", told)


def check_java() -> Check[None]:
    """Java, which runs the job server that Beam starts for a Flink cluster."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"  # as Beam looks for it
    remedy = "install a Java runtime, and set JAVA_HOME to it; or start a job server elsewhere, and give --job-endpoint"
    if not shutil.which(java):
        yield Finding("java", "wrong", f"{java} is not there; Beam's job server for Flink needs it", remedy)
        return
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("java", "wrong", f"{java} does not run: {error}", remedy)
        return
    version = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    if answer.returncode or not version:
        yield Finding("java", "wrong", f"{java} -version ends with {answer.returncode}, without a version", remedy)
    else:
        yield Finding("java", "ok", f"{version[1]} ({java})")


def check_sources() -> Check[None]:
    """Whether the package of ours that travels to the workers can be built here."""
    from maskmill.deploy.engines.source_package import HOME, find_setup_file

    with find_setup_file():
        version = metadata.version("setuptools")
        yield Finding("code of the workers", "ok", f"built from {HOME} with setuptools {version}")


def check_worker_python() -> Check[None]:
    """Whether Beam has an image of its own for the Python that submits: workers must have the same one."""
    versions = [
        name.rpartition(" ")[2]
        for name in metadata.metadata("apache-beam").get_all("Classifier") or ()
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
    ]
    mine = ".".join(platform.python_version_tuple()[:2])
    told = f"Python {mine}, Beam {metadata.version('apache-beam')}"
    if mine in versions:
        yield Finding("python of the workers", "ok", f"{told}: Beam has an image for it")
    else:
        remedy = f"use Python {', '.join(versions)} here, or give --sdk-container-image"
        yield Finding("python of the workers", "wrong", f"{told}: Beam has no image for it", remedy)


def _of_maskmill() -> metadata.PackageMetadata:
    return metadata.metadata("maskmill")


def _list_requirements(extra: str) -> list["Requirement"]:
    """What an extra needs beside what maskmill needs anyway; that itself where the extra is ""."""
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in metadata.requires("maskmill") or ()]
    core = [each for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    if not extra:
        return core
    return [
        each for each in requirements if each not in core and each.marker and each.marker.evaluate({"extra": extra})
    ]


def _without_marker(requirement: "Requirement") -> str:
    return str(requirement).partition(";")[0].strip()
