"""Looking after backups: read everything again and compare, and remove what is old."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from isotherm.backup.flow import at_once
from isotherm.backup.inventory import Damaged, Entry, Inventory, Named, object_path
from isotherm.backup.target import Target
from isotherm.backup.work import removing
from isotherm.clock import HOUR_MS, Clock, iso
from isotherm.errors import IsothermError

READ_AT_ONCE: Final = 4
AHEAD_MS: Final = HOUR_MS
"""Clocks of those who back up to one place may differ by so much."""


@dataclass
class Checkup:
    """What `verify` found: objects and bytes that were read, and what is wrong, one sentence each."""

    backups: int = 0
    objects: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Pruned:
    """What `prune` removed."""

    backups: int
    objects: int
    bytes: int


def verify(target: Target, chosen: Sequence[Named], tell: Callable[[int, int, int], object] | None = None) -> Checkup:
    """Read every object of these backups and compare it with its hash; `tell(done, total, bytes)` says how far it is.

    Objects that several backups share are read once. A backup that is pruned meanwhile is no problem.
    """
    found = Checkup()
    wanted: dict[str, Entry] = {}
    unread: dict[Named, str] = {}
    bad: dict[str, str] = {}
    for one in chosen:
        try:
            wanted |= {entry.sha256: entry for entry in _everything(target, target.inventory(one), wanted)}
            found.backups += 1
        except Damaged as error:
            unread[one] = str(error)
    for entry, problem in at_once(lambda entry: _looked_at(target, entry), list(wanted.values()), READ_AT_ONCE):
        found.objects += 1
        found.bytes += entry.bytes
        if problem:
            bad[entry.sha256] = problem
        if tell is not None:
            tell(found.objects, len(wanted), found.bytes)
    if unread or bad:
        found.problems += _still(target, chosen, unread, bad)
    return found


def _still(target: Target, chosen: Sequence[Named], unread: Mapping[Named, str], bad: Mapping[str, str]) -> list[str]:
    """The problems that are left when those of backups are gone that were pruned in the meantime."""
    there = set(target.inventories())
    problems = [problem for one, problem in unread.items() if one in there]
    if there.issuperset(chosen):
        return [*problems, *bad.values()]
    needed: set[str] = set()
    for one in chosen:
        if one in there and one not in unread:
            try:
                needed |= {entry.sha256 for entry in _everything(target, target.inventory(one), needed)}
            except Damaged:
                # A list of it is among the bad, and what else it needs cannot be told.
                return [*problems, *bad.values()]
    return [*problems, *(problem for sha256, problem in bad.items() if sha256 in needed)]


def _looked_at(target: Target, entry: Entry) -> tuple[Entry, str]:
    try:
        target.check(entry)
    except Damaged as error:
        return entry, str(error)
    return entry, ""


def ahead(found: Sequence[Named], now_ms: int) -> str:
    """What is wrong with the time of the newest of these backups; empty when nothing is."""
    if not found or found[0].started_at <= now_ms + AHEAD_MS:
        return ""
    newest = found[0]
    return (
        f"backup {newest.id} says that it began at {iso(newest.started_at)}, which is in the future, so it stays the "
        f"newest for a restore without --at. If the clock was wrong then, remove {newest.path} from the place"
    )


def prune(target: Target, keep: int, clock: Clock) -> Pruned:
    """Remove all but the newest `keep` backups, and every object that none of those names.

    Raises Busy while a backup is being taken, IsothermError when the newest says it began in the future: it may be the
    oldest. Raises Damaged when one of those kept cannot be read: without its lists nobody knows what it needs.
    """
    if keep < 1:
        raise ValueError(f"at least one backup is kept, not {keep}")
    with removing(target, clock):
        found = target.inventories()
        if wrong := ahead(found, clock.now_ms()):
            raise IsothermError(f"no backup is removed: {wrong}")
        needed: set[str] = set()
        for one in found[:keep]:
            needed |= {entry.sha256 for entry in _everything(target, target.inventory(one), needed)}
        # Inventories first: one whose objects are gone would be a backup that cannot be restored.
        backups = target.remove(one.path for one in found[keep:])
        unneeded = {sha256: size for sha256, size in target.sizes().items() if sha256 not in needed}
        objects = target.remove(object_path(sha256) for sha256 in unneeded)
    return Pruned(backups, objects, sum(unneeded.values()))


def _everything(target: Target, inventory: Inventory, known: Container[str]) -> Iterator[Entry]:
    """The lists of a backup, and what they name; lists that are known say nothing new and are not read again."""
    fresh = [one for one in inventory.lists if one.sha256 not in known]
    yield from fresh
    yield from target.entries(replace(inventory, lists=fresh))
