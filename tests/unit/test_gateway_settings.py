"""The gateway's settings: their defaults, what they never show, whose variables are whose."""

import argparse

import msgspec
import pytest

from sekring.errors import SettingsError
from sekring.gateway.settings import GatewaySettings
from sekring.settings import Loaded, Settings, add_options, load, load_as, option_of, table


def loaded(environ: dict[str, str], *arguments: str) -> Loaded[GatewaySettings]:
    parser = argparse.ArgumentParser()
    add_options(parser, GatewaySettings)
    options = vars(parser.parse_args(arguments))
    return load_as(GatewaySettings, environ, options, command="gateway", others=[Settings])


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = loaded({}).settings

    assert msgspec.structs.asdict(settings) | {"data_dir": str(settings.data_dir)} == {
        "url": "http://localhost:8000",
        "token": None,
        "gateway_name": None,
        "gateway_capacity": 100,
        "sessions_per_worker": 1,
        "driver": "neonize",
        "scenario": None,
        "scripted_log": None,
        "device_store": None,
        "proxy": None,
        "dial_timeout_ms": 60_000,
        "pairing_timeout_ms": 180_000,
        "data_dir": ".sekring",
        "gateway_probe_host": "127.0.0.1",
        "gateway_probe_port": None,
        "log_level": "info",
        "log_format": "auto",
    }


def test_an_option_goes_before_the_environment() -> None:
    environ = {"SEKRING_GATEWAY_CAPACITY": "5", "SEKRING_DRIVER": "scripted"}
    settings = loaded(environ, "--gateway-capacity", "6").settings

    assert (settings.gateway_capacity, settings.driver) == (6, "scripted")


@pytest.mark.parametrize(
    ("variable", "value", "kept"),
    [
        ("SEKRING_URL", "https://breaker.internal/", "https://breaker.internal"),
        ("SEKRING_URL", "http://[::1]:8000", "http://[::1]:8000"),
        ("SEKRING_PROXY", "socks5://u:p@proxy:1080", "socks5://u:p@proxy:1080"),
        ("SEKRING_GATEWAY_NAME", "gateway-2", "gateway-2"),
    ],
)
def test_a_value_is_taken(variable: str, value: str, kept: str) -> None:
    settings = loaded({variable: value}).settings

    assert getattr(settings, variable.removeprefix("SEKRING_").lower()) == kept


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEKRING_URL", "ftp://host"),
        ("SEKRING_URL", "http://"),
        ("SEKRING_URL", "http://host:0"),
        ("SEKRING_URL", "http://host:99999"),
        ("SEKRING_URL", "http://host?x=1"),
        ("SEKRING_URL", "http://ho st"),
        ("SEKRING_PROXY", "proxy:1080"),
        ("SEKRING_PROXY", "socks5://"),
        ("SEKRING_PROXY", "http://proxy:port"),
        ("SEKRING_GATEWAY_NAME", "two words"),
        ("SEKRING_GATEWAY_NAME", "a" * 129),
        ("SEKRING_SESSIONS_PER_WORKER", "0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: got "):
        loaded({variable: value})


def test_neither_token_nor_password_is_shown() -> None:
    settings = loaded(
        {
            "SEKRING_TOKEN": "hunter2",
            "SEKRING_PROXY": "http://user:hunter3@proxy:8080",
            "SEKRING_DEVICE_STORE": "postgresql://user:hunter4@db/devices?password=hunter5",
        }
    ).settings

    assert "hunter" not in repr(settings)
    assert "http://***@proxy:8080" in repr(settings)
    assert "postgresql://***@db/devices" in repr(settings)


def test_the_token_is_no_option_since_a_command_line_is_public() -> None:
    with pytest.raises(SystemExit):
        loaded({}, "--token", "x")


def test_variables_of_the_other_command_are_no_concern() -> None:
    environ = {"SEKRING_REDIS_URL": "redis://x", "SEKRING_DRIVER": "scripted"}

    assert loaded(environ).warnings == ()
    assert load(environ, others=[GatewaySettings]).warnings == ()
    (warning,) = load(environ).warnings
    assert warning.startswith("SEKRING_DRIVER is not a setting")


def test_a_misspelt_variable_is_told_with_what_may_have_been_meant() -> None:
    (near,) = loaded({"SEKRING_GATEWAY_CAPACTY": "5"}).warnings
    (far,) = loaded({"SEKRING_COFFEE": "5"}).warnings

    assert near.endswith("did you mean SEKRING_GATEWAY_CAPACITY?")
    assert far.endswith("see `sekring gateway --help`.")


def test_help_lists_every_option() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, GatewaySettings)
    text = parser.format_help()

    for name, setting in table(GatewaySettings).items():
        assert (option_of(name) in text) is setting.option
