"""Load for drills: threads that send batches of one client and never give up, and what they were answered."""

import itertools
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, ClassVar

import httpx


class Sending(ABC):
    """Threads that send batches of one client; each batch is sent with the same id until it gets its 202.

    `acknowledged` and `sent` are batch: screen; `duplicates` batches whose 202 said so; `faults` answers that nobody
    may get; `refusals` what 503s said.
    """

    SENDERS: ClassVar[int] = 3
    AGAIN: ClassVar[float] = 0.15
    """Share of the acknowledged batches that are sent once more, as after a lost answer."""
    RETRY_SECONDS: ClassVar[float] = 0.1
    RECOVERY_SECONDS: ClassVar[float] = 240.0
    """Long enough for a busy machine; what it took is printed."""

    def __init__(self, client_id: str, *, events: int, pause: float, headers: dict[str, str] | None = None) -> None:
        self.client_id = client_id
        self.events = events
        self.pause = pause
        self.headers = headers or {}
        self.sent: dict[str, str] = {}
        self.acknowledged: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.faults: list[str] = []
        self.duplicates = 0
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), name=f"sender {n}") for n in range(self.SENDERS)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    @abstractmethod
    def address(self) -> str:
        """Where the collector is at the moment."""

    @abstractmethod
    def content(self, count: int, chance: random.Random) -> dict[str, Any]:
        """The batch of this number of one sender, `screen_id` and `events` at least, without client and id."""

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(timeout=40, headers=self.headers) as client:
            for count in itertools.count():
                named = {"client_id": self.client_id, "batch_id": f"{self.client_id}-{number}-{count}"}
                body = named | self.content(count, chance)
                self._deliver(client, body)
                if chance.random() < self.AGAIN:
                    self._deliver(client, body)
                if self._ending.wait(self.pause):
                    return

    def _deliver(self, client: httpx.Client, body: dict[str, Any]) -> None:
        self.sent[body["batch_id"]] = body["screen_id"]
        while not self._giving_up.is_set():
            try:
                answer = client.post(f"{self.address()}/events/batch", json=body)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    self._note(body, answer.json())
                    return
                if answer.status_code == 503 and "retry-after" in answer.headers:
                    self.refusals[answer.json()["detail"]] += 1
                else:
                    self.faults.append(f"{answer.status_code}: {answer.text[:300]}")
            self._giving_up.wait(self.RETRY_SECONDS)

    def _note(self, body: dict[str, Any], said: dict[str, Any]) -> None:
        if sorted((said["accepted"], said["duplicate"], said["rejected"])) != [0, 0, self.events] or said["rejected"]:
            self.faults.append(f"not a whole batch: {said}")
        self.duplicates += said["duplicate"] == self.events
        self.acknowledged[body["batch_id"]] = body["screen_id"]

    def count(self, screen: str) -> int:
        """Batches of this screen that were acknowledged up to now."""
        return list(self.acknowledged.values()).count(screen)

    def end(self, *, give_up: bool = False) -> None:
        """Return when every batch that was begun is acknowledged, or at once those that are not are given up."""
        self._ending.set()
        if give_up:
            self._giving_up.set()
        for thread in self._threads:
            thread.join(self.RECOVERY_SECONDS)
        alive = any(thread.is_alive() for thread in self._threads)
        self._giving_up.set()
        assert not alive, f"no 202 for some batches: {self.answers} {self.refusals}"
