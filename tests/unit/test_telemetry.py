"""Logs that people and machines can read, and the trace that a request belongs to."""

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from sekring.telemetry.logs import configure_logging
from sekring.telemetry.propagation import parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"

SECRET = "skr_secret"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the logging of the tests themselves as it was."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was written to standard error since the last time."""
    return lambda: capsys.readouterr().err


def fail(token: str) -> None:
    message = f"it failed after {len(token)} characters"
    raise RuntimeError(message)


# ----------------------------------------------------------------------------------------- logs


def test_each_line_of_json_is_one_event(stderr: Callable[[], str]) -> None:
    configure_logging("info", "json")

    structlog.get_logger().info("circuit breaker reset", instance_id="628", was="open")
    logging.getLogger("a.library").warning("it has %s to say", "something")

    ours, theirs = (json.loads(line) for line in stderr().splitlines())
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "circuit breaker reset", "level": "info", "instance_id": "628", "was": "open",
    }  # fmt: skip
    assert (theirs["event"], theirs["level"]) == ("it has something to say", "warning")


def test_an_exception_stays_on_its_line(stderr: Callable[[], str]) -> None:
    configure_logging("info", "json")

    try:
        fail(SECRET)
    except RuntimeError as error:
        structlog.get_logger().error("unexpected error", exc_info=error)

    (line,) = stderr().splitlines()
    entry = json.loads(line)
    assert entry["exception"].startswith("Traceback")
    assert "it failed after 10 characters" in entry["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_traceback_shows_the_values_of_variables(stderr: Callable[[], str], form: str) -> None:
    configure_logging("info", form)

    try:
        fail(SECRET)
    except RuntimeError:
        structlog.get_logger().exception("unexpected error")
        logging.getLogger("a.library").exception("unexpected error")

    shown = stderr()
    assert shown.count("it failed after 10 characters") == 2
    assert SECRET not in shown


def test_a_less_severe_event_is_not_shown(stderr: Callable[[], str]) -> None:
    configure_logging("warning", "json")

    structlog.get_logger().info("not this")
    logging.getLogger("a.library").info("nor this")
    structlog.get_logger().warning("this")

    assert [json.loads(line)["event"] for line in stderr().splitlines()] == ["this"]


def test_the_form_for_people_is_the_one_on_a_terminal(
    stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("info", "auto")
    structlog.get_logger().info("into a file")
    assert json.loads(stderr())["event"] == "into a file"

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("info", "auto")
    structlog.get_logger().info("on a terminal", instance_id="628")
    shown = stderr().splitlines()[-1]
    assert "on a terminal" in shown
    assert "628" in shown
    assert "{" not in shown


def test_the_form_for_people_has_no_colours_in_a_file(stderr: Callable[[], str]) -> None:
    configure_logging("info", "console")

    structlog.get_logger().info("into a file", instance_id="628")

    shown = stderr()
    assert "\x1b" not in shown
    assert "instance_id=628" in shown


@pytest.mark.parametrize("sent", ["/\x1b[2J", "/\r\nerror forged", "/\x07", "/\u202e", "/\x9b2J"])
def test_what_somebody_sent_moves_no_cursor(stderr: Callable[[], str], sent: str) -> None:
    configure_logging("info", "console")

    structlog.get_logger().info("request", path=sent)

    (line,) = stderr().splitlines()
    assert line.isprintable()


def test_letters_of_any_script_are_shown_as_they_are(stderr: Callable[[], str]) -> None:
    for form in ("json", "console"):
        configure_logging("info", form)
        structlog.get_logger().info("reset", reason="pemutus sirkuit: 已重置")

    assert stderr().count("pemutus sirkuit: 已重置") == 2


# --------------------------------------------------------------------------------------- traces


@pytest.mark.parametrize(
    "traceparent",
    [
        f"00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-00",
        pytest.param(f"cc-{TRACE}-{PARENT}-01", id="a later version"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01-more", id="a later version with more fields"),
    ],
)
def test_the_trace_of_a_request(traceparent: str) -> None:
    parent = parse_traceparent(traceparent)

    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (int(TRACE, 16), int(PARENT, 16))


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "nonsense",
        pytest.param(f"ff-{TRACE}-{PARENT}-01", id="no such version"),
        pytest.param(f"00-{TRACE}-{PARENT}-01-more", id="version 00 has four fields"),
        pytest.param(f"00-{'0' * 32}-{PARENT}-01", id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="no parent"),
        pytest.param(f"00-{TRACE.upper()}-{PARENT}-01", id="upper case"),
        pytest.param(f"00-{TRACE[:-1]}-{PARENT}-01", id="too short"),
        pytest.param(f"00-{TRACE}-{PARENT}-01\n", id="a line break"),
        pytest.param(f" 00-{TRACE}-{PARENT}-01", id="a space"),
    ],
)
def test_what_is_no_trace_is_none(traceparent: str | None) -> None:
    assert parse_traceparent(traceparent) is None
