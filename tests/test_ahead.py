"""Work that goes on in a process of its own gives what it would have given here."""

import multiprocessing
import os
import threading
from functools import partial

import pytest

from assess import ahead as module
from assess.ahead import Helper, ahead


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """A worker of the test runner has a thread of its own, which a fork can do without."""
    others = threading.active_count() - 1
    counted = threading.active_count
    monkeypatch.setattr(threading, "active_count", lambda: counted() - others)


def test_the_result_comes_from_another_process_and_stays_the_same():
    result = ahead(lambda: (os.getpid(), os.urandom(8)))
    assert result() == result()
    if module._can_fork():
        assert result()[0] != os.getpid()


def test_work_that_fails_there_fails_where_it_is_called_for():
    result = ahead(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        result()


def test_a_process_that_dies_or_cannot_answer_is_replaced():
    here = os.getpid()
    assert ahead(lambda: "done" if os.getpid() == here else os._exit(1))() == "done"
    unsendable = ahead(threading.Lock)
    assert unsendable() is unsendable()


def test_without_a_second_process_the_work_is_done_when_called_for():
    stop, done = threading.Event(), []
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        result = ahead(lambda: done.append(1) or os.getpid())
        assert done == []
        assert (result(), result(), done) == (os.getpid(), os.getpid(), [1])
    finally:
        stop.set()
        other.join()


def test_a_process_within_a_process_starts_no_third():
    assert not (module._can_fork() and ahead(module._can_fork)())


def test_a_process_that_nobody_asks_ends():
    others = set(multiprocessing.active_children())
    result = ahead(
        lambda: b"x" * 1_000_000
    )  # more than a pipe holds: it waits for a reader
    helpers = set(multiprocessing.active_children()) - others
    del result
    for helper in helpers:
        helper.join(60)
    assert not helpers & set(multiprocessing.active_children())


def test_a_helper_does_one_piece_after_another_however_large():
    helper = Helper(int)
    size = 5_000_000  # more than a pipe holds, both ways
    first = helper.ahead(partial(bytes.__add__, b"x" * size, b"y"))
    second = helper.ahead(partial(bytes.__add__, b"x" * size, b"z"))
    assert (second()[-1:], first()[-1:], len(first())) == (b"z", b"y", size + 1)


def test_what_a_helper_cannot_take_or_finish_is_done_here():
    helper = Helper(int)
    lock = threading.Lock()
    assert helper.ahead(lambda: lock)() is lock
    assert helper.ahead(os.getpid)() == os.getpid()
    ended = Helper(int)
    answer = ended.ahead(partial(sum, (1, 2)))
    ended.close()
    assert answer() == 3
