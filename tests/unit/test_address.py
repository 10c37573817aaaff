"""Where the command finds the service, and with which token."""

import pytest

from sekring.cli.address import DEFAULT_URL, address
from sekring.errors import SettingsError


def test_without_anything_it_is_this_machine() -> None:
    assert (address(None, {}).url, address(None, {}).token) == (DEFAULT_URL, None)


def test_the_option_goes_before_the_variable() -> None:
    environ = {"SEKRING_URL": "http://a:1"}

    assert address(None, environ).url == "http://a:1"
    assert address("https://b", environ).url == "https://b"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert address(None, {"SEKRING_URL": "", "SEKRING_TOKEN": ""}) == address(None, {})


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://localhost:8000/", "http://localhost:8000"),
        ("https://breaker.example.org", "https://breaker.example.org"),
        ("https://example.org/breaker/", "https://example.org/breaker"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_url_is_taken(typed: str, url: str) -> None:
    assert address(typed, {}).url == url


@pytest.mark.parametrize(
    "typed",
    [
        "ftp://localhost",
        "http://",
        "http://:8000",
        "http://localhost:0",
        "http://localhost:99999",
        "http://localhost:port",
        "http://local host",
        "http://localhost\n",
        "http://[::1",
        "http://localhost?a=b",
        "http://localhost#a",
        "/path",
        "8000",
    ],
)
def test_anything_else_is_refused_by_the_name_of_where_it_came_from(typed: str) -> None:
    for option, environ, source in (
        (typed, {}, "--url"),
        (None, {"SEKRING_URL": typed}, "SEKRING_URL"),
    ):
        with pytest.raises(SettingsError) as caught:
            address(option, environ)
        assert str(caught.value).startswith(f"{source}: got {typed!r}, takes http://host:port")


def test_a_forgotten_scheme_is_offered() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean http://localhost:8000\?"):
        address("localhost:8000", {})


@pytest.mark.parametrize("typed", ["http://user:hunter2@host", "http://skr_hunter2@host"])
def test_a_secret_in_the_url_is_refused_and_not_shown(typed: str) -> None:
    with pytest.raises(SettingsError, match="the token is SEKRING_TOKEN") as caught:
        address(typed, {})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", ["hunter2 ", "hunter2\nX-Other: 1", "hünter2"])
def test_a_token_that_no_header_takes_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingsError, match="SEKRING_TOKEN holds") as caught:
        address(None, {"SEKRING_TOKEN": token})

    assert "nter2" not in str(caught.value)


def test_the_token_is_in_no_repr() -> None:
    assert "hunter2" not in repr(address(None, {"SEKRING_TOKEN": "hunter2"}))
