"""The reset page in a real Chromium: what resets, and above all what does not."""

import contextlib
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browsing import log_in
from tests.resetting import OPERATOR, VIEWER, Instances
from tests.servers import wait_until
from tests.serving import ServiceProcess


def address(service: ServiceProcess, instance_id: str) -> str:
    return f"{service.url}/reset-circuit-breaker/{instance_id}"


def shown_state(page: Page) -> str:
    return page.locator(".state").inner_text()


def requests_for(service: ServiceProcess, instance_id: str) -> list[dict[str, Any]]:
    """What arrived at the reset address, from the service's log."""
    entries = [json.loads(line) for line in service.log_text().splitlines()]
    return [e for e in entries if e.get("path") == f"/reset-circuit-breaker/{instance_id}"]


def await_request(service: ServiceProcess, instance_id: str) -> dict[str, Any]:
    """Return the first request; that something did not reset means little if nothing came."""
    wait_until(lambda: requests_for(service, instance_id), f"a request for {instance_id}")
    return requests_for(service, instance_id)[0]


# ------------------------------------------------------------------------------- what resets


def test_the_browser_says_that_the_user_typed_the_address(
    page: Page, service: ServiceProcess, name: str
) -> None:
    with page.expect_request(address(service, name)) as sent:
        page.goto(address(service, name))
    headers = sent.value.all_headers()
    assert headers["sec-fetch-site"] == "none"
    assert headers["sec-fetch-user"] == "?1"


def test_a_typed_address_resets_and_shows_what_was(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, instances.open(name)))
    assert instances.state(name) == "closed"
    assert instances.failures(name) == 0
    assert shown_state(page) == "Closed"
    said = page.get_by_role("status").inner_text()
    assert "The circuit breaker was reset." in said
    assert re.search(r"Before\s+Open\s+After\s+Closed", said)
    assert "15 failures, 0 retries" in said
    assert instances.resets(name)[0]["reason"] == "address opened in a browser"


def test_a_typed_address_clears_the_failures_of_a_closed_breaker(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.fail(name, 7)
    page.goto(address(service, name))
    assert instances.failures(name) == 0
    assert "7 failures" in page.get_by_role("status").inner_text()


def test_the_button_resets(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, name))
    instances.open(name)
    page.get_by_role("button", name="Reset again").click()
    expect(page.locator(".state")).to_have_text("Closed")
    assert "15 failures" in page.get_by_role("status").inner_text()
    assert instances.state(name) == "closed"
    assert instances.resets(name)[0]["reason"] == "button on the reset page"


def test_the_button_works_from_the_keyboard(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, name))
    instances.open(name)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Reset again")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".state")).to_have_text("Closed")
    expect(page.get_by_role("status")).to_contain_text("15 failures")


def test_a_double_click_resets_once_and_shows_what_was(
    page: Page, service: ServiceProcess, instances: Instances, other_site: Any, name: str
) -> None:
    open_from_elsewhere(page, other_site, address(service, instances.open(name)))
    page.get_by_role("button", name="Reset circuit breaker").dblclick()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"Before\s*Open"))
    assert instances.state(name) == "closed"
    assert len(instances.resets(name)) == 1


# ------------------------------------------------------------------- what the browser repeats


def test_a_reload_does_not_reset_again(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, name))
    instances.open(name)
    page.reload()
    assert instances.state(name) == "open"
    assert shown_state(page) == "Open"


def test_a_reload_after_the_button_does_not_reset_again(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, name))
    page.get_by_role("button").click()
    page.wait_for_load_state()
    instances.open(name)
    page.reload()
    assert instances.state(name) == "open"


def test_the_way_back_does_not_reset_again(
    page: Page, service: ServiceProcess, instances: Instances, other_site: Any, name: str
) -> None:
    page.goto(address(service, name))
    page.goto(other_site.url)
    instances.open(name)
    page.go_back()
    expect(page.locator(".state")).to_have_text("Open")
    assert instances.state(name) == "open"
    page.go_forward()
    page.go_back()
    assert instances.state(name) == "open"


def test_a_reload_of_what_a_link_led_to_does_not_reset(
    page: Page, service: ServiceProcess, instances: Instances, other_site: Any, name: str
) -> None:
    open_from_elsewhere(page, other_site, address(service, instances.open(name)))
    page.reload()
    assert instances.state(name) == "open"
    page.goto(other_site.url)
    page.go_back()
    expect(page.locator(".state")).to_have_text("Open")
    assert instances.state(name) == "open"


def test_typing_the_address_once_more_resets_once_more(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, instances.open(name)))
    page.goto(address(service, instances.open(name)))
    assert instances.state(name) == "closed"


# ----------------------------------------------------------------- what others make it request


