"""No search for cycles inside, and as before outside, also with several threads."""

import gc
from threading import Barrier, Thread

import pytest

from isotherm.land.calm import no_cycles


def test_the_search_is_off_inside_and_on_again_after_an_error() -> None:
    inside: list[bool] = []

    def fail() -> None:
        with no_cycles:
            inside.append(gc.isenabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [False]
    assert gc.isenabled()


def test_the_last_thread_turns_it_on_again() -> None:
    inside, leave = Barrier(3), Barrier(2)

    def work() -> None:
        with no_cycles:
            inside.wait(10)
            leave.wait(10)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert not gc.isenabled()
    for thread in threads:
        thread.join(10)
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with no_cycles, no_cycles:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
