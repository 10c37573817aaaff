"""The policy's pages in a real Chromium: edited, previewed, and never silently overwritten."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import Faults, log_in
from tests.resetting import VIEWER, Instances
from tests.serving import ServiceProcess


@pytest.fixture(autouse=True)
def _defaults(service: ServiceProcess) -> Iterator[None]:
    """Each test begins with a fleet for which nothing is set."""
    httpx.delete(f"{service.url}/v1/policy").raise_for_status()
    yield
    httpx.delete(f"{service.url}/v1/policy").raise_for_status()


@pytest.fixture
def operator(page: Page, service: ServiceProcess) -> Page:
    """On the fleet's policy; without tokens everybody is an operator."""
    page.goto(f"{service.url}/policy")
    return page


@pytest.fixture
def plain(chromium: Browser) -> Iterator[Page]:
    """A browser without JavaScript."""
    with chromium.new_context(java_script_enabled=False, locale="en-US") as profile:
        profile.set_default_timeout(15_000)
        yield profile.new_page()


def what_is_set(service: ServiceProcess, instance_id: str | None = None) -> dict[str, Any]:
    path = f"/v1/instances/{instance_id}/policy" if instance_id else "/v1/policy"
    return dict(httpx.get(service.url + path).raise_for_status().json()["set"])


def change(service: ServiceProcess, patch: object, instance_id: str | None = None) -> None:
    """Change it as somebody else would, over the API."""
    path = f"/v1/instances/{instance_id}/policy" if instance_id else "/v1/policy"
    httpx.put(service.url + path, json=patch).raise_for_status()


# ------------------------------------------------------------------------------------- editing


def test_every_kind_of_field_is_set_and_taken_back(
    operator: Page, faults: Faults, service: ServiceProcess
) -> None:
    operator.get_by_label("Threshold", exact=True).fill("20")
    operator.get_by_label("Window", exact=True).fill("90.5")
    operator.get_by_label("Success clears").select_option("yes")
    operator.get_by_label("Jitter").fill("0.35")
    operator.get_by_label("TLS error").fill("0")
    operator.get_by_label("timeout").fill("4")
    operator.get_by_label("May open by itself").select_option("no")
    operator.get_by_label("First rate").fill("12.5")
    operator.get_by_role("button", name="Save").click()
    said = operator.locator("#said")
    expect(said).to_contain_text("The policy is saved and in force.")
    expect(said).to_be_focused()
    assert what_is_set(service) == {
        "failure_threshold": 20,
        "window_ms": 90_500,
        "success_clears": True,
        "backoff": {"jitter": 0.35},
        "weights": {"tls": 0, "timeout": 4},
        "fleet_guard": {"enabled": False, "rate_per_s": 12.5},
    }
    expect(operator.get_by_label("Window", exact=True)).to_have_value("90.5")
    operator.get_by_label("Window", exact=True).fill("")
    operator.get_by_label("timeout").fill("")
    operator.get_by_label("May open by itself").select_option("")
    operator.get_by_role("button", name="Save").click()
    expect(said).to_contain_text("saved")
    assert what_is_set(service) == {
        "failure_threshold": 20,
        "success_clears": True,
        "backoff": {"jitter": 0.35},
        "weights": {"tls": 0},
        "fleet_guard": {"rate_per_s": 12.5},
    }
    assert not faults.found


def test_each_field_says_its_unit_its_default_and_its_limits(operator: Page) -> None:
    window = operator.get_by_label("Window", exact=True)
    expect(window).to_have_accessible_description(
        "How long a failure counts. default: 300 s · 1 to 86400 s"
    )
    expect(window).to_have_attribute("placeholder", "300")
    expect(operator.get_by_label("Share failing")).to_have_accessible_description(
        re.compile("default: 0.5 · above 0, to 1")
    )


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    operator: Page, faults: Faults, service: ServiceProcess
) -> None:
    typed = {"Threshold": "lots", "Window": "0.5", "Cooldown": "10", "Jitter": "2"}
    for label, text in typed.items():
        operator.get_by_label(label, exact=True).fill(text)
    operator.get_by_role("button", name="Save").click()
    alert = operator.get_by_role("alert")
    expect(alert).to_contain_text("Nothing was changed")
    for label, text in typed.items():
        field = operator.get_by_label(label, exact=True)
        expect(field).to_have_value(text)
        wrong = label != "Cooldown"
        assert (field.get_attribute("aria-invalid") == "true") == wrong
    expect(operator.get_by_label("Threshold", exact=True)).to_have_accessible_description(
        re.compile("takes 1 to 10000")
    )
    alert.get_by_role("link", name="Jitter").click()
    expect(operator.get_by_label("Jitter")).to_be_in_viewport()
    assert what_is_set(service) == {}
    assert not faults.found


def test_fields_that_contradict_each_other(operator: Page, service: ServiceProcess) -> None:
    operator.get_by_label("Longest cooldown").fill("60")
    operator.get_by_role("button", name="Save").click()
    expect(operator.get_by_label("Longest cooldown")).to_have_accessible_description(
        re.compile("must not be below the cooldown")
    )
    assert what_is_set(service) == {}