def open_from_elsewhere(page: Page, other_site: Any, target: str) -> None:
    other_site.html = f'<a href="{target}">look</a>'
    page.goto(other_site.url)
    page.get_by_role("link").click()
    page.wait_for_url(target)


def test_a_link_on_another_site_shows_the_state_and_a_button(
    page: Page, service: ServiceProcess, instances: Instances, other_site: Any, name: str
) -> None:
    open_from_elsewhere(page, other_site, address(service, instances.open(name)))
    assert instances.state(name) == "open"
    assert shown_state(page) == "Open"
    facts = page.locator("dl").inner_text()
    assert "15 of 15 within 5 min" in facts
    assert re.search(r"Time left\s+(9 min \d+ s|10 min)", facts)
    assert "too many failures" in facts
    assert "WebSocket error" in facts
    page.get_by_role("button", name="Reset circuit breaker").click()
    expect(page.locator(".state")).to_have_text("Closed")
    assert instances.state(name) == "closed"


SUBMIT = "<script>document.forms[0].submit()</script>"

#: What a page may contain to make a browser send a request.
LURES = {
    "image": '<img src="{target}">',
    "stylesheet": '<link rel="stylesheet" href="{target}">',
    "script": '<script src="{target}"></script>',
    "iframe": '<iframe src="{target}"></iframe>',
    "object": '<object data="{target}" type="text/html"></object>',
    "prefetch": '<link rel="prefetch" href="{target}">',
    "prefetch-document": '<link rel="prefetch" as="document" href="{target}">',
    "fetch": '<script>fetch("{target}", {mode: "no-cors", credentials: "include"})</script>',
    "fetch-post": '<script>fetch("{target}", {mode: "no-cors", method: "POST"})</script>',
    "fetch-form": """<script>
        fetch("{target}", {mode: "no-cors", method: "POST", body: new URLSearchParams("a=b")})
    </script>""",
    "beacon": '<script>navigator.sendBeacon("{target}")</script>',
    "location": '<script>location = "{target}"</script>',
    "refresh": '<meta http-equiv="refresh" content="0;url={target}">',
    "form": f'<form method="post" action="{{target}}"></form>{SUBMIT}',
    "text-form": f'<form method="post" action="{{target}}" enctype="text/plain"></form>{SUBMIT}',
    "get-form": f'<form action="{{target}}"></form>{SUBMIT}',
    "speculative-prefetch": """<script type="speculationrules">
        {"prefetch": [{"urls": ["{target}"], "eagerness": "immediate"}]}
    </script>""",
    "speculative-prerender": """<script type="speculationrules">
        {"prerender": [{"urls": ["{target}"], "eagerness": "immediate"}]}
    </script>""",
}


def lure_until_it_bites(
    page: Page, lure_url: str, service: ServiceProcess, instance_id: str
) -> dict[str, Any]:
    """Open the page until the request comes: a busy Chromium may leave a prefetch out."""

    def lured() -> bool:
        page.goto(lure_url)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: requests_for(service, instance_id), "a request", seconds=5)
        return bool(requests_for(service, instance_id))

    wait_until(lured, f"a request for {instance_id}", seconds=60)
    return requests_for(service, instance_id)[0]


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize("where", ["url", "neighbour_url"], ids=["other-site", "other-origin"])
def test_a_page_elsewhere_cannot_reset(
    page: Page, instances: Instances, other_site: Any, name: str, *, lure: str, where: str
) -> None:
    service = instances.service
    other_site.html = LURES[lure].replace("{target}", address(service, instances.open(name)))
    request = lure_until_it_bites(page, getattr(other_site, where), service, name)
    assert request["status"] in {200, 403, 405}
    assert instances.state(name) == "open"


def test_a_script_elsewhere_reads_nothing_of_the_page(
    page: Page, service: ServiceProcess, other_site: Any, name: str
) -> None:
    page.goto(other_site.url)
    outcome = page.evaluate(
        "url => fetch(url, {headers: {accept: 'text/html'}})"
        ".then(answer => answer.text(), failed => 'refused')",
        address(service, name),
    )
    assert outcome == "refused"


def test_the_page_cannot_be_framed(
    page: Page, service: ServiceProcess, other_site: Any, name: str
) -> None:
    other_site.html = f'<iframe src="{address(service, name)}"></iframe>'
    page.goto(other_site.url)
    await_request(service, name)
    framed = [frame for frame in page.frames if frame.parent_frame]
    assert framed
    assert all(frame.locator("main").count() == 0 for frame in framed)


# ------------------------------------------------------------------------------ forged forms


def test_the_token_of_another_instance_is_refused(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, "somebody-else"))
    foreign = page.locator('input[name="csrf"]').input_value()
    page.goto(address(service, name))
    instances.open(name)
    field = page.locator('input[name="csrf"]')
    field.evaluate("(field, value) => { field.value = value }", foreign)
    with page.expect_navigation() as navigation:
        page.get_by_role("button").click()
    answer = navigation.value
    assert answer is not None
    assert answer.status == 403
    assert "Nothing was changed" in page.get_by_role("alert").inner_text()
    assert instances.state(name) == "open"
    page.get_by_role("button", name="Reset circuit breaker").click()
    expect(page.locator(".state")).to_have_text("Closed")


