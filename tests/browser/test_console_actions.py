"""What people do on the fleet page: search, turn pages, reset, trip; by mouse and by keys."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import Faults, log_in
from tests.resetting import OPERATOR, VIEWER, Instances
from tests.serving import ServiceProcess


@pytest.fixture
def operator(page: Page, guarded: ServiceProcess, name: str) -> Page:
    """Logged in, on the page of the test's own instances."""
    page.goto(f"{guarded.url}/?prefix={name}")
    log_in(page, OPERATOR.token)
    page.wait_for_url(f"{guarded.url}/?prefix={name}")
    return page


@pytest.fixture
def plain(chromium: Browser) -> Iterator[Page]:
    """A browser without JavaScript."""
    with chromium.new_context(java_script_enabled=False, locale="en-US") as profile:
        profile.set_default_timeout(15_000)
        yield profile.new_page()


# ----------------------------------------------------------------------------- reset and trip


def test_a_reset_by_mouse(operator: Page, faults: Faults, instances: Instances, name: str) -> None:
    instances.open(name)
    operator.get_by_role("link", name=f"Reset {name}").click()
    dialog = operator.get_by_role("dialog", name=f"Reset {name}?")
    dialog.get_by_label("Reason").fill("looked at it")
    dialog.get_by_role("button", name="Reset circuit breaker").click()
    expect(operator.get_by_role("status")).to_contain_text(f"{name} was reset.")
    expect(dialog).not_to_be_visible()
    expect(operator.get_by_text("There is no such instance in this state.")).to_be_visible()
    assert instances.state(name) == "closed"
    assert [entry["reason"] for entry in instances.resets(name)] == ["looked at it"]
    assert instances.resets(name)[0]["actor"] == "operations"
    assert not faults.found


def test_a_reset_by_keys_alone(operator: Page, instances: Instances, name: str) -> None:
    instances.open(f"{name}-1")
    instances.open(f"{name}-2")
    operator.reload()
    links = operator.get_by_role("link", name=re.compile(f"Reset {name}"))
    expect(links).to_have_count(2)
    operator.keyboard.press("Tab")
    expect(operator.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(40):
        operator.keyboard.press("Tab")
        if links.first.evaluate("link => link === document.activeElement"):
            break
    expect(links.first).to_be_focused()
    operator.keyboard.press("ArrowDown")
    expect(links.last).to_be_focused()
    chosen = (links.last.get_attribute("id") or "").removeprefix("reset-")
    operator.keyboard.press("Enter")
    expect(operator.get_by_label("Reason")).to_be_focused()
    operator.keyboard.press("Escape")
    expect(operator.get_by_role("dialog")).not_to_be_visible()
    expect(links.last).to_be_focused()
    operator.keyboard.press("Enter")
    expect(operator.get_by_label("Reason")).to_be_focused()
    operator.keyboard.type("by hand")
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("status")).to_contain_text(f"{chosen} was reset.")
    expect(links).to_have_count(1)
    # The keys go on from where they were.
    expect(operator.locator("#list")).to_be_focused()
    assert instances.state(chosen) == "closed"


def test_sent_twice_it_resets_once(operator: Page, instances: Instances, name: str) -> None:
    instances.open(name)
    operator.get_by_role("link", name=f"Reset {name}").click()
    operator.get_by_role("button", name="Reset circuit breaker").dblclick()
    expect(operator.get_by_role("status")).to_contain_text(f"{name} was")
    assert instances.state(name) == "closed"
    assert len(instances.resets(name)) == 1


def test_a_trip_takes_a_reason_and_a_length(
    operator: Page, instances: Instances, name: str
) -> None:
    instances.fail(name)
    operator.get_by_role("link", name="Closed").click()
    operator.get_by_role("link", name=f"Trip {name}").click()
    dialog = operator.get_by_role("dialog", name=f"Force {name} open?")
    dialog.get_by_role("button", name="Force open").click()
    expect(dialog.get_by_label("Reason")).to_be_focused()  # it is missing
    assert instances.state(name) == "closed"
    dialog.get_by_label("Reason").fill("maintenance")
    dialog.get_by_label("For how long").select_option("6 h")
    dialog.get_by_role("button", name="Force open").click()
    expect(operator.get_by_role("status")).to_contain_text(f"{name} is forced open.")
    operator.get_by_role("link", name="Forced open").click()
    row = operator.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("maintenance")
    expect(row).to_contain_text("5 h 59 min")


def test_a_ban_in_force_is_said(operator: Page, instances: Instances, name: str) -> None:
    instances.open(name)
    operator.get_by_role("link", name=f"Reset {name}").click()
    expect(operator.get_by_role("dialog")).to_be_visible()
    instances.reset(name)
    instances.ban(name)  # while the operator reads
    operator.get_by_role("button", name="Reset circuit breaker").click()
    dialog = operator.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was changed")
    expect(dialog).to_contain_text("WhatsApp has banned this session")
    expect(dialog.get_by_role("button")).to_have_count(0)
    dialog.get_by_role("link", name="Close").click()
    expect(dialog).not_to_be_visible()
    assert instances.state(name) == "open"


def test_all_that_is_shown_is_reset_once_it_is_said_how_many(
    operator: Page, instances: Instances, name: str
) -> None:
    for number in range(3):
        instances.open(f"{name}-{number}")
    instances.ban(f"{name}-banned")
    instances.open("not-of-these")
    operator.get_by_role("link", name="Reset all of these").click()
    dialog = operator.get_by_role("dialog", name="Reset 4 instances?")
    expect(dialog).to_contain_text(name)
    dialog.get_by_role("button", name="Reset 4").click()
    said = "Instances reset: 3. Banned, and left as they are: 1."
    expect(operator.get_by_role("status")).to_contain_text(said)
    expect(operator.locator(".rows tbody tr")).to_have_count(1)
    assert instances.state(f"{name}-0") == "closed"
    assert instances.state(f"{name}-banned") == "open"
    assert instances.state("not-of-these") == "open"


