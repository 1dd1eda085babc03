"""Servers that work together, started and stopped as one."""

from collections.abc import Sequence
from typing import Self

from services.server import Server


class Cluster:
    """Several servers in the order in which they start; the first is the one that clients ask."""

    def __init__(self, *parts: Server) -> None:
        self.parts: Sequence[Server] = parts

    @property
    def pid(self) -> int:
        """Process id of the first server."""
        return self.parts[0].pid

    def start(self) -> Self:
        """Start those that do not run, one after the other; returns when `ready`."""
        try:
            for part in self.parts:
                if not part.runs():
                    part.start()
            self.ready()
        except BaseException:
            self.kill9()
            raise
        return self

    def ready(self) -> None:
        """Wait until the servers know each other; Failed when they do not find each other."""

    def runs(self) -> bool:
        """Whether all of them live."""
        return all(part.runs() for part in self.parts)

    def halt(self) -> None:
        """End all, the last first; folders and ports stay, for `start`."""
        for part in reversed(self.parts):
            part.halt()

    def kill9(self) -> None:
        """SIGKILL to all; `start` goes on with the same data."""
        for part in self.parts:
            part.kill9()

    def restart(self) -> Self:
        """Halt all and start them on the same ports and data."""
        self.halt()
        return self.start()

    def cut(self) -> None:
        """SIGSTOP to all: connections stay open and nothing answers."""
        for part in self.parts:
            part.cut()

    def resume(self) -> None:
        """SIGCONT to all, after `cut`."""
        for part in self.parts:
            part.resume()

    def stop(self) -> None:
        """End all and remove their folders."""
        for part in reversed(self.parts):
            part.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
