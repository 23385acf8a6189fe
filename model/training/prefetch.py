"""Items made by a thread of their own before they are asked for."""

import threading
from collections.abc import Generator
from contextlib import closing
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def make_ahead(items: Generator[T, None, None], size: int) -> Generator[T, None, None]:
    """The same items, of which a thread makes up to `size` before they are asked for.

    The thread begins when the first is asked for; what it raises is raised here. When this is closed, or nothing refers
    to it any more, the thread closes `items` as soon as it has made the one that it is at. No process waits for it.
    """
    room = threading.Semaphore(size)
    is_closed = threading.Event()
    made: SimpleQueue[tuple[T] | BaseException] = SimpleQueue()

    def make() -> None:
        with closing(items):
            try:
                while room.acquire() and not is_closed.is_set():
                    made.put((next(items),))
            except BaseException as error:  # also StopIteration; it is for whoever asks
                made.put(error)

    threading.Thread(target=make, name="make_ahead", daemon=True).start()
    try:
        while True:
            got = made.get()
            if isinstance(got, StopIteration):
                return
            if isinstance(got, BaseException):
                raise got
            room.release()
            yield got[0]
    finally:
        is_closed.set()
        room.release()
