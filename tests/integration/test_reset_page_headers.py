"""The reset address and the login by their headers: who resets, who is shown what, who is refused.

`tests/browser` shows that a real browser sends these headers when this file says that it does.
"""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import httpx
import pytest

from sekring.tokens import NewToken, Role
from tests.resetting import OPERATOR, VIEWER, Instances, inline
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

HTML: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

#: What Chromium sends when the user types an address.
TYPED: Final = {
    "Accept": HTML,
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
}

#: What it sends with the form of a page of ours.
SUBMITTED: Final = TYPED | {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis.url) as process:
        yield process


@pytest.fixture(scope="module")
def guarded(redis: RedisServer) -> Iterator[ServiceProcess]:
    """Another replica, which asks for a token."""
    with ServiceProcess(redis.url, tokens=inline(OPERATOR, VIEWER)) as process:
        yield process


@pytest.fixture(scope="module")
def instances(service: ServiceProcess) -> Iterator[Instances]:
    instances = Instances(service)
    yield instances
    instances.close()


@pytest.fixture
def browser(service: ServiceProcess) -> Iterator[httpx.Client]:
    """Keeps cookies, and sends no header that a test does not name."""
    with httpx.Client(base_url=service.url, timeout=10) as client:
        del client.headers["Accept"]
        yield client


@pytest.fixture
def guarded_browser(guarded: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=10) as client:
        del client.headers["Accept"]
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An instance of the test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:120].strip("-")


def path_of(instance_id: str) -> str:
    return f"/reset-circuit-breaker/{instance_id}"


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text.partition("<main>")[2])
    assert found, page.text
    return found[1]


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in TYPED.items() if name not in names}


# -------------------------------------------------------------------------------------- GET


@pytest.mark.parametrize(
    ("headers", "resets"),
    [
        pytest.param(TYPED, True, id="typed"),
        pytest.param(without("Sec-Fetch-Mode", "Sec-Fetch-Dest"), True, id="typed-short"),
        pytest.param({"Accept": HTML}, False, id="no-fetch-metadata"),
        pytest.param(without("Sec-Fetch-Site"), False, id="no-site"),
        pytest.param(without("Sec-Fetch-User"), False, id="no-user"),
        pytest.param(TYPED | {"Sec-Fetch-User": "?0"}, False, id="not-by-the-user"),
        pytest.param(TYPED | {"Sec-Fetch-Site": "cross-site"}, False, id="another-site"),
        pytest.param(TYPED | {"Sec-Fetch-Site": "same-site"}, False, id="a-neighbour"),
        pytest.param(TYPED | {"Sec-Fetch-Site": "same-origin"}, False, id="our-own-page"),
        pytest.param(TYPED | {"Sec-Fetch-Site": "none, none"}, False, id="site-twice"),
        pytest.param(TYPED | {"Sec-Fetch-Mode": "no-cors"}, False, id="no-navigation"),
        pytest.param(TYPED | {"Sec-Fetch-Dest": "iframe"}, False, id="iframe"),
        pytest.param(TYPED | {"Sec-Fetch-Dest": "image"}, False, id="image"),
        pytest.param(TYPED | {"Sec-Fetch-Dest": "empty"}, False, id="script"),
        pytest.param(TYPED | {"Sec-Purpose": "prefetch"}, False, id="prefetch"),
        pytest.param(TYPED | {"Sec-Purpose": "prefetch;prerender"}, False, id="prerender"),
        pytest.param(
            TYPED | {"Sec-Purpose": "prefetch;anonymous-client-ip"}, False, id="private-prefetch"
        ),
        pytest.param(TYPED | {"Purpose": "prefetch"}, False, id="old-prefetch"),
        pytest.param(TYPED | {"X-Moz": "prefetch"}, False, id="old-firefox-prefetch"),
        pytest.param(TYPED | {"X-Purpose": "preview"}, False, id="safari-preview"),
    ],
)
def test_only_what_the_user_opened_himself_resets(
    browser: httpx.Client,
    instances: Instances,
    name: str,
    headers: dict[str, str],
    resets: bool,  # noqa: FBT001 - a column of the table
) -> None:
    answer = browser.get(path_of(instances.open(name)), headers=headers)
    if resets:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{path_of(name)}?result=")
        assert instances.state(name) == "closed"
    else:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "Connection attempts are refused" in answer.text
        assert form_token(answer)
        assert instances.state(name) == "open"


