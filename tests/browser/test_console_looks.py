"""Every page of the console in both themes, wide and on a phone: nothing sticks out or is amiss."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Faults, log_in, serious_violations
from tests.resetting import VIEWER, Instances
from tests.serving import ServiceProcess

LONG = "6281234567890@s.whatsapp.net" + "9" * 100

#: Both themes, and a wide window and a phone's, in pixels.
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", 1280),
    ("dark", 1280),
    ("dark", 375),
    ("light", 375),
)

#: Where each page is. `{id}` has a long name, is open and has a reason.
PAGES = {
    "fleet": "/",
    "all": "/?state=all",
    "found": "/?state=open&prefix=6281",
    "nothing": "/?state=disabled",
    "no-such-id": "/?prefix=%2B62",
    "reset": "/instances/{id}/reset",
    "trip": "/instances/{id}/trip",
    "disable": "/instances/{id}/disable",
    "force": "/instances/628-banned/force",
    "instance": "/instances/{id}",
    "instance-banned": "/instances/628-banned",
    "instance-tripped": "/instances/628-tripped?history=all",
    "instance-failing": "/instances/628-failing",
    "instance-unknown": "/instances/{id}1",
    "policy": "/policy",
    "override": "/instances/{id}/policy",
    "override-drop": "/instances/{id}/policy/drop",
    "resets": "/resets?state=open",
    "guide-reset": "/reset-circuit-breaker/{id}?result=",
    "unknown": "/nothing/here",
    "refused": "/?state=ajar",
}


@pytest.fixture(scope="module")
def shown(instances: Instances) -> Instances:
    """A fleet with something of everything."""
    instances.open(LONG)
    instances.fail("628-failing", 7)
    instances.ban("628-banned")
    instances.trip("628-tripped", "somebody is looking into it, and it may take until tomorrow")
    return instances


def assert_fits(page: Page) -> None:
    """In both themes, wide and on a phone."""
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        brightness = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        )
        assert (brightness < 80) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.getElementById('dialog')?.scrollWidth ?? 0") <= width
        assert serious_violations(page) == [], (scheme, width)


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_every_page_fits_and_has_no_fault(
    page: Page, faults: Faults, shown: Instances, path: str
) -> None:
    page.goto(shown.service.url + path.replace("{id}", LONG))
    if page.locator("[sse-connect]").count():
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
    assert_fits(page)
    assert not faults.found


def test_a_dialog_fits_and_has_no_fault(page: Page, faults: Faults, shown: Instances) -> None:
    page.goto(f"{shown.service.url}/?state=all&prefix=6281")
    page.get_by_role("link", name=f"Trip {LONG}").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_fits(page)
    assert not faults.found


def test_the_login_and_what_a_viewer_sees_have_no_fault(
    page: Page, faults: Faults, guarded: ServiceProcess
) -> None:
    page.goto(f"{guarded.url}/?state=all")
    assert serious_violations(page) == []
    log_in(page, VIEWER.token)
    page.wait_for_url(f"{guarded.url}/?state=all")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    assert serious_violations(page) == []
    assert not faults.found


def test_the_policy_lets_only_our_own_files_run(
    page: Page, faults: Faults, service: ServiceProcess
) -> None:
    answer = page.goto(service.url)
    assert answer is not None
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    text = answer.text()
    loaded = re.findall(r'<(?:link|img|script)[^>]* (?:href|src)="([^"]+)"', text)
    assert all(re.fullmatch(r"/assets/[a-z.-]+\.[0-9a-f]{12}\.(css|js|svg)", at) for at in loaded)
    assert "<style" not in text
    assert not re.findall(r"<script(?![^>]* src=)| on[a-z]+=| style=|javascript:", text)
    assert not faults.found
    # It is in force, too.
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    assert len(faults.found) == 1
    faults.found.clear()


def test_nothing_moves(page: Page, service: ServiceProcess) -> None:
    page.goto(service.url)
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter(one => {"
        "const style = getComputedStyle(one);"
        "return style.transitionDuration !== '0s' || style.animationName !== 'none'"
        "}).length"
    )
    assert moving == 0
