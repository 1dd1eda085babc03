"""Cross-origin rules: any page may post events; nothing that identifies a person is asked for or sent back."""

from typing import Final

Headers = list[tuple[str, str]]

ANSWER_HEADERS: Final[Headers] = [
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "retry-after, x-request-id"),
]

PREFLIGHT_HEADERS: Final[Headers] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "POST, OPTIONS"),
    ("access-control-allow-headers", "content-type, content-encoding"),
    ("access-control-max-age", "86400"),
]
