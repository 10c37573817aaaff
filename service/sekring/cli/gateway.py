"""`sekring gateway`: one gateway, which owns sessions by lease and keeps them connected."""

import argparse
import os

import structlog

from sekring.gateway.settings import GatewaySettings
from sekring.settings import Settings, add_options, load_as
from sekring.telemetry.logs import configure_logging

__all__ = ["register", "run"]

_EXAMPLES = """\
examples:
  sekring gateway
  SEKRING_URL=http://10.0.0.5:8000 SEKRING_TOKEN=… sekring gateway --gateway-capacity 500
  sekring gateway --driver scripted --scenario scenario.toml
"""

_log = structlog.get_logger("sekring")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "gateway",
        help="run WhatsApp sessions",
        description="Run WhatsApp sessions under the breaker. Every option has a variable of the"
        " same name.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, GatewaySettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a gateway until SIGTERM or SIGINT.

    Raises:
        StartError: a setting, the driver, the device store or the service's answer forbids it.
    """
    import uvloop  # noqa: PLC0415 - a worker costs it no thread, and a third less time

    from sekring.gateway.supervisor import supervise  # noqa: PLC0415 - an HTTP client and drivers

    loaded = load_as(
        GatewaySettings, os.environ, vars(options), command="gateway", others=[Settings]
    )
    configure_logging(loaded.settings.log_level, loaded.settings.log_format)
    for warning in loaded.warnings:
        _log.warning(warning)
    return uvloop.run(supervise(loaded.settings))
