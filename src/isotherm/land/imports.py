"""Imported rows: the lake may hold them from an earlier import, or from another partition that lands just now."""

from collections.abc import Sequence

import numpy as np

from isotherm.land.effects import Compared
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
from isotherm.land.parts import Mask, Part, without_known


def new_rows(parts: Sequence[Part], lake: Lake, manifest: Manifest) -> tuple[list[tuple[Part, Mask]], Compared | None]:
    """Each part with its rows that are new; only parts with imported rows are compared with the lake.

    The second is what was compared, for the landing to check that it still holds: None when nothing was.
    """
    judged = [(part, np.ones(part.table.num_rows, np.bool_)) for part in parts if not part.imported.any()]
    suspects = [part for part in parts if part.imported.any()]
    if not suspects:
        return judged, None
    hours = [part.hour for part in suspects]
    clients = sorted({part.client_id for part in suspects})
    with manifest.snapshot(start=min(hours), end=max(hours) + 1, client_ids=clients, raw_only=None) as snapshot:
        judged += without_known(suspects, lake, snapshot)
    return judged, Compared(snapshot.version, frozenset((part.client_id, part.hour) for part in suspects))