def test_the_token_of_another_browser_is_refused(
    page: Page, profile: BrowserContext, service: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(service, name))
    instances.open(name)
    profile.clear_cookies()
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    assert instances.state(name) == "open"


# ----------------------------------------------------------------------------------- a ban


def test_a_ban_in_force_is_shown_and_not_reset(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    answer = page.goto(address(service, instances.ban(name)))
    assert answer is not None
    assert answer.status == 409
    assert "a ban is in force" in page.get_by_role("alert").inner_text()
    assert "WhatsApp has banned this session" in page.content()
    assert page.get_by_role("button").count() == 0
    assert instances.state(name) == "open"


# ---------------------------------------------------------------------------------- a login


def test_a_login_leads_back_to_the_page_which_does_not_reset_by_itself(
    page: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(address(guarded, instances.open(name)))
    assert page.url.startswith(f"{guarded.url}/login?next=")
    log_in(page, OPERATOR.token)
    page.wait_for_url(address(guarded, name))
    assert shown_state(page) == "Open"
    assert instances.state(name) == "open"
    page.get_by_role("button", name="Reset circuit breaker").click()
    expect(page.locator(".state")).to_have_text("Closed")
    assert instances.resets(name)[0]["actor"] == "operations"


def test_who_is_logged_in_resets_by_typing_the_address_until_the_logout(
    page: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(f"{guarded.url}/login")
    log_in(page, OPERATOR.token)
    expect(page.get_by_role("heading")).to_have_text("You are logged in")
    page.goto(address(guarded, instances.open(name)))
    assert instances.state(name) == "closed"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API token")).to_be_visible()
    page.goto(address(guarded, instances.open(name)))
    assert instances.state(name) == "open"


def test_a_wrong_token_is_refused_in_words(page: Page, guarded: ServiceProcess) -> None:
    page.goto(f"{guarded.url}/login")
    log_in(page, OPERATOR.token[:-1] + ("a" if OPERATOR.token[-1] != "a" else "b"))
    expect(page.get_by_role("alert")).to_contain_text("does not know that token")
    expect(page.get_by_label("API token")).to_be_focused()


def test_a_viewer_sees_the_state_and_no_button(
    page: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    page.goto(f"{guarded.url}/login")
    log_in(page, VIEWER.token)
    expect(page.get_by_role("heading")).to_have_text("You are logged in")
    page.goto(address(guarded, instances.open(name)))
    assert shown_state(page) == "Open"
    assert page.get_by_role("button", name="Reset").count() == 0
    assert "may look at this, but not reset it" in page.content()
    assert instances.state(name) == "open"


def test_no_script_reads_the_login(
    page: Page, profile: BrowserContext, guarded: ServiceProcess
) -> None:
    page.goto(f"{guarded.url}/login")
    log_in(page, OPERATOR.token)
    expect(page.get_by_role("heading")).to_have_text("You are logged in")
    assert page.evaluate("document.cookie") == ""
    kept = {cookie["name"]: cookie for cookie in profile.cookies()}
    assert kept["sekring_session"]["httpOnly"]
    assert kept["sekring_session"]["sameSite"] == "Strict"


def test_a_link_elsewhere_comes_without_the_login(
    page: Page, guarded: ServiceProcess, instances: Instances, other_site: Any, name: str
) -> None:
    page.goto(f"{guarded.url}/login")
    log_in(page, OPERATOR.token)
    expect(page.get_by_role("heading")).to_have_text("You are logged in")
    other_site.html = f'<a href="{address(guarded, instances.open(name))}">look</a>'
    page.goto(other_site.url)
    page.get_by_role("link").click()
    page.wait_for_url(f"{guarded.url}/login**")
    assert instances.state(name) == "open"


# ------------------------------------------------------------------------------------ looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_loads_its_style_and_fits_a_phone(
    page: Page, service: ServiceProcess, scheme: Any
) -> None:
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto(address(service, "6281234567890@s.whatsapp.net" + "9" * 100))
    brightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (brightness < 80) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert not faults


def test_the_page_speaks_indonesian(
    chromium: Browser, service: ServiceProcess, instances: Instances, name: str
) -> None:
    with chromium.new_context(locale="id-ID") as profile:
        page = profile.new_page()
        page.goto(address(service, instances.open(name)))
        assert shown_state(page) == "Tertutup"
        assert "Circuit breaker telah di-reset." in page.get_by_role("status").inner_text()
        assert page.locator("html").get_attribute("lang") == "id"
