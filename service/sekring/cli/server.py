"""Runs one replica: checks first, then the embedded Valkey, then granian's server processes."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import structlog
from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings

from sekring import __version__
from sekring.binding import check_binding
from sekring.draining import announce_drain, is_draining, prepare_drain
from sekring.errors import SettingsError, StoreUnavailable
from sekring.gateway.settings import GatewaySettings
from sekring.settings import Settings, load
from sekring.store.claim import claim_keyspace
from sekring.store.embedded import Embedded
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.telemetry.environment import Otel
from sekring.telemetry.logs import configure_logging
from sekring.telemetry.siblings import prepare_siblings
from sekring.tokens import TokenBook

__all__ = ["serve"]

#: What a worker may take to finish its requests before it is killed, in seconds.
_WORKER_GRACE_S = 10

#: How long the supervisor may take to notice a signal that another thread was given, in seconds.
_LOOK_UP_S = 0.5

_log = structlog.get_logger("sekring")


def serve(options: Mapping[str, object]) -> int:
    """Serve until SIGTERM or SIGINT; `options` go before the environment.

    Raises:
        StartError: a setting, the tokens, the data folder or the keyspace forbids it.
    """
    loaded = load(os.environ, options, others=[GatewaySettings])
    settings = loaded.settings
    configure_logging(settings.log_level, settings.log_format)
    for warning in loaded.warnings:
        _log.warning(warning)
    Otel(os.environ, "sekring", __version__).check()
    has_tokens = bool(TokenBook.load(settings.tokens_file, settings.tokens))
    if insecure := check_binding(settings, has_tokens=has_tokens):
        _log.warning(insecure)
    _check_port(settings)
    with _redis(settings) as redis_url, tempfile.TemporaryDirectory(prefix="sekring-") as folder:
        settings = msgspec.structs.replace(settings, redis_url=redis_url)
        asyncio.run(_check_keyspace(settings))
        os.environ.update(settings.as_environment())
        prepare_drain(folder)
        if settings.workers > 1:
            prepare_siblings(folder)
        # A forked worker would inherit locks that the embedded server's thread may just hold.
        multiprocessing.set_start_method("spawn", force=True)
        server = _Server(
            "sekring.http.process:from_environment",
            factory=True,
            interface=Interfaces.ASGI,
            address=settings.host,
            port=settings.port,
            workers=settings.workers,
            respawn_failed_workers=True,
            workers_kill_timeout=_WORKER_GRACE_S,
            # It runs from the last answer on, so it is what closes idle connections as well.
            http1_settings=HTTP1Settings(header_read_timeout=settings.keep_alive_ms),
            log_enabled=False,
        )
        server.drain_s = settings.drain_ms / 1000
        server.main_loop_interrupt = _Attentive()
        server.on_startup(
            lambda: _log.info("listening", url=_url(settings), workers=settings.workers)
        )
        server.serve()
    _log.info("stopped")
    return 0


class _Attentive(threading.Event):
    """Looks up now and then while it waits.

    The kernel may give a signal to a thread other than the main one, which Python's handlers run
    in: that one then does not wake. It happens to a SIGTERM right after a SIGCONT.
    """

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for `timeout` seconds at most."""
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_LOOK_UP_S):
            pass
        return True


class _Server(Granian):  # type: ignore[misc, valid-type]
    """Lets `/ready` fail for a while after SIGTERM, so that a load balancer looks elsewhere."""

    drain_s = 0.0

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Stop; after SIGTERM only when the drain is over, or at a second signal."""
        draining = is_draining()
        # In every case: it is how server processes learn that streams are to end.
        announce_drain()
        if args[:1] != (signal.SIGTERM,) or self.drain_s == 0 or draining:
            super().signal_handler_interrupt(*args, **kwargs)
            return
        _log.info("draining", seconds=self.drain_s)
        timer = threading.Timer(self.drain_s, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


@contextlib.contextmanager
def _redis(settings: Settings) -> Iterator[str]:
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    with Embedded(settings.data_dir) as embedded:
        _log.info("embedded valkey started", data_dir=str(settings.data_dir))
        yield embedded.url


async def _check_keyspace(settings: Settings) -> None:
    """Find a wrong partition count before any process serves; an absent Redis may come later."""
    assert settings.redis_url is not None  # noqa: S101 - `run` has just set it
    link = RedisLink(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
    try:
        await claim_keyspace(
            Scripts(link, Keyspace(settings.key_prefix, settings.partitions)), settings.partitions
        )
    except StoreUnavailable as error:
        _log.warning("redis is not there yet", error=str(error))
    finally:
        await link.close()


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
                "Choose another with SEKRING_PORT or --port."
            ) from None


def _url(settings: Settings) -> str:
    host = "localhost" if settings.host in {"127.0.0.1", "::1"} else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
