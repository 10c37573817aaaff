"""An instance's page in a real Chromium: what it shows, that it stays true, and what it does."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browsing import Faults, log_in
from tests.resetting import OPERATOR, VIEWER, Instances
from tests.serving import ServiceProcess

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def operator(page: Page, guarded: ServiceProcess, name: str) -> Page:
    """Logged in, on the page of the test's own instance."""
    page.goto(address(guarded, name))
    log_in(page, OPERATOR.token)
    page.wait_for_url(address(guarded, name))
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    return page


@pytest.fixture
def plain(chromium: Browser) -> Iterator[Page]:
    """A browser without JavaScript."""
    with chromium.new_context(java_script_enabled=False, locale="en-US") as profile:
        profile.set_default_timeout(15_000)
        yield profile.new_page()


def address(service: ServiceProcess, instance_id: str) -> str:
    return f"{service.url}/instances/{instance_id}"


def machine(page: Page) -> Locator:
    return page.get_by_role("img", name=re.compile("State machine"))


def send(service: ServiceProcess, instance_id: str, verb: str, body: object) -> None:
    answer = httpx.post(
        f"{service.url}/v1/instances/{instance_id}/{verb}",
        json=body,
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    answer.raise_for_status()


# ------------------------------------------------------------------------------ what it shows


def test_the_present_state_is_marked_and_the_way_that_led_there(
    page: Page, faults: Faults, instances: Instances, name: str
) -> None:
    page.goto(address(instances.service, instances.open(name)))
    label = machine(page).get_attribute("aria-label") or ""
    assert re.match(r"State machine: Open\. From Closed: trip, \d\d:\d\d:\d\d UTC", label)
    assert page.locator(".machine .box.now").count() == 1
    expect(page.locator(".machine .name.now")).to_have_text("Open")
    way = page.locator(".machine .arrow.came")
    assert way.count() == 1
    # From left to right: closed is left of open.
    assert float(way.get_attribute("x1") or 0) < float(way.get_attribute("x2") or 0)
    assert re.search(r"9 min \d+ s|10 min", page.locator("#now .countdown").inner_text())
    assert not faults.found


def test_ways_that_the_policy_never_takes_are_drawn_otherwise(
    page: Page, instances: Instances, name: str
) -> None:
    page.goto(address(instances.service, name))
    assert page.locator(".machine .arrow.unused").count() == 3  # those of half-open
    httpx.put(
        f"{instances.service.url}/v1/instances/{name}/policy", json={"probes": 2}
    ).raise_for_status()
    page.reload()
    assert page.locator(".machine .arrow.unused").count() == 1  # the recovery without probes


def test_the_window_shows_each_failure_its_kind_and_the_threshold(
    page: Page, instances: Instances, name: str
) -> None:
    for kind, age_ms in (("dns", 200_000), ("tls", 100_000), ("tls", 0)):
        body = {"outcome": "failure", "kind": kind, "age_ms": age_ms}
        send(instances.service, name, "outcomes", body)
    page.goto(address(instances.service, name))
    drawing = page.get_by_role("img", name=re.compile(r"Failures in the window \(5 min\): 3 of 15"))
    expect(drawing).to_be_visible()
    assert drawing.locator("line.threshold").count() == 1
    marks = drawing.locator("svg")
    places = [float((mark.get_attribute("x") or "").rstrip("%")) for mark in marks.all()]
    assert places == sorted(places)
    assert places[0] == pytest.approx(100 / 3, abs=3)
    assert places[1] == pytest.approx(200 / 3, abs=3)
    assert places[2] == pytest.approx(100, abs=3)
    heights = [float((mark.get_attribute("y") or "").rstrip("%")) for mark in marks.all()]
    assert heights == sorted(heights, reverse=True)
    threshold = float((drawing.locator("line.threshold").get_attribute("y1") or "").rstrip("%"))
    assert threshold < heights[-1]
    shapes = [path.get_attribute("d") for path in marks.locator("path").all()]
    assert shapes[0] != shapes[1]
    assert shapes[1] == shapes[2]
    kinds = page.get_by_role("list", name="Kinds of failure").get_by_role("listitem")
    assert [re.sub(r"\s+", " ", kind.inner_text()).strip() for kind in kinds.all()] == [
        "TLS error 2",
        "name not resolved (DNS) 1",
    ]


def test_the_history_has_actor_reason_source_and_trace(
    page: Page, instances: Instances, name: str
) -> None:
    send(instances.service, name, "trip", {"reason": "<b>looked at</b>", "for_ms": 3_600_000})
    page.goto(address(instances.service, name))
    row = page.locator("#history tbody tr").first
    for words in ("forced open", "Closed → Forced open", "anonymous", "127.0.0.1", TRACE):
        expect(row).to_contain_text(words)
    expect(row).to_contain_text("<b>looked at</b>")


def test_a_long_history_is_shown_as_a_whole_on_request(
    page: Page, instances: Instances, name: str
) -> None:
    for number in range(8):
        instances.trip(name, f"reason {number}")
        instances.reset(name)
    page.goto(address(instances.service, name))
    rows = page.locator("#history tbody tr")
    expect(rows).to_have_count(10)
    page.get_by_role("link", name="Show up to 100").click()
    expect(rows).to_have_count(16)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    instances.trip(name, "one more")
    expect(rows).to_have_count(17)


def test_who_owns_the_session(page: Page, instances: Instances, name: str) -> None:
    service = instances.service
    page.goto(address(service, name))
    expect(page.locator("#session")).to_contain_text("Nobody has asked")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    httpx.post(f"{service.url}/v1/sessions", json={"instance_id": name}).raise_for_status()
    expect(page.locator("#session")).to_contain_text(re.compile(r"Lease owner\s+no gateway"))
    claim = {"gateway": "gw-1", "capacity": 10, "held": 0}
    httpx.post(f"{service.url}/v1/leases/claim", json=claim).raise_for_status()
    expect(page.locator("#session")).to_contain_text(re.compile(r"Lease owner\s+gw-1"))


def test_where_each_value_of_the_policy_comes_from(
    page: Page, instances: Instances, name: str
) -> None:
    service = instances.service
    httpx.put(f"{service.url}/v1/policy", json={"stable_after_ms": 61_500}).raise_for_status()
    own = {"failure_threshold": 40, "weights": {"tls": 3}}
    httpx.put(f"{service.url}/v1/instances/{name}/policy", json=own).raise_for_status()
    page.goto(address(service, name))
    values = page.locator("#policy")
    rows = {
        "Threshold": "40 override",
        "Stable after": "61.5 s fleet",
        "Cooldown": "10 min default",
        "TLS error": "3 override",
        "timeout": "1 default",
    }
    for field, words in rows.items():
        header = page.get_by_role("rowheader", name=field, exact=True)
        row = values.get_by_role("row").filter(has=header)
        assert re.sub(r"\s+", " ", row.inner_text()) == f"{field} {words}"
    values.get_by_role("link", name="Edit the override").click()
    page.wait_for_url(f"{address(service, name)}/policy")
    httpx.delete(f"{service.url}/v1/policy").raise_for_status()


def test_one_that_was_never_seen_is_closed(
    page: Page, faults: Faults, name: str, service: ServiceProcess
) -> None:
    answer = page.goto(address(service, name))
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("#now")).to_contain_text("Closed")
    expect(page.locator("#now")).to_contain_text("Nothing is known of this instance yet")
    expect(page.locator("#window")).to_contain_text("No failure is inside the window.")
    expect(page.locator("#history")).to_contain_text("Nothing has happened yet")
    assert not faults.found


