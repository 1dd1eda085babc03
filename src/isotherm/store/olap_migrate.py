"""The tile store's schema: the numbered files of `olap_migrations`, each applied once, in order."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from isotherm.errors import ConfigError

if TYPE_CHECKING:
    from isotherm.store.olap import Olap

MIGRATIONS: Final = Path(__file__).parent / "olap_migrations"

_RECORDS: Final = """
CREATE TABLE IF NOT EXISTS @stored(migrations) @on_cluster
(number UInt32, name String, applied_at DateTime('UTC'))
ENGINE = @engine(migrations, MergeTree) ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
@distribute(migrations, number)
"""


def migrate(olap: "Olap") -> None:
    """Apply the files that are not recorded yet.

    Raises ConfigError when a newer version of isotherm was here, and when the tables were made for another layout.
    """
    _check_layout(olap)
    for statement in olap.layout.render(_RECORDS):
        olap.command(statement, profile="migrate")
    done = set(olap.query("SELECT number FROM migrations", profile="migrate").column("number").to_pylist())
    files = {int(path.name.split("_")[0]): path for path in sorted(MIGRATIONS.glob("*.sql"))}
    if unknown := done - files.keys():
        raise ConfigError(
            f"olap: {olap.where} was written by a newer version of isotherm (migration {max(unknown)}); "
            "use that version or a newer one"
        )
    for number, path in files.items():
        if number in done:
            continue
        # Every statement can be run again: after a crash between it and the record it is.
        for statement in olap.layout.render(path.read_text(encoding="utf-8")):
            olap.command(statement, profile="migrate")
        olap.command(
            "INSERT INTO migrations SELECT {number:UInt32}, {name:String}, now('UTC')",
            {"number": number, "name": path.name},
            profile="migrate",
        )


def _check_layout(olap: "Olap") -> None:
    """Names stay and engines never change: with another layout half of the statements would miss their table."""
    wanted = olap.layout
    names = sorted({name for table in ("migrations", "maps") for name in (table, wanted.stored(table))})
    found = olap.query(
        "SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}",
        {"names": names},
        profile="migrate",
    ).to_pylist()
    engines: dict[str, str] = {row["name"]: row["engine"] for row in found}
    clustered = {engines[table] == "Distributed" for table in ("migrations", "maps") if table in engines}
    # What a cloud makes of either is told by neither.
    holding = [engine for engine in engines.values() if engine != "Distributed" and not engine.startswith("Shared")]
    replicated = {engine.startswith("Replicated") for engine in holding}
    for setting, made, now in (
        ("clickhouse_cluster", clustered, bool(wanted.cluster)),
        ("clickhouse_replicated", replicated, wanted.replicated),
    ):
        if not made <= {now}:
            raise ConfigError(
                f"olap: the tables in {olap.where} were made {'without' if now else 'with'} {setting}, and that cannot "
                f"be changed: set {setting} as it was, or name another database in olap and fill it with `isotherm "
                "rollup --from --to`"
            )
