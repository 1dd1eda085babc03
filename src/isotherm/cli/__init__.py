"""The command line: `isotherm COMMAND`. One file per command; a command's module is imported when it is called.

Exit codes: 0 done, 1 the answer is "no" or something went wrong (one paragraph on standard error says what and
what to do), 2 wrong usage, 130 interrupted.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Final

from cyclopts import App, CycloptsError, Group

from isotherm import __version__
from isotherm.errors import IsothermError

_RUN: Final = Group("Run", sort_key=1)
_DATA: Final = Group("Bring data in and out", sort_key=2)
_LOOK: Final = Group("Look inside", sort_key=3)
_SETUP: Final = Group("Set up", sort_key=4)

INTRODUCTION: Final = """
Exact heatmaps of where people move, click and look, on your own machine.

`isotherm up` starts everything: a collector that answers only when a batch is on disk, and the app that folds
events into hourly, daily and weekly maps and serves them.
"""

EPILOGUE: Final = """
Examples:

`isotherm up --data ./data`: start everything, keep all of it in ./data

`isotherm import events.jsonl.gz --to http://127.0.0.1:7081`: send a recording through the same door

`isotherm status --data ./data`: what is running, how far behind, what is on disk

`isotherm COMMAND --help` explains one command. Settings come from flags, ISOTHERM_* variables and isotherm.toml
in the data folder, in this order; `isotherm config` shows them.
"""

_STANDARD: Final = {"import": "/dev/stdin", "export": "/dev/stdout"}
"""What `-` stands for; the parser would take a lone hyphen for an option."""

COMMANDS: Final[tuple[tuple[str, Group, str], ...]] = (
    ("up", _RUN, "Start everything in one process group: collector and app."),
    ("demo", _RUN, "Start everything, send simulated visitors through the demo shop, show heat."),
    ("collect", _RUN, "The collector alone: take events over HTTP."),
    ("land", _RUN, "The lander alone: move the log into lake files."),
    ("rollup", _RUN, "The tile scheduler alone, or a backfill with --from and --to."),
    ("stream", _RUN, "Live windows alone: count events by minute, five minutes and hour as they come."),
    ("serve", _RUN, "The query API alone."),
    ("import", _DATA, "Send recordings (JSON lines, CSV, Parquet) to a collector."),
    ("simulate", _DATA, "Send human-like visitors, labelled as simulated; also a load generator."),
    ("replay", _DATA, "Raw events from the lake back on a log: of another deployment, or of this one."),
    ("export", _DATA, "Write a map as CSV, Parquet or Arrow."),
    ("backup", _DATA, "Copy everything to a folder or bucket while it runs; list, verify and prune backups."),
    ("restore", _DATA, "Make a deployment of a backup again, or rehearse it (--drill)."),
    ("status", _LOOK, "Everything at one glance."),
    ("log", _LOOK, "The event log: head, consumers, lag, bytes, segments."),
    ("ledger", _LOOK, "What came in and what became of it; fails when the sums do not close."),
    ("lake", _LOOK, "The raw lake: list files, compare formats, print rows."),
    ("dead", _LOOK, "Dead letters: what could not be accepted or landed; replay it."),
    ("retention", _LOOK, "What is past its days, what goes next, and what went last."),
    ("verify", _LOOK, "Rebuild tiles from raw and compare them cell by cell."),
    ("doctor", _SETUP, "Find what commonly goes wrong and say what to do."),
    ("config", _SETUP, "The settings in effect and where each comes from."),
)
"""Name, group and one-line summary of every command; the module of the same name holds its function `command`."""


_APPS: Final = frozenset({"lake", "dead"})
"""Commands that have commands of their own."""


def module_of(name: str) -> str:
    """Import path of a command's module; `import` is a keyword, and `app` is this module's own."""
    return f"isotherm.cli.{name}{'_' if name in ('import', 'app') else ''}"


def make_app(*, summaries: bool) -> App:
    """The program. Modules are imported when a command is called or asked for its help.

    `summaries` gives every command its one line, for the list of commands; without them a command's help is
    what its function's docstring says.
    """
    made = App(
        name="isotherm",
        help=INTRODUCTION,
        help_epilogue=EPILOGUE,
        help_format="markdown",
        version=__version__,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
    )
    for place, (name, group, summary) in enumerate(COMMANDS):
        target = f"{module_of(name)}:{'app' if name in _APPS else 'command'}"
        own = {} if name in _APPS else {"help_epilogue": ""}
        made.command(target, name=name, group=group, sort_key=place, help=summary if summaries else None, **own)
    made.command(f"{module_of('app')}:command", name="app", show=False, help_epilogue="")
    return made


app: Final = make_app(summaries=False)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    names = [name for name, _, _ in COMMANDS]
    named = bool(given) and given[0] in (*names, "app")
    if given and not named and not given[0].startswith("-"):
        return _unknown(given[0], names)
    if given and given[0] in _STANDARD:
        given = [_STANDARD[given[0]] if argument == "-" else argument for argument in given]
    program = app if named else make_app(summaries=True)
    try:
        result = program(given, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _wrong_usage(error)
    except IsothermError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has gone. Keep Python from complaining again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        return _failed(f"{error.filename}: {error.strerror}")
    except Exception as error:
        if (why := _database_said(error)) is None:
            raise
        return _failed(f"the database does not answer ({why}); what was done is kept: run the command again later")
    return result if isinstance(result, int) else 0


def _database_said(error: Exception) -> str | None:
    """What the database driver said when it gave up; None when the error is something else."""
    from sqlalchemy.exc import DBAPIError, OperationalError

    if isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, OperationalError)):
        return " ".join(str(error.orig).split())
    return None


def _failed(message: str) -> int:
    print(f"isotherm: {message}", file=sys.stderr)
    return 1


def _unknown(given: str, names: Sequence[str]) -> int:
    close = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean `isotherm {close[0]}`?" if close else ""
    print(f"isotherm: there is no command {given!r}.{hint}", file=sys.stderr)
    print("          `isotherm --help` lists them", file=sys.stderr)
    return 2


def _wrong_usage(error: CycloptsError) -> int:
    chain = " ".join(error.command_chain or ())
    print(f"isotherm: {str(error).strip()}", file=sys.stderr)
    print(f"          `isotherm {chain}{' ' if chain else ''}--help` lists what it takes", file=sys.stderr)
    return 2


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas.

    pyarrow imports it with the first array it makes, wherever chDB brought it along: 49 MB and half a second of each
    process, for conversions that no command uses.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Nothing for every name but pandas; raises ModuleNotFoundError for that."""
        if fullname == "pandas":
            raise ModuleNotFoundError("isotherm does without pandas", name=fullname)


def main() -> None:
    """The entry point of the `isotherm` program."""
    sys.meta_path.insert(0, _NoPandas())
    sys.exit(run())