def test_numbers_are_typed_as_the_readers_language_has_them(
    chromium: Browser, service: ServiceProcess
) -> None:
    with chromium.new_context(locale="id-ID") as profile:
        page = profile.new_page()
        page.goto(f"{service.url}/policy")
        page.get_by_label("Jendela", exact=True).fill("90.500")
        page.get_by_role("button", name="Simpan").click()
        expect(page.get_by_role("alert")).to_contain_text("Tidak ada yang diubah")
        page.get_by_label("Jendela", exact=True).fill("90,5")
        page.get_by_role("button", name="Simpan").click()
        expect(page.locator("#said")).to_contain_text("Kebijakan tersimpan")
        expect(page.get_by_label("Jendela", exact=True)).to_have_value("90,5")
    assert what_is_set(service) == {"window_ms": 90_500}


def test_sent_twice_it_is_changed_once(operator: Page, service: ServiceProcess) -> None:
    before = httpx.get(f"{service.url}/v1/policy").json()["version"]
    operator.get_by_label("Threshold", exact=True).fill("16")
    operator.get_by_role("button", name="Save").dblclick()
    expect(operator.locator("#said")).not_to_be_empty()
    assert what_is_set(service) == {"failure_threshold": 16}
    assert httpx.get(f"{service.url}/v1/policy").json()["version"] == before + 1


def test_back_to_the_defaults_is_asked_first(operator: Page, service: ServiceProcess) -> None:
    change(service, {"failure_threshold": 99, "weights": {"dns": 2}})
    operator.reload()
    operator.get_by_role("link", name="Back to the defaults").click()
    dialog = operator.get_by_role("dialog", name="Go back to the defaults?")
    expect(dialog.get_by_role("listitem")).to_have_text(["Threshold", "name not resolved (DNS)"])
    dialog.get_by_role("link", name="Cancel").click()
    assert what_is_set(service) != {}
    operator.get_by_role("link", name="Back to the defaults").click()
    dialog.get_by_role("button", name="Back to the defaults").click()
    expect(operator.locator("#said")).to_contain_text("taken back")
    assert what_is_set(service) == {}
    expect(operator.get_by_role("link", name="Back to the defaults")).to_have_count(0)


# --------------------------------------------------------------------------------- an override


def test_an_override_lies_over_the_fleets_policy(
    page: Page, faults: Faults, service: ServiceProcess, name: str
) -> None:
    change(service, {"cooldown_ms": 120_000})
    page.goto(f"{service.url}/instances/{name}/policy")
    expect(page.get_by_label("Cooldown", exact=True)).to_have_attribute("placeholder", "120")
    expect(page.get_by_label("Cooldown", exact=True)).to_have_accessible_description(
        re.compile("fleet: 120 s")
    )
    expect(page.get_by_text("Fleet guard")).to_have_count(0)
    page.get_by_label("Threshold", exact=True).fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_contain_text("saved")
    assert what_is_set(service, name) == {"failure_threshold": 3}
    page.get_by_role("link", name="Remove the override").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the override").click()
    expect(page.locator("#said")).to_contain_text("taken back")
    assert what_is_set(service, name) == {}
    assert not faults.found


