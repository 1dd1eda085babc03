"""Whether the collector takes connections."""

import socket
from contextlib import closing

import pytest

from isotherm.cli.reach import collector_answers
from isotherm.config import load_settings


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_listens_answers_until_it_is_closed(host: str) -> None:
    with closing(socket.create_server((host, 0))) as listening:
        settings = load_settings(collect_host=host, collect_port=listening.getsockname()[1])
        assert collector_answers(settings)
    assert not collector_answers(settings)