def test_the_address_of_a_result_never_resets(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    result = browser.get(path_of(instances.open(name)), headers=TYPED).headers["location"]
    instances.open(name)
    for address in (result, f"{result}x", f"{path_of(name)}?result="):
        assert browser.get(address, headers=TYPED).status_code == 200
    assert instances.state(name) == "open"


def test_nobody_makes_up_a_result(browser: httpx.Client, instances: Instances, name: str) -> None:
    result = browser.get(path_of(instances.open(name)), headers=TYPED).headers["location"]
    assert "The circuit breaker was reset" in browser.get(result, headers=TYPED).text
    query = result.partition("?")[2]
    for address in (f"{path_of('other')}?{query}", result.replace("?result=", "?result=AA")):
        answer = browser.get(address, headers=TYPED)
        assert answer.status_code == 200
        assert "The circuit breaker was reset" not in answer.text


def test_head_changes_nothing(browser: httpx.Client, instances: Instances, name: str) -> None:
    answer = browser.head(path_of(instances.open(name)), headers=TYPED)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not answer.content
    assert browser.head(path_of(name)).status_code == 405
    assert instances.state(name) == "open"


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "application/json", "text/*", "image/avif,image/webp,*/*;q=0.8", "text/html;q=0"],
)
@pytest.mark.parametrize("metadata", [{}, without("Accept")], ids=["program", "typed"])
def test_a_get_that_does_not_accept_html_names_the_post(
    browser: httpx.Client,
    instances: Instances,
    name: str,
    accept: str | None,
    metadata: dict[str, str],
) -> None:
    headers = metadata | ({"Accept": accept} if accept else {})
    answer = browser.get(path_of(instances.open(name)), headers=headers)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["status"] == "error"
    assert f"POST {path_of(name)}" in answer.json()["message"]
    assert instances.state(name) == "open"


# ------------------------------------------------------------------------------------- POST


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        pytest.param({}, b"", id="bare"),
        pytest.param({"Accept": "*/*"}, b"", id="curl-X-POST"),
        pytest.param(
            {"Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"},
            b"",
            id="curl-d-nothing",
        ),
        pytest.param(
            {"Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"},
            b"a=b",
            id="curl-d-something",
        ),
        pytest.param(
            {"Accept": "application/json", "Content-Type": "application/json"}, b"{}", id="json"
        ),
        pytest.param(
            {"Accept": "*/*", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
            b"",
            id="script-of-our-own-origin",
        ),
    ],
)
def test_a_program_resets_by_post_and_reads_json(
    browser: httpx.Client,
    instances: Instances,
    name: str,
    headers: dict[str, str],
    content: bytes,
) -> None:
    answer = browser.post(path_of(instances.open(name)), headers=headers, content=content)
    assert answer.status_code == 200
    assert answer.json()["was"] == "open"
    assert instances.state(name) == "closed"


def test_the_form_of_the_page_resets_once_and_leads_to_the_result(
    browser: httpx.Client, instances: Instances, name: str
) -> None:
    page = browser.get(path_of(instances.open(name)), headers={"Accept": HTML})
    fields = {"csrf": form_token(page), "shown": "open"}
    for _ in range(2):
        answer = browser.post(path_of(name), headers=SUBMITTED, data=fields)
        assert answer.status_code == 303
        result = browser.get(answer.headers["location"], headers=SUBMITTED)
        assert re.search(r"Before</dt>\s*<dd>Open<", result.text)
    assert len(instances.resets(name)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(SUBMITTED, id="browser"),
        pytest.param({"Accept": HTML}, id="browser-without-fetch-metadata"),
        pytest.param({"Accept": "*/*", "Sec-Fetch-Site": "same-origin"}, id="script"),
        pytest.param({"Accept": "*/*", "Sec-Fetch-Site": "none"}, id="extension"),
    ],
)
@pytest.mark.parametrize(
    "token", [None, "", "x", "ä.1.ü", "a.b.c", "other instance", "other browser"]
)
def test_a_form_without_its_token_changes_nothing_and_says_how_to_go_on(
    browser: httpx.Client,
    service: ServiceProcess,
    instances: Instances,
    name: str,
    *,
    headers: dict[str, str],
    token: str | None,
) -> None:
    if token == "other instance":
        token = form_token(browser.get(path_of("other"), headers={"Accept": HTML}))
    elif token == "other browser":
        token = form_token(httpx.get(service.url + path_of(name), headers={"Accept": HTML}))
    fields = {"shown": "open"} | ({} if token is None else {"csrf": token})
    answer = browser.post(path_of(instances.open(name)), headers=headers, data=fields)
    assert answer.status_code == 403
    assert "press the button again" in answer.text
    assert instances.state(name) == "open"
    fields["csrf"] = form_token(answer)
    assert browser.post(path_of(name), headers=headers, data=fields).status_code == 303
    assert instances.state(name) == "closed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
    ids=lambda headers: "-".join(*headers.items()),
)
def test_a_post_of_another_site_is_refused_even_with_the_token(
    browser: httpx.Client, instances: Instances, name: str, headers: dict[str, str]
) -> None:
    page = browser.get(path_of(instances.open(name)), headers={"Accept": HTML})
    fields = {"csrf": form_token(page), "shown": "open"}
    answer = browser.post(path_of(name), headers=SUBMITTED | headers, data=fields)
    assert answer.status_code == 403
    assert "a page of another site" in answer.text
    assert instances.state(name) == "open"
    assert browser.post(path_of(name), headers=headers).json()["status"] == "error"


