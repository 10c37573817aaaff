"""`sekring watch` and a service that is none, or lies: nothing that it sends steers the screen."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import msgspec
import pytest

from sekring.guide import Health, HealthData
from sekring.model import Snapshot, State, Transition
from sekring.wire import CallerAnswer, InstancePage
from tests.watching import watching

EVIL = "[red]x[/red] [/] [@click=app.quit]y \x1b]0;owned\x07\x1b[2J\n\u202e\x9b31m"
SHOWN = r"[red]x[/red] [/] [@click=app.quit]y \x1b]0;owned\x07\x1b[2J\n\u202e\x9b31m"

SNAPSHOT = Snapshot(
    instance_id=EVIL, known=True, state=State.OPEN, epoch=1, failures=15, failure_threshold=15,
    retry_attempts=0, suppressed=0, cause=EVIL, remaining_ms=60_000, connection="",
    probes_in_flight=0, probe_successes=0, recent_failures=(), now_ms=1_000,
)  # fmt: skip
HEALTH = HealthData(
    server_status="running", total_instances=1, active_connections=0, connecting=0,
    circuit_breaker_activations=1, total_retry_attempts=0, total_recent_failures=15,
    health_score=80, half_open=0, forced_open=0, disabled=0, guard=State.CLOSED,
    guard_rate_per_s=None, degraded=False, queued_reports=0, dropped_reports=0,
    unconfirmed_changes=0, lagging=False,
)  # fmt: skip
EVENT = Transition(
    id="00-1-0", instance_id=EVIL, at_ms=1_000, action=EVIL, before=EVIL, after=EVIL,
    cause=EVIL, actor=EVIL, reason=EVIL, source=EVIL,
)  # fmt: skip

ANSWERS = {
    "/health": Health("success", EVIL, HEALTH),
    "/v1/caller": CallerAnswer(name=EVIL, role="operator", permissions=["operate"]),
    "/v1/instances": InstancePage(instances=[SNAPSHOT]),
}


class Stranger(BaseHTTPRequestHandler):
    """Answers with hostile words; whether there is a feed, and what is in it, says `feed`."""

    feed: bytes | None = None

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v1/events" and self.feed is not None:
            self.answer(200, "text/event-stream", self.feed)
        elif path in ANSWERS:
            self.answer(200, "application/json", msgspec.json.encode(ANSWERS[path]))
        else:
            problem = {"type": "not_found", "title": "Not Found", "detail": EVIL}
            self.answer(404, "application/problem+json", msgspec.json.encode(problem))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes | None], str]]:
    """Start a server; give its URL."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(feed: bytes | None) -> str:
        handler = type("WithFeed", (Stranger,), {"feed": feed})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def frame(event: str, data: bytes) -> bytes:
    return b"id: x\nevent: " + event.encode() + b"\ndata: " + data + b"\n\n"


def is_harmless(text: str) -> bool:
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


async def test_hostile_words_are_shown_as_they_are(
    stranger: Callable[[bytes | None], str],
) -> None:
    url = stranger(frame("transition", msgspec.json.encode(EVENT)))

    async with watching(url, size=(250, 40)) as screen:
        # Its name, its cause, what happened, and whose token it is.
        await screen.sees(SHOWN, f"{SHOWN} (operator)", "0:5")
        await screen.sees(f" {SHOWN} → [red]x[/red]")
        assert is_harmless(screen.text)

        await screen.press("r")
        await screen.sees("Reset [red]x[/red] [/] [@click=app.quit]y")
        assert is_harmless(screen.text)
        await screen.press("enter")
        # What is told, here a refusal, is no markup either.
        await screen.sees("[@click=app.quit]y", "owned")
        await screen.press("enter")
        await screen.sees("Not current since", SHOWN)
        assert is_harmless(screen.text)


async def test_without_a_feed_it_asks_again_and_again_and_says_so(
    stranger: Callable[[bytes | None], str],
) -> None:
    async with watching(stranger(None), size=(200, 40)) as screen:
        await screen.sees("● polling", "No live feed (", "asking every few seconds instead")
        await screen.sees("1 not closed", "health 80")
        assert is_harmless(screen.text)


async def test_what_the_feed_garbles_is_passed_over(
    stranger: Callable[[bytes | None], str],
) -> None:
    feed = (
        b"data: \xff\xfe\n\n"
        + frame("transition", b"{")
        + frame("transition", b'{"id": 5}')
        + frame("gap", b"[]")
        + frame("of tomorrow", b"{}")
        + frame("gap", b'{"partition": 1, "after_ms": 0, "until_ms": 5, "lost": 1234}')
    )

    async with watching(stranger(feed)) as screen:
        await screen.sees("1,234 transitions are missing: Redis no longer holds them")


async def test_an_html_page_is_not_taken_for_a_service() -> None:
    class Page(Stranger):
        def do_GET(self) -> None:
            self.answer(200, "text/html", b"<html>\x1b[2J</html>")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        async with watching(url) as screen:
            await screen.sees(
                "● away since", "and not as Sekring does", "(text/html): check SEKRING_URL"
            )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
