"""`isotherm doctor`: finds what commonly goes wrong and says what to do.

`machine.py` looks at this machine and the data folder, one file per service at what the settings name besides.
"""

from collections.abc import Iterator

from isotherm.cli.doctor.findings import Finding
from isotherm.cli.doctor.machine import examine_machine
from isotherm.cli.doctor.services import examine_services
from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import AsJson, Everything
from isotherm.cli.output import console, print_json
from isotherm.config import Settings


def command(settings: Everything | None = None, *, json: AsJson = False) -> int:
    """Find what commonly goes wrong and say what to do.

    Looks at versions, ports, disk, memory, file limits, the clock, and whether the data folder is ours and of
    this version; and at every service that the settings name: whether it answers, its version, what we may do there,
    its settings, its clock. Changes nothing: probes that it writes to a service are removed again. Exit code 1 when
    something would keep isotherm from working.
    """
    chosen = (settings or Everything()).settings()
    # What clients log about a service that is away is what the findings say, and must not stand between them.
    set_up_logs(chosen.model_copy(update={"log_level": "error"}), "doctor")
    findings = list(examine(chosen))
    if json:
        print_json(findings)
    else:
        _say(findings)
    return 1 if any(finding.grade == "error" for finding in findings) else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks, one finding each or more."""
    yield from examine_machine(settings)
    yield from examine_services(settings)


def _say(findings: list[Finding]) -> None:
    out = console()
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "error": "[bold red]error[/]  "}
    for finding in findings:
        out.print(f"{marks[finding.grade]}  ", end="")
        out.print(f"{finding.check}: {finding.finding}", markup=False)
        if finding.advice:
            out.print(f"         -> {finding.advice}", markup=False)
    bad = sum(f.grade == "error" for f in findings)
    warned = sum(f.grade == "warning" for f in findings)
    out.print()
    out.print("nothing is wrong" if not bad + warned else f"{bad} errors, {warned} warnings")
