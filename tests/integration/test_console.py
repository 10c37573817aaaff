"""The console by its requests: who gets what, and which forms are taken."""

import base64
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.resetting import OPERATOR, VIEWER, Instances, inline
from tests.servers import RedisServer
from tests.serving import PATIENT, ServiceProcess

HTML: Final = {"Accept": "text/html"}
HTMX: Final = {"Accept": "*/*", "HX-Request": "true", "HX-Target": "dialog"}


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis.url, **PATIENT) as process:
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
def browser(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=HTML, timeout=10) as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An instance of the test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100].strip("-")


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What the page's form would send."""
    form = re.search(r'<form class="form".*?</form>', page.text, re.DOTALL)
    assert form, page.text
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[0]))


def said(answer: httpx.Response, browser: httpx.Client) -> str:
    """What the page says that a form led to."""
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"])
    found = re.search(r'id="said".*?<p[^>]*>([^<]*)', page.text, re.DOTALL)
    assert found
    return found[1].strip()


# ------------------------------------------------------------------------------------- reading


def test_a_program_learns_at_the_root_where_to_go_on(service: ServiceProcess) -> None:
    for accept in ("*/*", "application/json"):
        answer = httpx.get(service.url, headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        for path in ("health", "instances", "openapi"):
            assert httpx.get(service.url + answer.json()[path]).status_code == 200


def test_who_is_not_logged_in_is_asked_to(guarded: ServiceProcess) -> None:
    page = httpx.get(f"{guarded.url}/?state=all&prefix=62", headers=HTML)
    assert page.status_code == 303
    where = urlsplit(page.headers["location"])
    assert where.path == "/login"
    assert parse_qs(where.query)["next"] == ["/?state=all&prefix=62"]
    assert httpx.get(guarded.url).status_code == 401
    assert httpx.get(f"{guarded.url}/fleet/live").status_code == 401
    script = httpx.get(guarded.url, headers=HTMX | {"HX-Current-URL": f"{guarded.url}/?state=all"})
    assert script.status_code == 401
    assert script.headers["hx-redirect"] == "/login?next=%2F%3Fstate%3Dall"


@pytest.mark.parametrize(
    "query",
    [
        "state=ajar",
        "state=",
        "cursor=9999:x",
        "cursor=open",
        "cursor=1:%20",
        "state=all&cursor=1:a",
    ],
)
@pytest.mark.parametrize("path", ["/", "/fleet/live"])
def test_an_address_that_no_page_gave_is_refused(
    service: ServiceProcess, path: str, query: str
) -> None:
    answer = httpx.get(f"{service.url}{path}?{query}", headers=HTML)
    assert answer.status_code == 400
    assert "state takes one of" in answer.text or "cursor is not one" in answer.text


def test_a_script_is_told_the_address_of_what_it_shows(browser: httpx.Client) -> None:
    def pushed(current: str) -> str | None:
        shown = {"HX-Current-URL": str(browser.base_url).rstrip("/") + current}
        answer = browser.get("/?prefix=62&state=all", headers=HTMX | shown)
        found: str | None = answer.headers.get("hx-push-url")
        return found

    assert pushed("/") == "/?state=all&prefix=62"
    assert pushed("/?state=all") == "/?state=all&prefix=62"
    assert pushed("/?state=all&prefix=62") is None
    assert pushed("/?prefix=62&state=all") is None  # it was read anew
    assert "hx-push-url" not in browser.get("/").headers


def test_reading_changes_nothing(
    browser: httpx.Client, redis: RedisServer, instances: Instances, name: str
) -> None:
    instances.open(name)
    with redis.client() as client:
        before = instances.history(name), client.info("keyspace")["db0"]["keys"]
        for path in ("/", "/?state=all", f"/instances/{name}/reset", f"/instances/{name}/trip"):
            assert browser.get(path).status_code == 200
        assert browser.get(f"/resets?prefix={name}").status_code == 200
        assert (instances.history(name), client.info("keyspace")["db0"]["keys"]) == before


def test_an_instance_that_cannot_be_is_refused_readably(browser: httpx.Client) -> None:
    page = browser.get("/instances/no%20such/reset")
    assert page.status_code == 400
    assert "An instance is named by 1 to 128" in page.text


# --------------------------------------------------------------------------------------- forms


def test_a_form_of_another_browser_is_shown_afresh(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    form = fields_of(browser.get(f"/instances/{name}/reset"))
    browser.cookies.clear()
    answer = browser.post(f"/instances/{name}/reset", data=form)
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.text
    assert instances.state(name) == "open"
    fresh = fields_of(answer)
    assert browser.post(f"/instances/{name}/reset", data=fresh).status_code == 303
    assert instances.state(name) == "closed"


def test_a_form_is_for_one_instance_and_one_purpose(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    other = fields_of(browser.get("/instances/other/reset"))
    trip = fields_of(browser.get(f"/instances/{name}/trip"))
    for token in (other["csrf"], trip["csrf"], "", "a.b.c"):
        form = {**fields_of(browser.get(f"/instances/{name}/reset")), "csrf": token}
        assert browser.post(f"/instances/{name}/reset", data=form).status_code == 403
    assert instances.state(name) == "open"


def test_another_site_cannot_send_a_form(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    form = fields_of(browser.get(f"/instances/{name}/reset"))
    elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    answer = browser.post(f"/instances/{name}/reset", data=form, headers=elsewhere)
    assert answer.status_code == 403
    assert instances.state(name) == "open"


def test_a_form_that_was_sent_before_does_nothing_more(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    form = fields_of(browser.get(f"/instances/{name}/reset"))
    assert "was reset" in said(browser.post(f"/instances/{name}/reset", data=form), browser)
    instances.fail(name, 3)
    again = browser.post(f"/instances/{name}/reset", data=form)
    assert "was closed already; nothing was changed" in said(again, browser)
    assert instances.failures(name) == 3
    form = fields_of(browser.get(f"/instances/{name}/trip")) | {"reason": "why", "for_ms": "0"}
    assert "is forced open" in said(browser.post(f"/instances/{name}/trip", data=form), browser)
    again = browser.post(f"/instances/{name}/trip", data=form)
    assert "was forced open already; nothing was changed" in said(again, browser)
    assert instances.history(name).count("force_open") == 1


def test_what_has_changed_meanwhile_is_looked_at_again(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.fail(name)
    form = fields_of(browser.get(f"/instances/{name}/reset"))
    instances.trip(name, "isolated by a colleague")
    answer = browser.post(f"/instances/{name}/reset", data=form)
    assert answer.status_code == 409
    assert "no longer as it was shown" in answer.text
    assert "Forced open" in answer.text
    assert instances.state(name) == "forced_open"


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"reason": ""}, "A reason is needed"),
        ({"reason": "  "}, "A reason is needed"),
        ({"reason": "x" * 501}, "A reason is needed"),
        ({"reason": "why", "for_ms": "soon"}, "for_ms"),
        ({"reason": "why", "for_ms": "-1"}, "for_ms"),
    ],
)
def test_a_trip_without_its_facts_is_refused(
    browser: httpx.Client, instances: Instances, name: str, sent: dict[str, str], says: str
) -> None:
    form = fields_of(browser.get(f"/instances/{name}/trip"))
    answer = browser.post(f"/instances/{name}/trip", data=form | sent)
    assert answer.status_code == 400
    assert says in answer.text
    assert instances.state(name) == "closed"


def test_a_form_leads_to_pages_of_this_site_only(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    for elsewhere in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"):
        instances.open(name)
        form = fields_of(browser.get(f"/instances/{name}/reset")) | {"back": elsewhere}
        answer = browser.post(f"/instances/{name}/reset", data=form)
        assert answer.headers["location"].startswith("/?said=")


def test_nobody_makes_up_what_was_done(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    form = fields_of(browser.get(f"/instances/{name}/reset"))
    genuine = browser.post(f"/instances/{name}/reset", data=form).headers["location"]
    assert "was reset" in browser.get(genuine).text
    signed = parse_qs(urlsplit(genuine).query)["said"][0]
    packed, _, proof = signed.partition(".")
    sentence = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    other = base64.urlsafe_b64encode(sentence.replace(b"said_reset", b"said_tripp")).decode()
    for forged in (f"{other.rstrip('=')}.{proof}", f"{packed}.9{proof}", f"{packed}.{proof}0", "."):
        page = browser.get("/", params={"said": forged})
        assert page.status_code == 200
        assert 'class="notice' not in page.text


def test_a_script_gets_the_form_and_the_sentence_alone(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    dialog = browser.get(f"/instances/{name}/reset", headers=HTMX)
    assert "<html" not in dialog.text
    answer = browser.post(f"/instances/{name}/reset", data=fields_of(dialog), headers=HTMX)
    assert answer.status_code == 200
    assert answer.headers["hx-retarget"] == "#said"
    assert f"{name} was reset." in answer.text
    assert "<html" not in answer.text


# ------------------------------------------------------------------------------- many at once


def test_far_more_than_were_confirmed_are_confirmed_anew(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(f"{name}-0")
    query = f"/resets?state=open&prefix={name}"
    form = fields_of(browser.get(query))
    assert form["count"] == "1"
    for number in range(1, 14):
        instances.open(f"{name}-{number}")
    answer = browser.post("/resets", data=form)
    assert answer.status_code == 409
    assert "Reset 14 instances?" in answer.text
    assert instances.state(f"{name}-0") == "open"
    assert "Instances reset: 14." in said(browser.post("/resets", data=fields_of(answer)), browser)
    again = said(browser.post("/resets", data=fields_of(answer)), browser)
    assert "Instances reset: 0." in again


@pytest.mark.parametrize("count", ["", "-1", "many", "1e9", "9" * 30])
def test_a_number_that_no_form_has_shown_is_refused(browser: httpx.Client, count: str) -> None:
    form = fields_of(browser.get("/resets?state=open&prefix=none")) | {"count": count}
    assert browser.post("/resets", data=form).status_code == 400


# ----------------------------------------------------------------------------- who may do what


def test_a_viewer_may_look_and_do_nothing(guarded: ServiceProcess, instances: Instances) -> None:
    instances.open("looked-at")
    viewer = {"Authorization": f"Bearer {VIEWER.token}"} | HTML
    page = httpx.get(f"{guarded.url}/?prefix=looked-at", headers=viewer)
    assert "looked-at" in page.text
    assert "/instances/looked-at/" not in page.text
    for path in ("/instances/looked-at/reset", "/instances/looked-at/trip", "/resets"):
        for method in ("GET", "POST"):
            answer = httpx.request(method, guarded.url + path, headers=viewer)
            assert answer.status_code == 403
            assert "Not allowed" in answer.text
    assert instances.state("looked-at") == "open"


# ----------------------------------------------------------------------------------- the stream


def test_the_stream_ends_with_its_replica(redis: RedisServer) -> None:
    with (
        ServiceProcess(redis.url) as replica,
        httpx.stream("GET", f"{replica.url}/fleet/live", timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: summary"
        assert replica.stop() == 0
        list(lines)  # ends, and is whole