def test_an_id_may_have_all_the_signs_that_ids_have(page: Page, instances: Instances) -> None:
    name = "a.B_9:x@y-z"
    instances.open(name)
    page.goto(f"{instances.service.url}/?prefix=a.B_9")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(re.escape(name)))
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#now .state")).to_have_text("Open")


def test_a_wrong_id_is_said_in_words(page: Page, service: ServiceProcess) -> None:
    for path in ("/instances/a%20b", "/instances/a%20b/policy", f"/instances/{'9' * 129}"):
        answer = page.goto(service.url + path)
        assert answer is not None
        assert answer.status == 400
        expect(page.get_by_role("main")).to_contain_text("1 to 128 of A-Z a-z 0-9 . _ : @ -")


def test_the_guides_page_leads_here(page: Page, instances: Instances, name: str) -> None:
    page.goto(f"{instances.service.url}/reset-circuit-breaker/{name}")
    page.get_by_role("link", name="History, failures and policy").click()
    page.wait_for_url(address(instances.service, name))


# ---------------------------------------------------------------------------- that it is true


def test_it_follows_without_a_reload(
    page: Page, faults: Faults, instances: Instances, name: str
) -> None:
    page.goto(address(instances.service, name))
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.evaluate("window.kept = true")  # a reload would forget it
    instances.fail(name, 3)
    expect(page.locator(".timeline figcaption")).to_have_text(re.compile("^3 of 15"))
    instances.fail(name, 12)
    expect(page.locator("#now .state")).to_have_text("Open")
    expect(machine(page)).to_have_attribute("aria-label", re.compile("From Closed: trip"))
    expect(page.locator("#history tbody tr")).to_have_count(1)
    instances.reset(name)
    expect(page.locator("#now .state")).to_have_text("Closed")
    expect(machine(page)).to_have_attribute("aria-label", re.compile("From Open: reset"))
    expect(page.locator("#window")).to_contain_text("No failure is inside the window.")
    assert page.evaluate("window.kept")
    assert not faults.found


