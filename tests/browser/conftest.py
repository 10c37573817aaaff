"""A real Chromium, a service with and one without tokens, and a web site that is not ours."""

import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browsing import Faults
from tests.resetting import OPERATOR, VIEWER, Instances, inline
from tests.servers import RedisServer
from tests.serving import PATIENT, ServiceProcess

#: The names under which systems have it, the preferred first.
PROGRAMS = (
    # The same without a window: it takes a third of the time.
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)

#: How long a page may take to show what is expected, in ms; what is fast enough is no matter here.
_PATIENCE_MS = 15_000

#: It runs in containers, and talks to nobody but the servers of the test.
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; without one the test is skipped, or fails where CI=true.

    It ends with the module: Playwright keeps an event loop running in the thread of the tests,
    where those that come after start loops of their own.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        message = "chromium is missing (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh profile: no cookies, no cache."""
    context = chromium.new_context(locale="en-US")
    context.set_default_timeout(_PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(profile: BrowserContext) -> Page:
    """A tab of it."""
    return profile.new_page()


class OtherSite(http.server.ThreadingHTTPServer):
    """Serves one page, on another site than `localhost`: ports do not make a site, names do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.html = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def neighbour_url(self) -> str:
        """The same page, as another origin of the service's own site."""
        return f"http://localhost:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: OtherSite

    def do_GET(self) -> None:
        body = f"<!doctype html><title>elsewhere</title>{self.server.html}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def other_site() -> Iterator[OtherSite]:
    """A page of somebody else's."""
    with OtherSite() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[ServiceProcess]:
    """Without tokens; its log has a line for each request."""
    with ServiceProcess(redis.url, log_level="debug", log_format="json", **PATIENT) as process:
        yield process


@pytest.fixture(scope="module")
def guarded(redis: RedisServer) -> Iterator[ServiceProcess]:
    """Another replica, which asks for a token."""
    with ServiceProcess(redis.url, tokens=inline(OPERATOR, VIEWER), **PATIENT) as process:
        yield process


@pytest.fixture(scope="module")
def instances(service: ServiceProcess) -> Iterator[Instances]:
    instances = Instances(service)
    yield instances
    instances.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An instance of the test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100].strip("-")


@pytest.fixture
def faults(page: Page) -> Iterator[Faults]:
    """What the browser complains about on the tab; must be nothing in the end."""
    faults = Faults(page)
    yield faults
    assert not faults.found