# -------------------------------------------------------------------- errors, for both readers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("wrong", ["a%20b", "a%2Fb", "%00", "x" * 129, "%3Cscript%3E", "%C3%A4"])
def test_a_wrong_id_is_refused_in_the_readers_form(
    browser: httpx.Client, method: str, wrong: str
) -> None:
    page = browser.request(method, path_of(wrong), headers=SUBMITTED)
    assert page.status_code == 400
    assert "An instance is named by 1 to 128 of" in page.text
    assert "<script" not in page.text
    answer = browser.request(method, path_of(wrong))
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_ban_in_force_is_said_in_words_and_not_reset(
    browser: httpx.Client, instances: Instances, name: str, method: str
) -> None:
    page = browser.get(path_of(name), headers={"Accept": HTML})
    instances.ban(name)
    if method == "GET":
        answer = browser.get(path_of(name), headers=TYPED)
    else:
        fields = {"csrf": form_token(page), "shown": "closed"}
        answer = browser.post(path_of(name), headers=SUBMITTED, data=fields)
    assert answer.status_code == 409
    assert "WhatsApp has banned this session for another 5 h" in answer.text
    assert "<button" not in answer.text
    assert instances.state(name) == "open"


def test_what_others_wrote_is_shown_as_text(
    browser: httpx.Client, service: ServiceProcess, name: str
) -> None:
    reason = '<script>alert(1)</script>"&'
    path = f"{service.url}/v1/instances/{name}/trip"
    httpx.post(path, json={"reason": reason}).raise_for_status()
    page = browser.get(path_of(name), headers={"Accept": HTML}).text
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&amp;" in page


def test_without_redis_a_browser_reads_a_page_and_a_program_json(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis, ServiceProcess(redis.url) as service:
        redis.stop()
        page = httpx.get(service.url + path_of("a"), headers=TYPED)
        assert page.status_code == 503
        assert page.headers["retry-after"] == "1"
        assert "Redis cannot be reached" in page.text
        assert "Nothing was changed" in page.text
        answer = httpx.post(service.url + path_of("a"))
        assert answer.status_code == 503
        assert answer.json()["status"] == "error"


def test_before_redis_was_ever_reached_there_are_pages_too(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    service = ServiceProcess(redis.url, tokens=inline(OPERATOR))
    try:
        service.start(wait=False)
        wait_until(service.is_live, "the service")
        for path in (path_of("a"), "/login"):
            page = httpx.get(service.url + path, headers=TYPED)
            assert page.status_code == 503
            assert "Redis cannot be reached" in page.text
    finally:
        service.stop()


# ------------------------------------------------------------------------------------ pages


def test_pages_and_what_they_load_come_from_here_and_run_no_script(browser: httpx.Client) -> None:
    page = browser.get(path_of("any"), headers={"Accept": HTML})
    assert "script" not in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert '<meta name="robots" content="noindex">' in page.text
    loaded = re.findall(r'<(?:link|img|script)[^>]* (?:href|src)="([^"]+)"', page.text)
    assert loaded
    for path in loaded:
        assert path.startswith("/assets/")
        asset = browser.get(path)
        assert asset.status_code == 200
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["content-type"].startswith(("text/css", "image/svg+xml"))


@pytest.mark.parametrize("name", ["sekring.css", "..%2Fapp.py", "sekring.000000000000.css", "%00"])
def test_only_known_files_are_served(browser: httpx.Client, name: str) -> None:
    assert browser.get(f"/assets/{name}").status_code in {400, 404}


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("id-ID,id;q=0.9,en;q=0.8", "id"),
        ("ID", "id"),
        ("in", "id"),
        ("en-GB,id;q=0.9", "en"),
        ("de,id;q=0.5", "id"),
        ("de", "en"),
        ("id;q=0", "en"),
        ("id;q=much,;;,", "en"),
        ("", "en"),
    ],
)
def test_the_page_is_in_the_readers_language(
    browser: httpx.Client, accept_language: str, language: str
) -> None:
    headers = {"Accept": HTML, "Accept-Language": accept_language}
    page = browser.get(path_of("any"), headers=headers)
    assert page.headers["content-language"] == language
    assert f'<html lang="{language}">' in page.text
    assert ("Tertutup" if language == "id" else "Closed") in page.text


