"""`sekring serve`: one replica of the service, with an embedded Valkey if no Redis is named."""

import argparse

from sekring.settings import add_options

__all__ = ["register", "run"]

_EXAMPLES = """\
examples:
  sekring serve
  sekring serve --port 8080 --workers 2
  SEKRING_REDIS_URL=redis://10.0.0.5:6379/0 sekring serve --host 0.0.0.0 --tokens-file tokens.toml
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        help="serve the HTTP API",
        description="Serve the HTTP API. Every option has a variable of the same name.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: a setting, the tokens, the data folder or the keyspace forbids it.
    """
    from sekring.cli.server import serve  # noqa: PLC0415 - a web framework and a server

    return serve(vars(options))
