"""A thread makes items before they are asked for: no others, not too many, and it never outlives its use."""

import subprocess
import sys
import threading

import pytest

from maskmill.model.training.prefetch import make_ahead
from maskmill.tokenizer.errors import InputError

SECONDS = 300  # after which a test fails instead of waiting


class Counting:
    """Numbers for ever; tells how many were made, and when it was closed."""

    def __init__(self):
        self.made = threading.Semaphore(0)
        self.count = 0
        self.closed = threading.Event()
        self.threads: set[threading.Thread] = set()

    def numbers(self):
        try:
            while True:
                self.threads.add(threading.current_thread())
                self.count += 1
                self.made.release()
                yield self.count
        finally:
            self.closed.set()

    def wait_for(self, count):
        for _ in range(count):
            assert self.made.acquire(timeout=SECONDS)

    def assert_ended(self):
        assert self.closed.wait(SECONDS)
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_items_come_in_their_order_and_end():
    assert list(make_ahead((n for n in range(100)), 3)) == list(range(100))
    assert list(make_ahead((n for n in ()), 3)) == []


def test_so_many_are_made_before_they_are_asked_for_and_no_more():
    source = Counting()
    ahead = make_ahead(source.numbers(), 3)
    assert next(ahead) == 1
    source.wait_for(4)
    assert next(ahead) == 2
    source.wait_for(1)
    assert source.count == 5
    ahead.close()
    source.assert_ended()
    assert source.count == 5


def test_it_works_in_a_thread_of_its_own():
    source = Counting()
    next(make_ahead(source.numbers(), 1))
    assert threading.current_thread() not in source.threads


def test_an_error_comes_out_after_what_was_made_before_it():
    def numbers():
        yield 1
        raise InputError("damaged")

    ahead = make_ahead(numbers(), 8)
    assert next(ahead) == 1
    with pytest.raises(InputError, match="damaged"):
        next(ahead)


def test_one_that_nothing_refers_to_ends_too():
    source = Counting()
    ahead = make_ahead(source.numbers(), 3)
    next(ahead)
    del ahead
    source.assert_ended()


def test_one_within_another_ends_with_it():
    source = Counting()
    inner = make_ahead(source.numbers(), 2)
    outer = make_ahead((n for n in inner), 2)
    del inner
    next(outer)
    outer.close()
    source.assert_ended()


def test_a_process_does_not_wait_for_it():
    code = """
import threading
from maskmill.model.training.prefetch import make_ahead

def numbers():
    yield 1
    threading.Event().wait()

print(next(make_ahead(numbers(), 2)))
kept = make_ahead(numbers(), 2)
print(next(kept))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n1\n", "")
