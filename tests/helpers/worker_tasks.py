"""Work for worker processes, which find it by the name of this module."""

import os
import signal
import time

from maskmill.tokenizer.errors import InputError


def work_on(task: int) -> tuple[int, int]:
    """The task and the process; small ones take longest, 13 fails and 99 is killed."""
    time.sleep(0.1 if task == 1 else 0)
    if task == 13:
        raise InputError("fails", path="task")
    if task == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return task, os.getpid()


class PeculiarError(Exception):
    """One that does not come through a pipe."""

    def __init__(self, number, color):
        super().__init__(f"{number} {color}")


def fail(task: int) -> None:
    raise PeculiarError(task, "red") if task else MemoryError
