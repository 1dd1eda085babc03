"""What a deployment's own verification says, for tests of other parts."""

from typing import Any

from isotherm.rollup.verify import Verdict, Verifier, verify


def verdicts(world: Any) -> list[Verdict]:
    """One verdict per published bucket; `world` has a deployment's stores."""
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, world.settings)
    return list(verify(verifier))
