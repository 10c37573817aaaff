"""The instance's and the policy's pages by their requests: forms, streams, and Redis away."""

import re
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.resetting import OPERATOR, VIEWER, Instances, inline
from tests.servers import RedisServer
from tests.serving import PATIENT, ServiceProcess

HTML: Final = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis.url, **PATIENT) as process:
        yield process


@pytest.fixture(scope="module")
def instances(service: ServiceProcess) -> Iterator[Instances]:
    instances = Instances(service)
    yield instances
    instances.close()


@pytest.fixture
def browser(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=HTML, timeout=10) as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An instance of the test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100].strip("-")


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What the page's form would send."""
    form = re.search(r'<form (?:id="policy-form"|class="form").*?</form>', page.text, re.DOTALL)
    assert form, page.text
    return dict(re.findall(r'name="([\w.]+)" value="([^"]*)"', form[0]))


def test_reading_writes_nothing(
    redis: RedisServer, browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    with redis.client() as client:
        before = {key: client.dump(key) for key in client.scan_iter(f"*{name}*")}
        assert before
        for path in ("", "/policy", "/disable", "/force", "/policy/drop", "?history=all"):
            assert browser.get(f"/instances/{name}{path}").status_code == 200
        assert browser.get(f"/instances/{name}-never").status_code == 200
        assert {key: client.dump(key) for key in client.scan_iter(f"*{name}*")} == before
    assert instances.history(name) == ["trip"]


@pytest.mark.parametrize("verb", ["disable", "force"])
def test_a_form_without_its_token_changes_nothing(
    browser: httpx.Client, instances: Instances, name: str, verb: str
) -> None:
    instances.ban(name)
    page = browser.get(f"/instances/{name}/{verb}")
    form = fields_of(page) | {"reason": "why", "for_ms": "0"}
    other = fields_of(browser.get(f"/instances/{name}-other/{verb}"))["csrf"]
    for token in ("", "a.b.c", other):
        answer = browser.post(f"/instances/{name}/{verb}", data=form | {"csrf": token})
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text
    assert instances.history(name) == ["ban"]
    assert browser.post(f"/instances/{name}/{verb}", data=form).status_code == 303
    assert instances.history(name)[0] in {"disable", "reset"}


@pytest.mark.parametrize("verb", ["disable", "trip", "force"])
def test_a_form_that_was_sent_before_does_nothing_more(
    browser: httpx.Client, instances: Instances, name: str, verb: str
) -> None:
    instances.ban(name)
    sent = {"reason": "why", "for_ms": "0"}
    form = fields_of(browser.get(f"/instances/{name}/{verb}")) | sent
    for said in ("is", "already"):
        answer = browser.post(f"/instances/{name}/{verb}", data=form)
        assert answer.status_code == 303
        page = browser.get(answer.headers["location"])
        found = re.search(r'id="said".*?</p>', page.text, re.DOTALL)
        assert found
        assert said in found[0]
    assert len(instances.history(name)) == 2


@pytest.mark.parametrize("verb", ["disable", "force"])
def test_what_has_changed_meanwhile_is_looked_at_again(
    browser: httpx.Client, instances: Instances, name: str, verb: str
) -> None:
    instances.ban(name)
    form = fields_of(browser.get(f"/instances/{name}/{verb}"))
    instances.trip(name, "isolated by a colleague")
    answer = browser.post(f"/instances/{name}/{verb}", data=form | {"reason": "why", "for_ms": "0"})
    assert answer.status_code == 409
    assert "no longer as it was shown" in answer.text
    assert instances.history(name) == ["force_open", "ban"]


def test_a_ban_is_not_lifted_without_a_reason(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.ban(name)
    form = fields_of(browser.get(f"/instances/{name}/force")) | {"reason": " "}
    answer = browser.post(f"/instances/{name}/force", data=form)
    assert answer.status_code == 400
    assert "A reason is needed" in answer.text
    assert instances.history(name) == ["ban"]


@pytest.mark.parametrize("path", ["/policy", "/policy/drop"])
def test_a_page_of_another_site_cannot_change_the_policy(
    service: ServiceProcess, browser: httpx.Client, path: str
) -> None:
    httpx.put(f"{service.url}/v1/policy", json={"probes": 1}).raise_for_status()
    form = fields_of(browser.get(path))
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = browser.post(path, data=form | {"policy.probes": "9"}, headers=foreign)
    assert answer.status_code == 403
    assert httpx.get(f"{service.url}/v1/policy").json()["set"] == {"probes": 1}
    httpx.delete(f"{service.url}/v1/policy").raise_for_status()


def test_an_override_cannot_have_what_is_the_fleets_alone(browser: httpx.Client, name: str) -> None:
    form = fields_of(browser.get(f"/instances/{name}/policy"))
    answer = browser.post(
        f"/instances/{name}/policy", data=form | {"policy.fleet_guard.share": "0.5"}
    )
    assert answer.status_code == 400
    assert "fleet" in answer.text


def test_what_is_typed_is_shown_and_not_run(browser: httpx.Client) -> None:
    form = fields_of(browser.get("/policy"))
    typed = '"><script>alert(1)</script>'
    answer = browser.post("/policy", data=form | {"policy.probes": typed, "basis": typed})
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text


def test_the_stream_sends_each_part_and_then_what_has_changed(
    service: ServiceProcess, instances: Instances, name: str
) -> None:
    with httpx.stream("GET", f"{service.url}/instances/{name}/live", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()

        def events_until(last: str) -> list[str]:
            events = []
            for line in lines:
                if line.startswith("event: "):
                    events.append(line.removeprefix("event: "))
                    if events[-1] == last:
                        return events
                    assert len(events) < 12, events
            raise AssertionError("the stream has ended")

        assert events_until("beat") == ["now", "window", "session", "policy", "history", "beat"]
        # A sign of life comes anyway, and nothing else.
        assert events_until("beat") == ["beat"]
        instances.trip(name, "why")
        assert set(events_until("history")) - {"beat"} == {"now", "history"}


def test_a_stream_of_a_wrong_id_is_refused(service: ServiceProcess) -> None:
    assert httpx.get(f"{service.url}/instances/a%20b/live").status_code == 400


def test_who_is_not_logged_in_is_asked_to_and_led_back(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, tokens=inline(OPERATOR, VIEWER), **PATIENT) as guarded:
        for path in ("/policy", "/instances/one?history=all", "/instances/one/policy"):
            answer = httpx.get(guarded.url + path, headers=HTML)
            assert answer.status_code == 303
            where = httpx.URL(answer.headers["location"])
            assert (where.path, where.params["next"]) == ("/login", path)
        assert httpx.get(f"{guarded.url}/instances/one/live").status_code == 401


def test_without_redis_it_shows_what_is_known_and_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("away")) as redis,
        ServiceProcess(redis.url) as service,
        httpx.Client(base_url=service.url, headers=HTML, timeout=20) as browser,
    ):
        instances = Instances(service)
        instances.open("one")
        form = fields_of(browser.get("/policy"))
        disable = fields_of(browser.get("/instances/one/disable"))
        with redis.away("killed"):
            page = browser.get("/instances/one")
            assert page.status_code == 200
            assert "Redis cannot be reached. This is what was last known" in page.text
            assert '<span class="state open">' in page.text
            assert page.text.count("so this cannot be shown now") == 2  # history and session
            for path in ("/policy", "/instances/one/policy"):
                refused = browser.get(path)
                assert refused.status_code == 503
                assert "Redis cannot be reached" in refused.text
            assert browser.post("/policy", data=form | {"policy.probes": "1"}).status_code == 503
            hold = disable | {"reason": "why", "for_ms": "0"}
            assert browser.post("/instances/one/disable", data=hold).status_code == 503
        instances.close()