# ------------------------------------------------------------------------------------ login


def log_in(client: httpx.Client, token: str, **fields: str) -> httpx.Response:
    """Fill in the form; `headers` as a browser's."""
    page = client.get("/login", headers=TYPED)
    fields = {"csrf": form_token(page), "token": token} | fields
    return client.post("/login", headers=SUBMITTED, data=fields)


def test_a_browser_is_sent_to_the_login_and_a_program_is_not(
    guarded_browser: httpx.Client, instances: Instances, name: str
) -> None:
    instances.open(name)
    sent = guarded_browser.get(path_of(name), headers=TYPED)
    assert sent.status_code == 303
    assert sent.headers["location"] == f"/login?next=%2Freset-circuit-breaker%2F{name}"
    answer = guarded_browser.post(path_of(name))
    assert answer.status_code == 401
    assert answer.json()["status"] == "error"
    assert instances.state(name) == "open"


def test_a_login_sets_a_cookie_that_is_kept_from_scripts_and_other_sites(
    guarded_browser: httpx.Client,
) -> None:
    answer = log_in(guarded_browser, f" {OPERATOR.token}\n", next=path_of("a"))
    assert answer.status_code == 303
    assert answer.headers["location"] == path_of("a")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie
    assert OPERATOR.token.lower() not in cookie


@pytest.mark.parametrize("forwarded", ["https", "HTTPS", "https, http"])
def test_behind_https_the_cookies_are_secure(guarded: ServiceProcess, forwarded: str) -> None:
    proxied = {"X-Forwarded-Proto": forwarded}
    page = httpx.get(f"{guarded.url}/login", headers=TYPED | proxied)
    browser_cookie = page.headers["set-cookie"]
    answer = httpx.post(
        f"{guarded.url}/login",
        headers=SUBMITTED | proxied | {"Cookie": browser_cookie.partition(";")[0]},
        data={"csrf": form_token(page), "token": OPERATOR.token},
    )
    assert answer.status_code == 303
    for cookie in (browser_cookie, answer.headers["set-cookie"]):
        assert "secure" in cookie.lower()


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/reset-circuit-breaker/a?result=x", "/reset-circuit-breaker/a?result=x"),
        ("/", "/"),
        ("", "/login"),
        ("//elsewhere.example/", "/login"),
        ("/\\elsewhere.example/", "/login"),
        ("\\\\elsewhere.example/", "/login"),
        ("/\t/elsewhere.example/", "/login"),
        ("/a\r\nSet-Cookie: a=b", "/login"),
        ("https://elsewhere.example/", "/login"),
        ("javascript:alert(1)", "/login"),
        ("reset-circuit-breaker/a", "/login"),
        ("/" + "a" * 3000, "/login"),
    ],
)
def test_a_login_leads_to_a_path_of_this_site_only(
    guarded_browser: httpx.Client, wanted: str, leads_to: str
) -> None:
    assert log_in(guarded_browser, OPERATOR.token, next=wanted).headers["location"] == leads_to
    known = guarded_browser.get("/login", params={"next": wanted}, headers=TYPED)
    assert known.headers.get("location", "/login") == leads_to


