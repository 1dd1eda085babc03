"""How far landing is behind the log, by what the stores say; so also for people, where no lander is at hand."""

from collections.abc import Iterable, Mapping
from typing import Final

from isotherm.eventlog.port import EventLog
from isotherm.events import received_at
from isotherm.land.buffers import PartitionStatus
from isotherm.land.manifest import Manifest

_ASKED: Final = 8
"""Partitions that the log is asked for the age of their oldest record."""


def landed(log: EventLog, manifest: Manifest, identity: str) -> list[PartitionStatus]:
    """Every partition and how far it is landed; `identity` is the log's."""
    heads = log.heads(log.partitions())
    progress = manifest.progress(identity)
    return reached({p: progress[p].next_offset if p in progress else 0 for p in heads}, heads)


def reached(following: Mapping[int, int], heads: Mapping[int, int]) -> list[PartitionStatus]:
    """Every partition with the offset that is wanted next."""
    return [PartitionStatus(p, following[p], head, max(head - following[p], 0)) for p, head in heads.items()]


def oldest_received(log: EventLog, partitions: Iterable[PartitionStatus]) -> int | None:
    """When the oldest record that waits was received (ms); None when none does. Of many partitions, those with the
    longest lag are asked."""
    waiting = sorted((one for one in partitions if one.lag), key=lambda one: -one.lag)
    found = [one for at in waiting[:_ASKED] for one in log.read(at.partition, at.next_offset, max_records=1)]
    return min((received_at(one.value, one.timestamp) for one in found), default=None)
