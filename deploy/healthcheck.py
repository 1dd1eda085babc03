#!/usr/bin/env python3
"""Exit code 0 when the role of this container says that it is well, 1 with one line when it does not.

Which role runs here shows in which of the ports answers: app, collector, or the health port of the others.
"""

import os
import sys
import urllib.error
import urllib.request

PORTS = (("ISOTHERM_PORT", "7080"), ("ISOTHERM_COLLECT_PORT", "7081"), ("ISOTHERM_HEALTH_PORT", "7082"))
TIMEOUT_S = 3.0
# A proxy of the environment is for the way out; this question never leaves the container.
_ASK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status(port: str) -> str | None:
    """What the server on this port answers; None when nobody listens there."""
    try:
        with _ASK.open(f"http://127.0.0.1:{port}/v1/healthz", timeout=TIMEOUT_S) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except urllib.error.URLError as error:
        return None if isinstance(error.reason, ConnectionRefusedError) else f"no answer ({error.reason})"
    except OSError as error:
        return f"no answer ({error})"


def main() -> int:
    """Ask all three ports."""
    answers = {name: status(os.environ.get(name) or port) for name, port in PORTS}
    given = {name: answer for name, answer in answers.items() if answer is not None}
    if not given:
        print("no role answers on any of its ports")
        return 1
    unwell = [f"{name}: {answer}" for name, answer in given.items() if answer != "200"]
    print("; ".join(unwell) or "ok")
    return 1 if unwell else 0


if __name__ == "__main__":
    sys.exit(main())
