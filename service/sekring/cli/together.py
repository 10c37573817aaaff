"""The service and a gateway as two processes of one command: they come up and go down together."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx
import structlog

from sekring.cli.exits import Exit
from sekring.store import launcher
from sekring.trust import trust

__all__ = ["Together"]

#: How long the gateway may take to stop its sessions and give its leases back, in seconds.
_GATEWAY_STOP_S = 25

#: How long the service may take to finish its requests, in seconds.
_SERVICE_STOP_S = 20

#: How often the service is asked whether it is ready, in seconds.
_READY_PAUSE_S = 0.1

#: How long to wait until a gateway that has ended is started again, in seconds; doubles each time.
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0

#: A gateway that ran for so long did not fail at its start, in seconds.
_RAN_WELL_S = 60.0

_log = structlog.get_logger("sekring")


class Together:
    """Runs `sekring serve`, and `sekring gateway` once the service is ready."""

    def __init__(
        self,
        url: str,
        *,
        service: Mapping[str, str],
        gateway: Mapping[str, str],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Take both environments, and what is to be done between the two starts."""
        self._url = url
        self._environments = {"serve": dict(service), "gateway": dict(gateway)}
        self._prepare = prepare
        self._stopping = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Run until SIGTERM, SIGINT or the end of the service; return the service's exit code.

        A gateway whose settings are wrong ends both, with its code.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        service = await self._start("serve")
        ended = asyncio.create_task(service.wait())
        keeping = asyncio.create_task(self._keep_gateway())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((ended, stopping, keeping), return_when=asyncio.FIRST_COMPLETED)
            code = keeping.result() if keeping.done() else None
        finally:
            stopping.cancel()
            keeping.cancel()
            await asyncio.gather(stopping, keeping, return_exceptions=True)
            # The gateway first: it gives its leases back to the service.
            await self._stop("gateway", _GATEWAY_STOP_S)
            await self._stop("serve", _SERVICE_STOP_S)
        if code is None:
            code = await ended
        return code if code >= 0 else Exit.REFUSED  # ended by a signal that was not ours

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():  # a second time: at once
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        self._stopping.set()

    async def _keep_gateway(self) -> int:
        await self._ready()
        if self._prepare:
            await self._prepare()
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = asyncio.get_running_loop().time()
            gateway = await self._start("gateway")
            code = await gateway.wait()
            if code == Exit.USAGE:
                return code
            if asyncio.get_running_loop().time() - started_s > _RAN_WELL_S:
                pause_s = _FIRST_PAUSE_S
            _log.error("the gateway has ended: starting it again", code=code, in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _ready(self) -> None:
        async with httpx.AsyncClient(
            base_url=self._url, trust_env=False, verify=trust(self._url)
        ) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get("/ready")).is_success:
                        return
                await asyncio.sleep(_READY_PAUSE_S)

    async def _start(self, command: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            # Ended with this process, even if it is killed.
            *(sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())),
            *(sys.executable, "-m", "sekring", command),
            env=self._environments[command],
            # Ctrl-C at the terminal is for this process, which stops them in their order.
            start_new_session=True,
        )
        self._running[command] = process
        return process

    async def _stop(self, command: str, patience_s: float) -> None:
        process = self._running.get(command)
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), patience_s)
        except TimeoutError:
            _log.error("killed, since it did not stop", command=command)
            process.kill()
            await process.wait()
