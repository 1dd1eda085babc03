"""Threads of a process: one that fails, however it does, takes the process down."""

import threading

import pytest
import structlog

from isotherm.cli.roles import Workers


class Panic(BaseException):
    """As a library written in Rust raises it."""


@pytest.mark.parametrize("error", [ValueError("no"), Panic("no")])
def test_a_thread_that_fails_takes_the_process_down(error: BaseException) -> None:
    failed = threading.Event()
    workers = Workers(structlog.get_logger(), failed.set)

    def run(_: threading.Event) -> None:
        raise error

    workers.start("bad", run)
    workers.start("good", lambda stop: stop.wait() and None)
    assert failed.wait(30)
    assert workers.broken
    assert workers.join()


def test_a_thread_that_ends_is_no_failure() -> None:
    workers = Workers(structlog.get_logger(), lambda: pytest.fail("nothing failed"))
    workers.start("short", lambda _: None)
    assert workers.join()
    assert not workers.broken
