"""An independent recount: pandas and NumPy over the recording itself, sharing no code with Isotherm.

The grid and the bucket rules are written out again here on purpose: this is the other side of the comparison.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow.json import ParseOptions, read_json

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
RENAMED = {"move": "mousemove", "drag": "mousemove"}
MAPPING = tuple(f"event_type:{before}={after}" for before, after in RENAMED.items())
FREQUENCY = {"hour": "h", "day": "D", "week": "W-SUN"}
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("client_id", "screen_id", "event_time", "event_type")]
    + [(name, pa.float64()) for name in ("x_norm", "y_norm")]
)

MapKey = tuple[str, str, str, pd.Timestamp]


@dataclass
class Recording:
    """A recording as it should stand in the tiles: renamed, moved by whole days, every event with its cell."""

    events: pd.DataFrame

    def maps(self, level: str) -> dict[MapKey, npt.NDArray[np.int64]]:
        """Counts of every map of a level, shape (20000,), index cell_y * 100 + cell_x."""
        start = self.events.event_time.dt.tz_localize(None).dt.to_period(FREQUENCY[level]).dt.start_time
        keys = [self.events.client_id, self.events.screen_id, self.events.event_type, start]
        return {key: np.bincount(group, minlength=20_000) for key, group in self.events.cell.groupby(keys)}

    @property
    def start(self) -> pd.Timestamp:
        return self.events.event_time.min().floor("h")

    @property
    def end(self) -> pd.Timestamp:
        return self.events.event_time.max().floor("h") + pd.Timedelta(hours=1)


def days_into_horizon(path: Path, days_ago: int) -> int:
    """Whole days by which the recording must move so that its last event lies `days_ago` days back."""
    last = _rows(path).event_time.max()
    return (pd.Timestamp.now("UTC").normalize() - last.normalize()).days - days_ago


def read(path: Path, shift_days: int) -> Recording:
    """The recording, moved by `shift_days`, recorder's names mapped to the wire's."""
    events = _rows(path)
    events["event_time"] = events.event_time + pd.Timedelta(days=shift_days)
    events["event_type"] = events.event_type.replace(RENAMED)
    x = np.minimum(np.floor(events.x_norm.to_numpy() * 100), 99).astype(int)
    y = np.minimum(np.floor(events.y_norm.to_numpy() * 200), 199).astype(int)
    events["cell"] = y * 100 + x
    return Recording(events)


def _rows(path: Path) -> pd.DataFrame:
    """The file as it is, read by Arrow, times as instants."""
    with pa.input_stream(str(path), compression="gzip") as file:
        events = read_json(file, parse_options=ParseOptions(explicit_schema=COLUMNS)).to_pandas()
    events["event_time"] = pd.to_datetime(events["event_time"], utc=True, format="ISO8601")
    return events
