"""Java servers: their command line, small and with a log that says warnings."""

from pathlib import Path

from services.programs import program
from services.tools import folder

LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %-5p %c{1}: %m%n"/></Console></Appenders>
  <Loggers><Root level="LEVEL"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""
# One small collector thread, no memory map in /tmp, no IPv6.
_LIGHT = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true")

short_lived = False
"""Set where servers live for seconds, as in tests: they start with half the work, and never get as fast as they can."""


def light() -> tuple[str, ...]:
    """Options of every Java program here."""
    # The second compiler only pays for itself after minutes.
    return (*_LIGHT, "-XX:TieredStopAtLevel=1") if short_lived else _LIGHT


def java(tool: str, main: str, *arguments: str, megabytes: int, log: Path | None = None) -> list[str]:
    """Command line of `main` in the jars of a fetched tool; `log` is the file that `write_logging` wrote."""
    options = [*light(), f"-Xmx{megabytes}m"]
    if log:
        options.append(f"-Dlog4j2.configurationFile={log}")
    # The JVM expands the star; the list of all jars would be too long for a command line.
    return [program("java"), *options, "-cp", f"{folder(tool) / 'libs'}/*", main, *arguments]


def write_logging(path: Path, level: str = "WARN") -> Path:
    """Write a log configuration that logs to standard output from `level` on."""
    path.write_text(LOGGING.replace("LEVEL", level))
    return path


def properties(settings: dict[str, object]) -> str:
    """Text of a Java properties file."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())
