"""First on PYTHONPATH, this makes the real program kill itself at a named step: the one in the file DRILL_STEP_FILE.

Python imports a module of this name when it starts, so every process of `isotherm up` has it. The first one that comes
to the step renames the file to `struck` and ends by SIGKILL; its successor finds no file and goes on.
"""

import importlib
import os
import signal
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

FILE = Path(os.environ["DRILL_STEP_FILE"])


def reached(step: str) -> None:
    """End this process if this is the step."""
    try:
        if FILE.read_text() != step:
            return
        FILE.rename(FILE.with_name("struck"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def at(stage: str, name: str) -> None:
    reached(f"{stage}.{name}")


def before(owner: Any, name: str, step: str) -> None:
    """Come to the step before each call."""
    whole: Callable[..., Any] = getattr(owner, name)

    @wraps(whole)
    def called(*arguments: Any, **named: Any) -> Any:
        reached(step)
        return whole(*arguments, **named)

    setattr(owner, name, called)


def after(owner: Any, name: str, step: str) -> None:
    """Come to the step after each call."""
    whole: Callable[..., Any] = getattr(owner, name)

    @wraps(whole)
    def called(*arguments: Any, **named: Any) -> Any:
        result = whole(*arguments, **named)
        reached(step)
        return result

    setattr(owner, name, called)


def checkpoint(owner: Any, stage: str) -> None:
    """Have the objects of this class come to `stage.name` at each checkpoint."""
    made: Callable[..., None] = owner.__init__

    @wraps(made)
    def initialised(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self._checkpoint = partial(at, stage)

    owner.__init__ = initialised


def collector() -> None:
    app: Any = importlib.import_module("isotherm.collect.app")

    def stepping(name: str, step: Callable[..., None]) -> tuple[str, Callable[..., None]]:
        def stepped(*arguments: Any) -> None:
            reached(f"collect.{name}")
            step(*arguments)

        return name, stepped

    app.STEPS = tuple(stepping(name, step) for name, step in app.STEPS)
    before(app.Collector, "_append", "collect.append")
    before(app.answer, "accepted", "collect.answer")


def log() -> None:
    """Frames put but not committed; committed but not told; a full segment marked; the next one made but not named."""
    segment = importlib.import_module("isotherm.eventlog.segment")
    before(segment, "build_segment", "log.began")
    after(segment, "build_segment", "log.built")
    writer = importlib.import_module("isotherm.eventlog.writer")
    after(writer.Writer, "_put", "log.put")
    before(writer.Writer, "_done", "log.committed")
    after(segment.SegmentFile, "mark_sealed", "log.sealed")


def jobs() -> None:
    checkpoint(importlib.import_module("isotherm.land.lander").Lander, "land")
    checkpoint(importlib.import_module("isotherm.rollup.jobs").Jobs, "tile")


log()
collector()
jobs()
