"""What a sender saw."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """Events acknowledged in `seconds`, the latency of one 200-event unit, and requests that failed."""

    events: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int = 0
    broken: int = 0

    @property
    def rate(self) -> float:
        """Acknowledged events per second."""
        return self.events / self.seconds
