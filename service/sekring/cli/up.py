"""`sekring up`: the service and a gateway on one machine, as `scripts/serve` starts them."""

import argparse
import asyncio
import functools
import os
import tempfile
from collections.abc import Mapping

import msgspec
import structlog

from sekring.binding import is_loopback
from sekring.cli import demo
from sekring.cli.together import Together
from sekring.errors import SettingsError
from sekring.settings import Settings, add_options, load
from sekring.takes import SWITCH
from sekring.telemetry.logs import configure_logging
from sekring.tokens import TokenBook

__all__ = ["register", "run"]

#: Whether a gateway is started beside the service.
_SWITCH = "SEKRING_GATEWAY"

_EXAMPLES = """\
examples:
  sekring up
  sekring up --demo
  sekring up --no-gateway --port 8080
"""

_log = structlog.get_logger("sekring")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "up",
        help="serve the HTTP API and run a gateway beside it",
        description="Serve the HTTP API and run a gateway beside it. Takes the options of `sekring"
        " serve`; the gateway's settings come from the environment (`sekring gateway --help`).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--gateway",
        action=argparse.BooleanOptionalAction,
        help=f"whether to run a gateway; on or off [default: on] [{_SWITCH}]",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="run 40 scripted sessions with faults, on a Valkey of their own; nothing is kept",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is the service's.

    Raises:
        StartError: a setting forbids it.
    """
    settings = load(os.environ, vars(options)).settings
    configure_logging(settings.log_level, settings.log_format)
    if options.demo:
        return _run_demo(settings)
    service = {**os.environ, **settings.as_environment()}
    if not _wants_gateway(options.gateway):
        os.environ.update(service)
        from sekring.cli.server import serve  # noqa: PLC0415 - a web framework and a server

        return serve({})
    _check_token(settings)
    url = _url(settings)
    together = Together(url, service=service, gateway=_gateway_environment(os.environ, url))
    return asyncio.run(together.run())


def _run_demo(settings: Settings) -> int:
    if settings.redis_url is not None:
        raise SettingsError(
            "--demo has a Valkey of its own: leave SEKRING_REDIS_URL and --redis-url out."
        )
    url = _url(settings)
    # Whatever is configured for a real gateway does not concern the scripted sessions.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEKRING_")}
    with tempfile.TemporaryDirectory(prefix="sekring-demo-") as folder:
        own = msgspec.structs.replace(settings, data_dir=folder, tokens=None, tokens_file=None)
        service = {**plain, **own.as_environment()}
        scripted = {
            "SEKRING_DRIVER": "scripted",
            "SEKRING_SCENARIO": str(demo.SCENARIO),
            "SEKRING_SESSIONS_PER_WORKER": "10",
            "SEKRING_DATA_DIR": folder,
        }
        print(demo.HINTS.format(url=url))
        together = Together(
            url,
            service=service,
            gateway=_gateway_environment({**plain, **scripted}, url),
            prepare=functools.partial(demo.prepare, url),
        )
        return asyncio.run(together.run())


def _wants_gateway(option: bool | None) -> bool:  # noqa: FBT001 - as argparse has it
    if option is not None:
        return option
    text = os.environ.get(_SWITCH) or "on"
    try:
        return SWITCH.parse(text)
    except ValueError:
        raise SettingsError(f"{_SWITCH}: got {text!r}, takes {SWITCH.words}.") from None


def _check_token(settings: Settings) -> None:
    """Find a missing token here: the gateway would be refused, and started again, for ever."""
    if TokenBook.load(settings.tokens_file, settings.tokens) and not os.environ.get(
        "SEKRING_TOKEN"
    ):
        raise SettingsError(
            "Tokens are configured, so the gateway needs one: set SEKRING_TOKEN (`sekring token new"
            f" --role gateway`), or {_SWITCH}=off."
        )


def _gateway_environment(environment: Mapping[str, str], url: str) -> dict[str, str]:
    return {**environment, "SEKRING_URL": url}


def _url(settings: Settings) -> str:
    """Return where this machine reaches the service, whatever addresses it listens on."""
    host = settings.host
    if is_loopback(host):
        host = "localhost" if host == "127.0.0.1" else host
    elif host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
