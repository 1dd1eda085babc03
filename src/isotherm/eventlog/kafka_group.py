"""Who reads which partitions: membership in a consumer group that gives out partitions and does nothing else."""

from collections.abc import Mapping, Sequence
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, Final

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from isotherm.eventlog.kafka_client import Target, make, unavailable

SESSION_MS: Final = 10_000
"""A member that is not heard of for so long loses its partitions to others."""
IDLE_S: Final = 300.0
"""A member that does not ask for its partitions for so long is stuck: it leaves, others take over."""
FIRST_S: Final = 10.0
"""How long the first assignment may take."""
_POLL_S: Final = 0.1
_COMMIT_AGAIN_S: Final = 1.0


class Member:
    """One process's place in the group of a consumer. A thread keeps it alive while `partitions` is asked."""

    def __init__(self, target: Target, consumer: str) -> None:
        self._target = target
        self._group = target.group(consumer)
        self._changed = Condition()
        self._partitions: frozenset[int] | None = None
        self._said = "no answer"
        self._asked = monotonic()
        self._stop = Event()
        self._commits: dict[int, int] = {}
        self._commit_from = 0.0
        self._client = make(Consumer, self._options())
        self._thread = Thread(target=self._run, name=f"isotherm-{consumer}-group", daemon=True)
        self._thread.start()

    def _options(self) -> dict[str, Any]:
        options = self._target.client(
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 4,
            partition_assignment_strategy="cooperative-sticky",
            topic_metadata_refresh_interval_ms=10_000,
            fetch_message_max_bytes=1 << 10,
            queued_max_messages_kbytes=1 << 10,
        )
        own = {
            "group.id": self._group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "on_commit": self._committed,
        }
        return options | own | {"auto.offset.reset": "latest"}

    def partitions(self) -> Sequence[int]:
        """What this process should read now, in order. Raises Backpressure while the group does not say."""
        self._asked = monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._partitions is not None or not self.alive(), FIRST_S)
            if self._partitions is None:
                raise unavailable(self._target, f"admit a member to group {self._group}", self._said)
            return sorted(self._partitions)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def commit(self, partition: int, offset: int) -> None:
        """Have the group remember the offset, soon. Only a member may do that while the group has members."""
        with self._changed:
            self._commits[partition] = offset

    def close(self) -> None:
        """Leave the group, so that others need not wait for the session's end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client = self._client
        try:
            client.subscribe(
                [self._target.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
            while not self._stop.is_set() and monotonic() - self._asked < IDLE_S:
                self._commit_now()
                message = client.poll(_POLL_S)
                error = message.error() if message is not None else None
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    self._said = error.str()
        except KafkaException as error:
            self._said = str(error)
        finally:
            self._commit_now()
            client.close()
            with self._changed:
                self._partitions = None
                self._changed.notify_all()

    def _commit_now(self) -> None:
        """Calls of one client go one at a time, so it is this thread that commits. What is refused, as while a group
        changes hands, is tried again: the lag that is shown hangs on it."""
        with self._changed:
            if monotonic() < self._commit_from:
                return
            commits, self._commits = self._commits, {}
        if commits:
            wanted = [TopicPartition(self._target.topic, p, offset) for p, offset in commits.items()]
            try:
                self._client.commit(offsets=wanted, asynchronous=True)
            except KafkaException:
                self._again(commits)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What became of a commit; called by `poll`."""
        self._again({p.partition: p.offset for p in partitions if error is not None or p.error is not None})

    def _again(self, refused: Mapping[int, int]) -> None:
        """Commit later what is still this member's: whoever has the others now says how far they are."""
        with self._changed:
            mine = {p: offset for p, offset in refused.items() if p in (self._partitions or ())}
            if mine:
                # What was asked for since then stands.
                self._commits = mine | self._commits
                self._commit_from = monotonic() + _COMMIT_AGAIN_S

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Take them, and fetch nothing: reading is another client's."""
        taken = [TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions]
        client.incremental_assign(taken)
        client.pause(taken)
        self._set((self._partitions or frozenset()) | {p.partition for p in partitions})

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        client.incremental_unassign(partitions)
        self._set((self._partitions or frozenset()) - {p.partition for p in partitions})

    def _set(self, partitions: frozenset[int]) -> None:
        with self._changed:
            self._partitions = partitions
            self._changed.notify_all()
