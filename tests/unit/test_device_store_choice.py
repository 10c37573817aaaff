"""SEKRING_DEVICE_STORE: what it takes, and what it says of the rest without showing a password."""

import urllib.parse
from pathlib import Path

import pytest

from sekring.errors import SettingsError
from sekring.gateway.devices.choose import choose_store
from sekring.gateway.devices.pgfaults import start_error, start_error_in_words
from sekring.gateway.devices.pgurl import PostgresUrl
from sekring.gateway.devices.postgres import PostgresStore
from sekring.gateway.devices.sqlite import SqliteStore

SECRET = "s3cr3t"


def test_by_default_devices_are_in_the_data_folder(tmp_path: Path) -> None:
    store = choose_store("", tmp_path)

    assert isinstance(store, SqliteStore)
    assert not list(tmp_path.iterdir()), "made before it was opened"


@pytest.mark.parametrize("path", ["/srv/devices", "~/devices", "./devices", "../a=b", "~", "."])
def test_a_path_is_a_folder_for_sqlite(path: str, tmp_path: Path) -> None:
    assert isinstance(choose_store(path, tmp_path), SqliteStore)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_url_is_a_postgresql_database(scheme: str, tmp_path: Path) -> None:
    store = choose_store(f"{scheme}://u:{SECRET}@h/d", tmp_path)

    assert isinstance(store, PostgresStore)
    assert store.location("a") == f"{scheme}://u:{SECRET}@h/d?sslmode=require"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (f"host=localhost user=u password={SECRET}", "as a URL, not as host="),
        (f" password = {SECRET}", "as a URL, not as host="),
        (f"mysql://u:{SECRET}@h/d", "postgresql://USER"),
        (f"PostgreSQL://u:{SECRET}@h/d", "postgresql://USER"),
        ("sqlite:///srv/devices", "a folder"),
        ("postgres", "a folder"),
        (f"postgresql://u:{SECRET}@h", "does not name the database"),
        (f"postgresql://u:{SECRET}@h/", "does not name the database"),
        (f"postgresql://u:{SECRET}@/d", "does not name the host"),
        (f"postgresql://u:{SECRET}@a,b/d", "several hosts"),
        (f"postgresql://u:{SECRET}@h:x/d", "port"),
        (f"postgresql://u:{SECRET}@h:0/d", "port"),
        (f"postgresql://u:{SECRET}@h:70000/d", "port"),
        (f"postgresql://u:{SECRET}@[::1/d", "host"),
        (f"postgresql://u:{SECRET}@x@h/d", "%40"),
        (f"postgresql://u:{SECRET}#x@h/d", "%23"),
        (f"postgresql://u:{SECRET}@h/d?sslmode=yes", "sslmode takes disable"),
        (f"postgresql://u:{SECRET}@h/d?sslmode", "name=value"),
    ],
)
def test_anything_else_is_refused(setting: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        choose_store(setting, tmp_path)

    assert words in str(caught.value)
    assert "SEKRING_DEVICE_STORE" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_both_libraries_read_the_same_url() -> None:
    url = PostgresUrl.parse(
        f"postgres://u:{SECRET}%2F%40@[::1]:5433/d?connect_timeout=5&application_name=a%20b&sslmode=disable"
    )

    assert url.full.endswith("d?connect_timeout=5&application_name=a%20b&sslmode=disable")
    assert url.asyncpg == url.full.replace("connect_timeout=5&", "")
    assert url.shown == "postgresql://[::1]:5433/d"


def test_a_socket_is_named_by_its_folder() -> None:
    url = PostgresUrl.parse("postgresql:///d?host=/run/postgresql&sslmode=disable")

    assert "host=%2Frun%2Fpostgresql" in url.asyncpg


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}%2Fx@h/d",
        f"postgresql://h/d?user=u&password={SECRET}%2Fx",
        f"postgresql://h/d?sslpassword={SECRET}%2Fx",
    ],
)
def test_no_form_of_the_password_is_repeated(text: str) -> None:
    url = PostgresUrl.parse(text)
    secret = urllib.parse.unquote(f"{SECRET}%2Fx")

    said = url.redact(f"cannot parse {text}, {url.full}: login as u with {secret} failed")

    assert SECRET not in said
    assert SECRET not in url.shown
    for error in (start_error(url, ValueError(text)), start_error_in_words(url, secret)):
        assert SECRET not in str(error)
        assert "***" in str(error)
