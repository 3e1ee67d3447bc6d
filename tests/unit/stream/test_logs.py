"""What is logged: one line an event, and no secret whatever the level."""

import logging

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest_v1, SaslHandShakeRequest_v1
from mode import Service

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


@pytest.mark.parametrize(("level", "heard"), [("debug", 3), ("info", 2)])
def test_services_are_heard_when_something_is_wrong(
    level: str, heard: int, capsys: pytest.CaptureFixture[str]
):
    """That each part of Faust starts is for who looks for a fault; that one has failed is for all."""

    class Part(Service):
        """One of them, in a module of ours."""

    # Not in the class: where that module's logger is a service's already, a subclass is given one of its own.
    Part.logger = logging.getLogger("stream.app")
    configure(level)
    part = Part()
    part._log_mundane("Starting...")
    part.log.warning("Late")
    logging.getLogger("stream.app").info("partitions are assigned")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == heard
    assert told[-2].endswith("WARNING stream.app: [^Part]: Late")
    assert told[-1].endswith("INFO stream.app: partitions are assigned")