# -------------------------------------------------------------------------------- who may what


def test_a_viewer_is_offered_nothing_and_refused_by_url(
    page: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.open(name)
    page.goto(f"{guarded.url}/?prefix={name}")
    log_in(page, VIEWER.token)
    expect(page.get_by_role("row").filter(has_text=name)).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    assert page.get_by_role("link", name=re.compile("Reset|Trip")).count() == 0
    for path in (f"/instances/{name}/reset", f"/instances/{name}/trip", "/resets?state=open"):
        answer = page.goto(guarded.url + path)
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading")).to_have_text("Not allowed")
        assert page.locator("form:not(.who)").count() == 0
    assert instances.state(name) == "open"


def test_a_login_that_has_ended_is_asked_for_again(
    operator: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.open(name)
    link = operator.get_by_role("link", name=f"Reset {name}")
    expect(link).to_be_visible()
    operator.context.clear_cookies()
    link.click()
    operator.wait_for_url(f"{guarded.url}/login**")
    log_in(operator, OPERATOR.token)
    operator.wait_for_url(f"{guarded.url}/?prefix={name}")


# ------------------------------------------------------------------------------ search, pages


def test_a_search_finds_as_it_is_typed_and_is_in_the_address(
    page: Page, faults: Faults, instances: Instances, name: str
) -> None:
    instances.open(f"{name}-x")
    instances.open(f"{name}-y")
    page.goto(instances.service.url)
    box = page.get_by_role("searchbox")
    box.press_sequentially(f"{name}-x")
    expect(page.locator(".rows tbody tr")).to_have_count(1)
    expect(box).to_be_focused()
    expect(box).to_have_value(f"{name}-x")
    expect(page).to_have_url(re.compile(f"prefix={name}-x"))
    page.get_by_role("link", name="Closed").click()
    expect(page.get_by_text("There is no such instance in this state.")).to_be_visible()
    page.go_back()
    expect(page.locator(".rows tbody tr")).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("searchbox")).not_to_have_value(f"{name}-x")
    assert not faults.found


def test_pages_are_turned_there_and_back(page: Page, instances: Instances, name: str) -> None:
    names = {f"{name}-{number:03}" for number in range(120)}
    instances.fail_each(names)
    page.goto(f"{instances.service.url}/?state=closed&prefix={name}")
    seen: list[set[str]] = []
    for turn in range(3):
        expect(page.locator(".rows tbody tr")).to_have_count((50, 50, 20)[turn])
        seen.append(set(page.locator(".rows tbody th").all_inner_texts()))
        if turn < 2:
            page.get_by_role("link", name="Next").click()
            page.wait_for_url(re.compile(".*cursor=" * (turn + 1)))
    assert seen[0] | seen[1] | seen[2] == names
    assert page.get_by_role("link", name="Next").count() == 0
    page.get_by_role("link", name="Previous").click()
    expect(page.locator(".rows tbody tr")).to_have_count(50)
    assert set(page.locator(".rows tbody th").all_inner_texts()) == seen[1]
    page.get_by_role("link", name="First page").click()
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)
    assert set(page.locator(".rows tbody th").all_inner_texts()) == seen[0]


# ---------------------------------------------------------------------------- without scripts


def test_without_scripts_it_is_read_searched_and_turned(
    plain: Page, instances: Instances, name: str
) -> None:
    instances.fail_each({f"{name}-{number:03}" for number in range(60)})
    plain.goto(f"{instances.service.url}/?state=closed")
    expect(plain.get_by_text("Reload for news")).to_be_visible()
    assert plain.get_by_role("button", name="Pause").count() == 0
    plain.get_by_role("searchbox").fill(name)
    plain.get_by_role("button", name="Search").click()
    expect(plain.locator(".rows tbody tr")).to_have_count(50)
    assert "state=closed" in plain.url
    plain.get_by_role("link", name="Next").click()
    expect(plain.locator(".rows tbody tr")).to_have_count(10)


def test_without_scripts_an_operator_resets(
    plain: Page, guarded: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.open(name)
    plain.goto(f"{guarded.url}/?prefix={name}")
    log_in(plain, OPERATOR.token)
    plain.get_by_role("link", name=f"Reset {name}").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text(f"Reset {name}?")
    plain.get_by_label("Reason").fill("no scripts here")
    plain.get_by_role("button", name="Reset circuit breaker").click()
    expect(plain.get_by_role("status")).to_contain_text(f"{name} was reset.")
    assert f"prefix={name}" in plain.url
    plain.reload()
    assert [entry["reason"] for entry in instances.resets(name)] == ["no scripts here"]


def test_it_speaks_indonesian(chromium: Browser, instances: Instances, name: str) -> None:
    instances.open(name)
    with chromium.new_context(locale="id-ID") as profile:
        page = profile.new_page()
        page.goto(f"{instances.service.url}/?prefix={name}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Armada")
        expect(page.locator("#live")).to_contain_text("Langsung")
        row = page.get_by_role("row").filter(has_text=name)
        expect(row).to_contain_text(re.compile(r"9 mnt \d+ dtk"))
        left = row.locator("time[data-left-ms]")
        before = left.inner_text()
        expect(left).not_to_have_text(before)
        expect(left).to_have_text(re.compile(r"9 mnt \d+ dtk"))
