"""Settings: where they come from, what they take, what they never show."""

import argparse
import base64
from pathlib import Path

import msgspec
import pytest

from sekring.binding import check_binding, is_loopback
from sekring.errors import SettingsError, StartError
from sekring.gateway.settings import GatewaySettings
from sekring.redisurl import redact_url
from sekring.settings import (
    Settings,
    add_options,
    load,
    option_of,
    secret_files,
    table,
    variable_of,
)

# ------------------------------------------------------------------------------ where from


def options_of(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args(arguments))


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings, warnings = msgspec.structs.astuple(load({}))

    assert warnings == ()
    assert msgspec.structs.asdict(settings) | {"data_dir": str(settings.data_dir)} == {
        "host": "127.0.0.1",
        "port": 8000,
        "redis_url": None,
        "data_dir": ".sekring",
        "tokens_file": None,
        "tokens": None,
        "workers": 1,
        "log_level": "info",
        "log_format": "auto",
        "partitions": 64,
        "key_prefix": "sekring",
        "redis_timeout_ms": 500,
        "staleness_ms": 500,
        "replay_max": 100_000,
        "confirm_replicas": None,
        "request_timeout_ms": 5000,
        "keep_alive_ms": 75_000,
        "drain_ms": 1000,
        "events_heartbeat_ms": 15_000,
        "webhook_timeout_ms": 10_000,
        "webhook_retry_ms": 1_000,
        "webhook_retry_max_ms": 300_000,
        "webhook_lease_ms": 5_000,
        "lease_ttl_ms": 15_000,
        "qr_wait_ms": 30_000,
        "seal_key": None,
        "insecure": False,
    }


def test_an_option_goes_before_the_environment_and_that_before_the_default() -> None:
    environ = {"SEKRING_PORT": "9000", "SEKRING_WORKERS": "2"}

    settings = load(environ, options_of("--port", "9001")).settings

    assert (settings.port, settings.workers, settings.partitions) == (9001, 2, 64)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({"SEKRING_REDIS_URL": "", "SEKRING_PORT": ""}).settings == Settings()


def test_options_of_other_commands_are_passed_over() -> None:
    assert load({}, {"command": "serve", "json": True}).settings == Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("host", "::1", "::1"),
        ("host", "[::1]", "::1"),
        ("host", "breaker.internal", "breaker.internal"),
        ("port", "65535", 65535),
        ("redis_url", "redis://localhost", "redis://localhost"),
        ("redis_url", "rediss://user:word@host:6380/1", "rediss://user:word@host:6380/1"),
        ("redis_url", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        (
            "redis_url",
            "redis+sentinel://a,b:26380,[::1]/s/2",
            "redis+sentinel://a,b:26380,[::1]/s/2",
        ),
        ("redis_url", "rediss+cluster://u:w@a:7000,b:7001", "rediss+cluster://u:w@a:7000,b:7001"),
        ("log_level", "DEBUG", "debug"),
        ("log_format", "json", "json"),
        ("key_prefix", "team-a:sekring", "team-a:sekring"),
        ("insecure", "on", True),
        ("insecure", "True", True),
        ("insecure", "0", False),
    ],
)
def test_a_value_is_taken(name: str, text: str, value: object) -> None:
    assert getattr(load({variable_of(name): text}).settings, name) == value


def test_a_path_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    settings = load({"SEKRING_TOKENS_FILE": "~/tokens.toml"}).settings

    assert str(settings.tokens_file) == "/home/somebody/tokens.toml"


