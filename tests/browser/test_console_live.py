"""The fleet page as it is kept current: without a reload, and saying so when it is not."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Faults
from tests.resetting import Instances
from tests.servers import RedisServer
from tests.serving import ServiceProcess


def test_a_trip_appears_and_a_reset_disappears(
    page: Page, faults: Faults, instances: Instances, name: str
) -> None:
    page.goto(f"{instances.service.url}/?prefix={name}")
    expect(page.get_by_text("There is no such instance in this state.")).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.evaluate("window.kept = true")  # a reload would forget it
    instances.open(name)
    row = page.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("too many failures")
    expect(row).to_contain_text("15/15")
    expect(row).to_contain_text("WebSocket error")
    instances.reset(name)
    expect(row).to_have_count(0)
    assert page.evaluate("window.kept")
    assert not faults.found


def test_the_figures_follow(page: Page, instances: Instances, name: str) -> None:
    page.goto(f"{instances.service.url}/?state=all&prefix={name}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    known = page.locator(".tile", has_text="Instances").locator("b")
    before = int(known.inner_text().replace(",", ""))
    instances.fail(name, 3)
    expect(known).to_have_text(f"{before + 1:,}")
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("3/15")


def test_failures_are_drawn_minute_by_minute(page: Page, instances: Instances, name: str) -> None:
    page.goto(instances.service.url)
    chart = page.get_by_role("img", name=re.compile("Failures per minute"))
    before = int(re.findall(r"([\d,]+) in all", chart.get_attribute("aria-label") or "")[0])
    instances.fail(name, 11)
    expect(chart).to_have_attribute("aria-label", re.compile(f"{before + 11} in all"))
    assert page.locator("#chart rect").count() >= 1


def test_the_time_left_counts_down_by_itself(page: Page, instances: Instances, name: str) -> None:
    instances.open(name)
    page.goto(f"{instances.service.url}/?prefix={name}")
    left = page.locator("time[data-left-ms]")
    before = left.inner_text()
    assert re.fullmatch(r"9 min \d+ s|10 min", before)
    expect(left).not_to_have_text(before)
    assert re.fullmatch(r"9 min( \d+ s)?", left.inner_text())


def test_news_do_not_take_the_focus(page: Page, instances: Instances, name: str) -> None:
    instances.open(f"{name}-a")
    page.goto(f"{instances.service.url}/?prefix={name}")
    link = page.get_by_role("link", name=f"Reset {name}-a")
    link.focus()
    instances.open(f"{name}-b")
    expect(page.get_by_role("row").filter(has_text=f"{name}-b")).to_be_visible()
    expect(link).to_be_focused()
    # What had it goes: the way on begins at the list.
    instances.reset(f"{name}-a")
    expect(page.locator("#list")).to_be_focused()


def test_a_page_can_be_paused(page: Page, instances: Instances, name: str) -> None:
    page.goto(f"{instances.service.url}/?prefix={name}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Pause").click()
    page.evaluate(
        "document.body.addEventListener('htmx:sseBeforeMessage', event => {"
        "if (event.target.id === 'list') document.title = 'told' })"
    )
    instances.open(name)
    expect(page).to_have_title("told")
    expect(page.locator("#live")).to_contain_text("Paused")
    assert page.get_by_role("row").filter(has_text=name).count() == 0
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("row").filter(has_text=name)).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_page_says_when_it_is_not_live_and_goes_on_by_itself(
    page: Page, redis: RedisServer, instances: Instances, name: str
) -> None:
    with ServiceProcess(redis.url) as replica:
        page.goto(f"{replica.url}/?prefix={name}")
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        replica.kill()
        expect(page.get_by_role("alert")).to_have_text("Not live, reconnecting")
        instances.open(name)  # by way of another replica
        replica.start()
        expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=30_000)
        expect(page.get_by_role("row").filter(has_text=name)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_reason_is_text_whatever_it_is(
    page: Page, faults: Faults, instances: Instances, name: str
) -> None:
    page.goto(f"{instances.service.url}/?state=forced_open&prefix={name}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    reason = "<b>bold</b>\r\n\r\nevent: beat\rdata: <script>alert(1)</script>"
    instances.trip(name, reason)
    row = page.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("<b>bold</b> event: beat data: <script>alert(1)</script>")
    assert not faults.found


def test_the_fleet_guard_is_announced(page: Page, instances: Instances) -> None:
    page.goto(instances.service.url)
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    instances.trip_guard("the network is being changed")
    banner = page.get_by_text("An operator paces the whole fleet.")
    expect(banner).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("Permits are paced to 20 a second.")
    expect(page.locator("#summary")).to_contain_text("the network is being changed")
    instances.reset_guard()
    expect(banner).to_have_count(0)


def test_without_redis_the_page_says_so_and_comes_back(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("away")) as redis,
        ServiceProcess(redis.url) as replica,
    ):
        page.goto(f"{replica.url}/?state=all")
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        with redis.away("killed"):
            expect(page.get_by_text("Redis cannot be reached. Decisions go on")).to_be_visible()
            expect(page.get_by_text("so the instances cannot be listed now")).to_be_visible()
            page.reload()
            expect(page.get_by_text("Redis cannot be reached. Decisions go on")).to_be_visible()
        expect(page.get_by_text("No gateway has asked for an instance yet.")).to_be_visible(
            timeout=30_000
        )
