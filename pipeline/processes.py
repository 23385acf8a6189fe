"""Worker processes of this machine, forked from a process that has loaded what they need."""

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.util import get_temp_dir
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from maskmill.tokenizer.errors import WorkerLostError

LONGEST_FOLDER = 75  # bytes: the path of a socket has 107 at the most, and Python's names in it have 32
# What a process raises that starts or talks to one that was killed, or to the one that it would be forked from.
LOST = (EOFError, ConnectionError)

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerPool(AbstractContextManager["WorkerPool[Task, Result]"], Generic[Task, Result]):
    """Processes that do one kind of work side by side. All have ended when the context ends.

    Args:
        work: makes a result of a task: a function of a module, or a partial of one, sent to each process once.
        num_workers: the processes at a time; they are started as tasks need them.
        is_renewed: whether each task gets a process of its own, whose end gives the memory back.
    """

    def __init__(self, work: Callable[[Task], Result], num_workers: int, is_renewed: bool = False):
        self.work, self.num_workers, self.is_renewed = work, num_workers, is_renewed
        self._context = fork_server()
        self._idle: list[Connection] = []
        self._processes: dict[Connection, BaseProcess] = {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes.values() if kind else ():
            process.terminate()
        for worker in list(self._processes):
            self._end(worker)

    def map(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """The results, in the order of the tasks. Raises what the first task in this order that failed did raise.

        Raises WorkerLostError as soon as a process is killed.
        """
        outcomes: dict[int, Result | Exception] = {}
        following = 0
        for number, outcome in self._outcomes(tasks):
            outcomes[number] = outcome
            while following in outcomes:
                yield _result_of(outcomes.pop(following))
                following += 1

    def run(self, tasks: Sequence[Task]) -> None:
        """Does tasks that have no results. Raises what the first one raises, WorkerLostError when it is killed."""
        for _, outcome in self._outcomes(tasks):
            _result_of(outcome)

    def _outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception]]:
        """The numbers of the tasks with their results or what they raised, as they come."""
        waiting = deque(enumerate(tasks))
        working: dict[Connection, int] = {}
        done: list[tuple[int, Result | Exception]] = []
        while waiting or working or done:
            while waiting and len(working) < self.num_workers:
                number, task = waiting.popleft()
                working[self._begin(task)] = number
            yield from done
            done = [(working.pop(worker), self._receive(worker)) for worker in _wait_for_any(working)]

    def _begin(self, task: Task) -> Connection:
        try:
            worker = self._idle.pop() if self._idle else self._start()
            worker.send(task)
        except LOST as error:
            raise WorkerLostError from error
        return worker

    def _start(self) -> Connection:
        worker, other_end = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self.work, other_end))
        process.start()
        other_end.close()
        self._processes[worker] = process
        return worker

    def _receive(self, worker: Connection) -> Result | Exception:
        try:
            outcome: Result | Exception = worker.recv()
        except LOST as error:
            raise WorkerLostError from error
        if self.is_renewed:
            self._end(worker)
        else:
            self._idle.append(worker)
        return outcome

    def _end(self, worker: Connection) -> None:
        worker.close()
        self._processes.pop(worker).join()


def _wait_for_any(workers: dict[Connection, int]) -> list[Connection]:
    return cast(list[Connection], wait(list(workers)) if workers else [])


def _result_of(outcome: Result | Exception) -> Result:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _serve(work: Callable[[Any], Any], tasks: Connection) -> None:
    """What a worker process does."""
    begin_worker()
    while True:
        try:
            task = tasks.recv()
        except LOST:
            return
        try:
            outcome = work(task)
        except Exception as error:
            outcome = _portable(error)
        tasks.send(outcome)


def _portable(error: Exception) -> Exception:
    """An error as it can be sent to another process, with its traceback as a note."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of the class of the error
        return RuntimeError(text)
    error.add_note(text)
    return error


def count_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fork_server(preload: Sequence[str] = ()) -> ForkServerContext:
    """What starts worker processes, which find some modules loaded; it gets ready while this process goes on."""
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        before, tempfile.tempdir = tempfile.tempdir, "/tmp"
        get_temp_dir()  # where sockets will be, whatever TMPDIR is
        tempfile.tempdir = before
    # Of a process of Python's own that was killed; it is started anew.
    warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly")
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload(list(preload))
    with hold_back_stderr():  # what goes wrong in a worker is raised by the process that started it
        forkserver.ensure_running()
    return context


def begin_worker() -> None:
    """What a worker process does first: it leaves Ctrl-C to the process that started it, and ends with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the starter ends the others
    threading.Thread(target=_end_with_starter, daemon=True).start()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter
    wait([starter.sentinel])
    os._exit(1)


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Keeps back what libraries write to stderr in processes that are started; what is raised there comes through."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
