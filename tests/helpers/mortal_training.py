"""`maskmill train` in real processes, which end themselves at given points: for test_resume.

As a program: takes runs as JSON, forks a process for each, one after the other, and prints how they ended as JSON. So
what takes longest, the import of Keras, is done once; nothing is computed before the fork.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Run:
    """A command, and where a signal comes to it.

    `at` is `in step` (as it is computed), `writing` (when half of a checkpoint is written), `saved` (after it),
    `evaluating` (before the first batch), `best` (when that is written, and not yet logged) or `after` some `seconds`.
    """

    arguments: list[str]
    at: str = ""
    step: int = 0
    seconds: float = 0.0
    signal: int = signal.SIGKILL


@dataclass(frozen=True)
class End:
    """The status of a process, negative for a signal, and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run_all(backend: str, *runs: Run, until_done: bool = False) -> list[End]:
    """Runs commands one after the other; `until_done` skips those that are left when one has ended well."""
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("KERAS_BACKEND", None)
    with TemporaryDirectory() as folder:
        request = json.dumps([backend, folder, until_done, [asdict(run) for run in runs]])
        result = subprocess.run([sys.executable, __file__, request], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [End(**end) for end in json.loads(result.stdout.splitlines()[-1])]


def _main(backend: str, folder: str, until_done: bool, runs: list[dict]) -> None:
    from maskmill.deploy.terminal.backend import choose_backend

    choose_backend(backend)
    import maskmill.model.pretraining.train  # noqa: F401

    ends: list[End] = []
    for fields in runs:
        if until_done and ends and ends[-1].status == 0:
            break
        run = Run(**fields)
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        if not (child := os.fork()):
            for number, path in enumerate(outputs, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            _train([*run.arguments, "--backend", backend], run)
        _, status = os.waitpid(child, 0)
        ends.append(End(os.waitstatus_to_exitcode(status), *(path.read_text() for path in outputs)))
    print(json.dumps([asdict(end) for end in ends]))


def _train(arguments: list[str], run: Run) -> None:
    import maskmill.model.pretraining.train
    import maskmill.model.training.checkpoint
    from maskmill.deploy.cli import main
    from maskmill.pipeline.storage.storage import create_file

    def come() -> None:
        os.kill(os.getpid(), run.signal)

    real = {
        name: getattr(maskmill.model.pretraining.train, name)
        for name in ("train_step", "save_checkpoint", "save_best", "evaluate_split")
    }
    write_bytes = maskmill.model.training.checkpoint.write_bytes
    current = 0

    def train_step(net, optimizer, *rest):
        step = real["train_step"](net, optimizer, *rest)

        def mortal_step(features):
            nonlocal current
            current = current + 1 if current else int(optimizer.global_step.value) + 1
            if run.at == "in step" and run.step == current:
                threading.Timer(run.seconds, come).start()
            losses = step(features)
            float(losses["loss"])
            return losses

        return mortal_step

    def write_half(path, data):
        if run.at == "writing" and path.name == f"checkpoint-{run.step}.safetensors":
            with create_file(path) as file:
                file.write(data[: len(data) // 2])
                file.flush()
                come()
        write_bytes(path, data)

    def save_checkpoint(folder, step, *rest):
        real["save_checkpoint"](folder, step, *rest)
        if run.at == "saved" and run.step == step:
            come()

    def save_best(folder, weights, step, loss):
        real["save_best"](folder, weights, step, loss)
        if run.at == "best" and run.step <= step:
            come()

    def evaluate_split(*arguments):
        if run.at == "evaluating" and current in (0, run.step):  # 0: that of the run before, made up for
            come()
        return real["evaluate_split"](*arguments)

    maskmill.model.training.checkpoint.write_bytes = write_half
    for wrapper in (train_step, save_checkpoint, save_best, evaluate_split):
        setattr(maskmill.model.pretraining.train, wrapper.__name__, wrapper)
    if run.at == "after":
        threading.Timer(run.seconds, come).start()
    main(arguments)  # ends the process


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))
