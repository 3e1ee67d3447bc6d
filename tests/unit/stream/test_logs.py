"""What is logged: one line an event, and no secret whatever the level."""

import logging

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest_v1, SaslHandShakeRequest_v1

from stream.logs import configure


@pytest.fixture(autouse=True)
def logging_as_before():
    """Other tests hear what they heard before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_login_is_not_logged_at_any_level(capsys: pytest.CaptureFixture[str]):
    """The Kafka client tells each request at level debug; one of them holds the password."""
    configure("debug")
    log = logging.getLogger("aiokafka.conn")
    for request in (SaslHandShakeRequest_v1("PLAIN"), SaslAuthenticateRequest_v1(b"\0ada\0hunter2")):
        log.debug("Request to %s:%d %d: %s", "broker", 9092, 1, request)
    told = capsys.readouterr().err
    assert "SaslHandShakeRequest_v1" in told
    assert "hunter2" not in told