# ---------------------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("host", "host:8000"),
        ("host", "http://host"),
        ("host", "two words"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "8_000"),
        ("port", " 8000"),
        ("port", "８０００"),  # noqa: RUF001  # digits to int(), not to a person
        ("port", "9" * 5000),
        ("workers", "many"),
        ("data_dir", "a\0b"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("partitions", "0"),
        ("partitions", "1.5"),
        ("key_prefix", "{tag}"),
        ("key_prefix", "a\n"),
        ("redis_timeout_ms", "500ms"),
        ("replay_max", "nan"),
        ("request_timeout_ms", "99"),
        ("insecure", "maybe"),
    ],
)
def test_a_wrong_value_names_the_variable_what_it_got_and_what_it_takes(
    name: str, text: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load({variable_of(name): text})

    message = str(caught.value)
    assert message.startswith(f"{variable_of(name)}: got {text!r}, takes ")
    assert table()[name].takes.words in message
    assert "\n" not in message


def test_a_wrong_option_is_named_as_the_option_it_was() -> None:
    with pytest.raises(SettingsError, match=r"^--port: got 'http', takes a whole number from 1 to"):
        load({}, options_of("--port", "http"))


def test_a_wrong_value_stops_the_start() -> None:
    assert issubclass(SettingsError, StartError)


# --------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host",
        "user:hunter2@host:6379",
        "redis://user:hunter2@",
        "redis://user:hunter2@host:port",
        "redis://:hunter2/x@host",
        "redis://user:9#hunter2@host",
        "redis://user:9?hunter2@host",
        "unix://",
        "unix://user:hunter2@",
        "redis://user:hunter2@a,b",
        "redis://user:hunter2@host/database",
        "redis://host?sentinel_password=hunter2",
        "redis+sentinel://user:hunter2@a,b",
        "redis+sentinel://user:hunter2@a,,b/service",
        "redis+sentinel://user:hunter2@a/service/database",
        "redis+cluster://user:hunter2@",
        "redis+cluster://user:hunter2@a/1",
        "redis+cluster://user:hunter2@a:0",
        "redis+cluster://user:hunter2@a:70000",
        "redis+proxy://user:hunter2@a",
    ],
)
def test_a_wrong_redis_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"SEKRING_REDIS_URL": url})

    assert "SEKRING_REDIS_URL" in str(caught.value)
    assert "redis://[user:password@]host" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    # The cause would be printed by a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_neither_repr_nor_str_nor_rich_shows_a_secret() -> None:
    environ = {
        "SEKRING_REDIS_URL": "redis://user:hunter2@host:6379/3?password=hunter3",
        "SEKRING_TOKENS": "hunter4",
        "SEKRING_SEAL_KEY": "hunter" * 7 + "h=",
    }
    loaded = load(environ)

    for shown in (repr(loaded), str(loaded.settings), str(loaded.settings.__rich_repr__())):
        assert "hunter" not in shown
        assert "redis://***@host:6379/3?***" in shown


@pytest.mark.parametrize("option", ["--tokens", "--seal-key"])
def test_a_secret_is_no_option_since_a_command_line_is_public(option: str) -> None:
    with pytest.raises(SystemExit):
        options_of(option, "x")


@pytest.mark.parametrize("key", ["hunter2", "hunter" * 7 + "h", "hunter+/" * 5 + "h==", "h" * 44])
def test_a_seal_key_that_is_none_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(SettingsError, match="takes 32 bytes in URL-safe base64") as caught:
        load({"SEKRING_SEAL_KEY": key})

    assert key not in str(caught.value)


def test_a_seal_key_is_32_bytes_in_base64_for_urls() -> None:
    key = base64.urlsafe_b64encode(b"\xfb\xff" * 16).decode()

    assert load({"SEKRING_SEAL_KEY": key}).settings.seal_key == key


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://:word@host", "rediss://***@host"),
        ("redis://u:w@[::1]:7000", "redis://***@[::1]:7000"),
        ("unix:///run/r.sock?password=w", "unix:///run/r.sock?***"),
        ("redis://u:w@host:port", "***"),
        (
            "redis+sentinel://u:w@a,b:26380/s/1?sentinel_password=w",
            "redis+sentinel://***@a,b:26380/s/1?***",
        ),
        (
            "rediss+cluster://:w@[::1]:7000,b?ssl_ca_certs=w",
            "rediss+cluster://***@[::1]:7000,b?***",
        ),
        ("redis+cluster://u:w@", "***"),
    ],
)
def test_a_redis_url_for_the_log_has_no_credentials(url: str, shown: str) -> None:
    assert redact_url(url) == shown


# ----------------------------------------------------------------------------- secrets in files