def test_it_follows_this_instance_alone(page: Page, instances: Instances, name: str) -> None:
    page.goto(address(instances.service, name))
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    instances.open(f"{name}-other")
    instances.trip(name, "now this one")
    expect(page.locator("#now .state")).to_have_text("Forced open")
    expect(page.locator("#history tbody tr")).to_have_count(1)


# -------------------------------------------------------------------------------- what it does


def test_disabling_by_keys_and_lifting_it(operator: Page, instances: Instances, name: str) -> None:
    operator.get_by_role("link", name="Disable …").focus()
    operator.keyboard.press("Enter")
    dialog = operator.get_by_role("dialog", name=f"Disable the breaker of {name}?")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    operator.keyboard.type("a pilot")
    operator.keyboard.press("Tab")
    expect(dialog.get_by_label("For how long")).to_be_focused()
    operator.keyboard.type("6 h")
    operator.keyboard.press("Tab")
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("status")).to_contain_text(f"The breaker of {name} is disabled.")
    expect(operator.locator("#now .state")).to_have_text("Disabled")
    expect(operator.locator("#now")).to_contain_text("a pilot")
    expect(operator.locator("#now .countdown")).to_contain_text("5 h 59 min")
    expect(operator.get_by_role("link", name="Disable …")).to_have_count(0)
    operator.get_by_role("link", name="Lift, and close at once").click()
    operator.get_by_role("dialog").get_by_role("button", name="Reset circuit breaker").click()
    expect(operator.locator("#now .state")).to_have_text("Closed")
    assert instances.history(name) == ["reset", "disable"]


def test_forcing_open_takes_a_reason(operator: Page, instances: Instances, name: str) -> None:
    operator.get_by_role("link", name="Force open …").click()
    dialog = operator.get_by_role("dialog")
    dialog.get_by_role("button", name="Force open").click()
    expect(dialog.get_by_label("Reason")).to_be_focused()  # it is missing
    assert instances.state(name) == "closed"
    dialog.get_by_label("Reason").fill("abuse report")
    dialog.get_by_role("button", name="Force open").click()
    expect(operator.get_by_role("status")).to_contain_text(f"{name} is forced open.")
    expect(operator.locator("#history tbody tr").first).to_contain_text("operations")
    expect(operator.locator("#history tbody tr").first).to_contain_text("abuse report")


def test_a_ban_is_lifted_by_force_alone(operator: Page, instances: Instances, name: str) -> None:
    instances.ban(name)
    expect(operator.locator("#now")).to_contain_text("WhatsApp has banned this session")
    expect(operator.get_by_role("link", name="Reset circuit breaker")).to_have_count(0)
    operator.get_by_role("link", name="Lift the ban …").click()
    dialog = operator.get_by_role("dialog", name=f"Lift the ban of {name}?")
    dialog.get_by_label("Reason").fill("WhatsApp said it was a mistake")
    dialog.get_by_role("button", name="Lift the ban").click()
    expect(operator.get_by_role("status")).to_contain_text(f"The ban of {name} is lifted")
    expect(operator.locator("#now .state")).to_have_text("Closed")
    assert [entry["reason"] for entry in instances.resets(name)] == [
        "WhatsApp said it was a mistake"
    ]


def test_sent_twice_it_is_done_once(operator: Page, instances: Instances, name: str) -> None:
    operator.get_by_role("link", name="Disable …").click()
    operator.get_by_label("Reason").fill("twice")
    operator.get_by_role("dialog").get_by_role("button", name="Disable").dblclick()
    expect(operator.get_by_role("status")).to_contain_text("disabled")
    assert instances.history(name) == ["disable"]


def test_without_scripts_it_can_be_read_and_done(
    plain: Page, instances: Instances, name: str
) -> None:
    instances.open(name)
    plain.goto(address(instances.service, name))
    expect(machine(plain)).to_be_visible()
    expect(plain.locator("#live")).to_contain_text("Reload for news")
    plain.get_by_role("link", name="Disable …").click()
    plain.get_by_label("Reason").fill("without scripts")
    plain.get_by_role("button", name="Disable").click()
    plain.wait_for_url(re.compile(f"/instances/{name}\\?said="))
    expect(plain.get_by_role("status")).to_contain_text("is disabled")
    expect(plain.locator("#now .state")).to_have_text("Disabled")


def test_a_viewer_looks_and_does_nothing(
    page: Page, faults: Faults, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.open(name)
    page.goto(address(guarded, name))
    log_in(page, VIEWER.token)
    page.wait_for_url(address(guarded, name))
    expect(page.locator("#now .state")).to_have_text("Open")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    # They do not come with what is sent later, either.
    instances.trip(name, "so that something is sent")
    expect(page.locator("#now .state")).to_have_text("Forced open")
    assert page.get_by_role("group", name="Actions").count() == 0
    assert not faults.found
    for verb in ("reset", "trip", "disable", "force"):
        answer = page.goto(f"{address(guarded, name)}/{verb}")
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading")).to_have_text("Not allowed")
    assert instances.state(name) == "forced_open"