@pytest.mark.parametrize(
    "token",
    ["", "x", "ü", OPERATOR.token[:-1], NewToken.make("x", Role.OPERATOR).token],
    ids=count(),  # not by the tokens, which are random
)
def test_a_wrong_token_logs_nobody_in(guarded_browser: httpx.Client, token: str) -> None:
    answer = log_in(guarded_browser, token)
    assert answer.status_code == 401
    assert "does not know that token" in answer.text
    assert "sekring_session" not in guarded_browser.cookies


@pytest.mark.parametrize("path", ["/login", "/login/end"])
def test_another_site_logs_nobody_in_or_out(guarded_browser: httpx.Client, path: str) -> None:
    log_in(guarded_browser, VIEWER.token)
    kept = guarded_browser.cookies["sekring_session"]
    answer = guarded_browser.post(path, headers=SUBMITTED, data={"token": OPERATOR.token})
    assert answer.status_code == 403
    assert guarded_browser.cookies["sekring_session"] == kept


def test_a_logout_takes_the_cookie_back(guarded_browser: httpx.Client) -> None:
    log_in(guarded_browser, OPERATOR.token)
    page = guarded_browser.get("/login", headers=TYPED)
    assert "You are logged in" in page.text
    token = re.search(r'action="/login/end">.*?name="csrf" value="([^"]+)"', page.text, re.DOTALL)
    assert token
    answer = guarded_browser.post("/login/end", headers=SUBMITTED, data={"csrf": token[1]})
    assert answer.status_code == 303
    assert "sekring_session" not in guarded_browser.cookies
    assert guarded_browser.get(path_of("a"), headers=TYPED).headers["location"][:7] == "/login?"


def test_a_forged_cookie_is_nobody(guarded: ServiceProcess, guarded_browser: httpx.Client) -> None:
    log_in(guarded_browser, OPERATOR.token)
    good = guarded_browser.cookies["sekring_session"]
    token_id, expires, mac = good.split(".")
    for forged in ("", "x", "..", f"{token_id}.{int(expires) + 1}.{mac}", good[:-1]):
        cookie = {"Cookie": f"sekring_session={forged}"}
        answer = httpx.get(guarded.url + path_of("a"), headers=TYPED | cookie)
        assert answer.headers["location"].startswith("/login?"), forged


def test_a_login_ends_with_its_token(redis: RedisServer, guarded: ServiceProcess) -> None:
    replaced = NewToken.make(OPERATOR.entry.name, Role.OPERATOR)
    with httpx.Client(base_url=guarded.url) as client:
        log_in(client, OPERATOR.token)
        cookie = f"sekring_session={client.cookies['sekring_session']}"
    with ServiceProcess(redis.url, tokens=inline(replaced)) as service:
        answer = httpx.get(service.url + path_of("a"), headers=TYPED | {"Cookie": cookie})
    assert answer.headers["location"].startswith("/login?")


def test_a_viewer_sees_the_state_without_a_button_and_cannot_post(
    guarded_browser: httpx.Client, instances: Instances, name: str
) -> None:
    log_in(guarded_browser, VIEWER.token)
    page = guarded_browser.get(path_of(instances.open(name)), headers=TYPED)
    assert page.status_code == 200
    assert f'action="{path_of(name)}"' not in page.text
    answer = guarded_browser.post(path_of(name), headers=SUBMITTED, data={"shown": "open"})
    assert answer.status_code == 403
    assert "Not allowed" in answer.text
    assert guarded_browser.post(path_of(name)).json()["status"] == "error"
    assert instances.state(name) == "open"


def test_the_token_in_the_address_works_and_stays_in_it(
    guarded_browser: httpx.Client, instances: Instances, name: str
) -> None:
    path = f"{path_of(name)}?access_token={OPERATOR.token}"
    instances.open(name)
    answer = guarded_browser.get(path, headers=TYPED)
    assert instances.state(name) == "closed"
    page = guarded_browser.get(answer.headers["location"], headers=TYPED)
    assert page.status_code == 200
    assert "The circuit breaker was reset" in page.text
    instances.open(name)
    fields = {"csrf": form_token(page), "shown": "open"}
    assert guarded_browser.post(path, headers=SUBMITTED, data=fields).status_code == 303
    assert instances.state(name) == "closed"


def test_without_tokens_there_is_nothing_to_log_in_to(browser: httpx.Client) -> None:
    assert "No token is configured" in browser.get("/login", headers=TYPED).text
    page = browser.get("/login", params={"next": path_of("a")}, headers=TYPED)
    assert page.headers["location"] == path_of("a")
