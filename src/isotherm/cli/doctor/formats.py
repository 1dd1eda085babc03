"""Whether the first of `land_formats` is the format that the lake is in."""

from collections.abc import Iterator

from sqlalchemy.engine import Connection

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from isotherm.land.formats import unread


def examine(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Asks the list of the lake's files. Says nothing where all is well."""
    if found := unread(connection, settings.land_formats[0]):
        yield Finding("land_formats", "error", str(found), found.advice)