def test_a_secret_may_be_in_a_file_that_its_variable_with_file_names(tmp_path: Path) -> None:
    file = tmp_path / "redis_url"
    file.write_text("redis://user:word@host\n")

    loaded = load({"SEKRING_REDIS_URL_FILE": str(file)})

    assert (loaded.settings.redis_url, loaded.warnings) == ("redis://user:word@host", ())


def test_the_variable_itself_goes_before_its_file(tmp_path: Path) -> None:
    # What a supervisor has read it hands to its server processes so.
    environ = {"SEKRING_REDIS_URL": "redis://a", "SEKRING_REDIS_URL_FILE": str(tmp_path / "none")}

    assert load(environ).settings.redis_url == "redis://a"


def test_only_a_secret_may_be_in_a_file() -> None:
    (warning,) = load({"SEKRING_PORT_FILE": "/run/port"}).warnings

    assert warning.startswith("SEKRING_PORT_FILE is not a setting")
    # Its own setting: a book of tokens, not one of them in a file.
    assert secret_files(Settings) == {
        "redis_url": "SEKRING_REDIS_URL_FILE",
        "seal_key": "SEKRING_SEAL_KEY_FILE",
    }
    assert secret_files(GatewaySettings) == {
        "token": "SEKRING_TOKEN_FILE",
        "device_store": "SEKRING_DEVICE_STORE_FILE",
        "proxy": "SEKRING_PROXY_FILE",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not text"),
        (b"http://hunter2@host", "takes redis://"),
    ],
)
def test_a_secret_file_that_does_not_do_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "redis_url"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=said) as refused:
        load({"SEKRING_REDIS_URL_FILE": str(file)})

    assert str(refused.value).startswith("SEKRING_REDIS_URL_FILE: ")
    assert "hunter2" not in str(refused.value)


# -------------------------------------------------------------------------- unknown variables


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("SEKRING_PROT", "did you mean SEKRING_PORT?"),
        ("SEKRING_TOKEN_FILE", "did you mean SEKRING_TOKENS_FILE?"),
        ("SEKRING_COFFEE", "see `sekring serve --help`."),
    ],
)
def test_an_unknown_variable_is_told_with_what_may_have_been_meant(
    variable: str, said: str
) -> None:
    (warning,) = load({variable: "hunter2"}).warnings

    assert warning == f"{variable} is not a setting and has no effect; {said}"


@pytest.mark.parametrize(
    "variable", ["SEKRING_URL", "SEKRING_TOKEN", "SEKRING_TEST_REDIS", "PATH", "sekring_port"]
)
def test_variables_of_the_client_the_tests_and_others_are_no_concern(variable: str) -> None:
    assert load({variable: "x"}).warnings == ()


# ------------------------------------------------------------------------------------ help


def test_help_lists_every_option_with_its_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    text = " ".join(parser.format_help().split())

    defaults = msgspec.structs.asdict(Settings())
    for name, setting in table().items():
        if setting.option:
            default = {None: "none", False: "off"}.get(defaults[name], defaults[name])
            assert option_of(name) in text
            assert f"[default: {default}] [{variable_of(name)}]" in text


# --------------------------------------------------------------------------------- binding


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST."])
def test_loopback_may_be_bound_without_tokens(host: str) -> None:
    assert is_loopback(host)
    assert check_binding(Settings(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "breaker.internal"])  # noqa: S104
def test_another_address_without_tokens_is_refused_with_the_ways_to_go_on(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_binding(Settings(host=host))

    for way in (host, "sekring token new", "SEKRING_TOKENS_FILE", "127.0.0.1", "--insecure"):
        assert way in str(caught.value)


def test_another_address_may_be_bound_with_tokens() -> None:
    assert check_binding(Settings(host="::", tokens="x")) is None


def test_a_token_file_without_tokens_counts_as_none() -> None:
    settings = load({"SEKRING_HOST": "::", "SEKRING_TOKENS_FILE": "tokens.toml"}).settings

    assert check_binding(settings, has_tokens=True) is None
    with pytest.raises(SettingsError):
        check_binding(settings, has_tokens=False)


def test_insecure_lets_it_pass_and_says_so() -> None:
    warning = check_binding(Settings(host="::", port=8123, insecure=True))

    assert warning is not None
    assert warning.startswith("INSECURE: listening on :: without any token")
    assert "8123" in warning
