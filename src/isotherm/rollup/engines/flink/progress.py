"""How far the job is, from the offsets that it commits with every checkpoint."""

from typing import Final, NamedTuple

from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog
from isotherm.events import received_at
from isotherm.rollup.engines.flink.sql import NAME

_READ_BYTES: Final = 1 << 20


class Progress(NamedTuple):
    """Records of the log that are not in a checkpoint, None when that is not known; and how old (ms) the oldest is."""

    lag: int | None
    behind_ms: int


UNKNOWN: Final = Progress(None, 0)


def progress(log: EventLog, now_ms: int) -> Progress:
    """Asks the brokers, a few questions. The age is that of the partition with the most records."""
    try:
        status = log.status()
        if NAME not in status.consumers:
            return UNKNOWN
        done = {p: max(status.consumers[NAME].get(p, 0), status.tail.get(p, 0)) for p in status.head}
        lags = {p: max(head - done[p], 0) for p, head in status.head.items()}
        worst = max(lags, key=lambda p: lags[p], default=None)
        if worst is None or not lags[worst]:
            return Progress(0, 0)
        oldest = log.read(worst, done[worst], max_records=1, max_bytes=_READ_BYTES)
    except IsothermError:
        # Who cannot reach the log is told so elsewhere.
        return UNKNOWN
    ages = [now_ms - received_at(record.value, record.timestamp) for record in oldest]
    return Progress(sum(lags.values()), max([0, *ages]))