def test_the_preview_of_an_override_is_of_its_instance(
    page: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.fail(name, 6)
    page.goto(f"{service.url}/instances/{name}/policy")
    page.get_by_label("Threshold", exact=True).fill("6")
    expect(page.locator("#preview")).to_contain_text(
        "With this policy, the last hour would have had 1 trip instead of 0."
    )


# ------------------------------------------------------------------------------------- preview


def test_the_preview_follows_what_is_typed(
    operator: Page, faults: Faults, service: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.fail(f"{name}-0", 11)
    instances.fail(f"{name}-1", 12)
    instances.open(f"{name}-2")
    preview = operator.get_by_role("status").filter(has_text="the last hour")
    threshold = operator.get_by_label("Threshold", exact=True)
    threshold.fill("12")
    expect(preview).to_contain_text("would have tripped 2 instances instead of 1.")
    gained = preview.locator("p", has_text="Tripped only with this policy (1):")
    expect(gained.get_by_role("link")).to_have_text([f"{name}-1"])
    expect(gained.get_by_role("link")).to_have_attribute("href", f"/instances/{name}-1")
    threshold.fill("16")
    expect(preview).to_contain_text("would have tripped 0 instances instead of 1.")
    lost = preview.locator("p", has_text="Tripped only with the policy in force (1):")
    expect(lost.get_by_role("link")).to_have_text([f"{name}-2"])
    threshold.fill("x")
    expect(operator.locator("#preview")).to_contain_text("Some fields cannot be used yet")
    expect(operator.locator("#preview")).to_contain_text("takes 1 to 10000")
    threshold.fill("")
    expect(operator.locator("#preview")).to_contain_text("tripped the same instances")
    operator.get_by_label("WebSocket error").fill("2")
    expect(preview).to_contain_text("would have tripped 3 instances instead of 1.")
    assert what_is_set(service) == {}
    assert not faults.found


def test_enter_previews_and_does_not_save(
    operator: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.fail(name, 2)
    operator.get_by_label("Threshold", exact=True).fill("2")
    operator.keyboard.press("Enter")
    expect(operator.locator("#preview")).to_contain_text(name)
    assert what_is_set(service) == {}


def test_without_scripts_it_is_previewed_and_saved_by_buttons(
    plain: Page, service: ServiceProcess, instances: Instances, name: str
) -> None:
    instances.fail(name, 4)
    plain.goto(f"{service.url}/policy")
    plain.get_by_label("Threshold", exact=True).fill("4")
    plain.get_by_role("button", name="Preview").click()
    expect(plain.locator("#preview")).to_contain_text(name)
    expect(plain.get_by_label("Threshold", exact=True)).to_have_value("4")
    assert what_is_set(service) == {}
    plain.get_by_role("button", name="Save").click()
    expect(plain.locator("#said")).to_contain_text("saved")
    assert what_is_set(service) == {"failure_threshold": 4}
    plain.get_by_role("link", name="Back to the defaults").click()
    plain.get_by_role("button", name="Back to the defaults").click()
    assert what_is_set(service) == {}


# ------------------------------------------------------------------------------------ together


def test_whoever_comes_second_is_told_and_overwrites_knowingly(
    operator: Page, service: ServiceProcess
) -> None:
    operator.get_by_label("Threshold", exact=True).fill("21")
    operator.get_by_label("Jitter").fill("0.5")
    change(service, {"failure_threshold": 30, "window_ms": 60_000})
    operator.get_by_role("button", name="Save").click()
    expect(operator.get_by_role("alert")).to_contain_text("somebody else has changed this policy")
    assert what_is_set(service) == {"failure_threshold": 30, "window_ms": 60_000}
    expect(operator.get_by_label("Threshold", exact=True)).to_have_value("21")
    expect(operator.get_by_text("Set now: 30")).to_be_visible()
    expect(operator.get_by_text("Set now: 60")).to_be_visible()
    operator.get_by_role("button", name="Save over it").click()
    expect(operator.locator("#said")).to_contain_text("saved")
    assert what_is_set(service) == {"failure_threshold": 21, "backoff": {"jitter": 0.5}}


def test_a_policy_that_was_removed_and_set_anew_is_another_one(
    page: Page, service: ServiceProcess, name: str
) -> None:
    change(service, {"failure_threshold": 5}, name)
    page.goto(f"{service.url}/instances/{name}/policy")
    httpx.delete(f"{service.url}/v1/instances/{name}/policy").raise_for_status()
    change(service, {"failure_threshold": 6}, name)  # its version is the same as before
    page.get_by_label("Threshold", exact=True).fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("somebody else has changed this policy")
    assert what_is_set(service, name) == {"failure_threshold": 6}


def test_taking_back_what_somebody_else_has_changed_meanwhile(
    operator: Page, service: ServiceProcess
) -> None:
    change(service, {"failure_threshold": 30})
    operator.reload()
    operator.get_by_role("link", name="Back to the defaults").click()
    expect(operator.get_by_role("dialog")).to_be_visible()
    change(service, {"window_ms": 60_000})
    dialog = operator.get_by_role("dialog")
    dialog.get_by_role("button", name="Back to the defaults").click()
    expect(dialog.get_by_role("alert")).to_contain_text("somebody else")
    expect(dialog.get_by_role("listitem")).to_have_text(["Threshold", "Window"])
    assert what_is_set(service) == {"failure_threshold": 30, "window_ms": 60_000}


def test_a_viewer_reads_and_cannot_change(
    page: Page, faults: Faults, guarded: ServiceProcess, service: ServiceProcess
) -> None:
    change(service, {"failure_threshold": 33})
    page.goto(f"{guarded.url}/policy")
    log_in(page, VIEWER.token)
    page.wait_for_url(f"{guarded.url}/policy")
    header = page.get_by_role("rowheader", name="Threshold", exact=True)
    expect(page.get_by_role("row").filter(has=header)).to_contain_text("33")
    assert page.get_by_role("main").get_by_role("button").count() == 0
    assert page.get_by_role("main").get_by_role("textbox").count() == 0
    assert not faults.found
    answer = page.goto(f"{guarded.url}/policy/drop")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("heading")).to_have_text("Not allowed")
    for path in ("/policy", "/policy/preview", "/policy/drop"):
        refused = page.request.post(f"{guarded.url}{path}", form={"policy.probes": "1"})
        assert refused.status == 403
    assert what_is_set(service) == {"failure_threshold": 33}


def test_a_form_that_is_not_ours_changes_nothing(operator: Page, service: ServiceProcess) -> None:
    operator.get_by_label("Threshold", exact=True).fill("44")
    operator.evaluate("document.querySelector('[name=csrf]').value = 'forged'")
    operator.get_by_role("button", name="Save").click()
    expect(operator.get_by_role("alert")).to_contain_text("Nothing was changed")
    expect(operator.get_by_label("Threshold", exact=True)).to_have_value("44")
    assert what_is_set(service) == {}
    operator.get_by_role("button", name="Save").click()
    expect(operator.locator("#said")).to_contain_text("saved")
