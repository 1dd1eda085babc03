"""The floor: nginx receives the same requests and appends each body to its log. Page cache only, no fsync.

nginx reads a body only for a handler that wants it. The usual recipe is a proxy_pass, here to itself and without
the body; the fastest one found is a mirror to a location that answers nothing. Both are measured.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from bench import machine
from bench.ingest.target import Target
from bench.processes import free_port, listening, running, wait_for

CONFIG: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 1024; }}
http {{
  log_format body escape=none '$request_body';
  client_body_in_single_buffer on; client_body_buffer_size 512k; client_max_body_size 1m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port}; root {folder}/empty;
    {locations}
  }}
}}
"""
PROXY: Final = """
    location = /events/batch {{
      proxy_pass http://127.0.0.1:{port}/accepted; proxy_pass_request_body off; proxy_set_header Content-Length "";
      access_log {folder}/bodies.log body;
    }}
    location = /accepted {{ access_log off; return 202; }}
"""
MIRROR: Final = """
    location = /events/batch {{ mirror /unread; log_not_found off; error_page 404 =202 /accepted; }}
    location = /unread {{ internal; access_log off; return 204; }}
    location = /accepted {{ internal; access_log {folder}/bodies.log body; return 202; }}
"""


def by_proxy(folder: Path) -> AbstractContextManager[Target]:
    """nginx reads the body because it passes the request on to itself."""
    return _serve("nginx (proxy_pass), body appended to its log", PROXY, folder)


def by_mirror(folder: Path) -> AbstractContextManager[Target]:
    """nginx reads the body because it mirrors the request."""
    return _serve("nginx (mirror), body appended to its log", MIRROR, folder)


@contextmanager
def _serve(name: str, locations: str, folder: Path) -> Iterator[Target]:
    port = free_port()
    config = folder / "nginx.conf"
    names = {"folder": folder, "port": port, "user": "user root;" if os.geteuid() == 0 else ""}
    config.write_text(CONFIG.format(**names, locations=locations.format(**names)))
    (folder / "empty").mkdir()
    command = [machine.program("nginx"), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with running(command, folder / "output.log") as process:
        wait_for("nginx", lambda: listening(port), 20, process)
        yield Target(name, "page cache", folder, process.pid, url=f"http://127.0.0.1:{port}")
