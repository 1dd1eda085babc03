"""A certificate authority and a server certificate for 127.0.0.1 and localhost, made by openssl."""

import subprocess
from pathlib import Path

from services.programs import program

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


def make_certificates(folder: Path) -> None:
    """Write `ca.pem` (what clients trust) and `server.pem` (key and chain) into the folder, once."""
    if (folder / "server.pem").exists():
        return
    folder.mkdir(exist_ok=True)
    _openssl(folder, "req", "-x509", *KEY, "-days", "30", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    _openssl(folder, "req", *KEY, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names.cnf").write_text(NAMES)
    _openssl(
        folder, "x509", "-req", "-days", "30", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-extfile", "names.cnf", "-out", "server.crt",
    )  # fmt: skip
    parts = [(folder / name).read_text() for name in ("server.key", "server.crt", "ca.pem")]
    (folder / "server.pem").write_text("".join(parts))


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run([program("openssl"), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
