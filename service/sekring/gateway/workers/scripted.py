"""The driver that plays a scenario (`scenario.py`): for tests and demos, without WhatsApp."""

import asyncio
import base64
import os
import random
import signal
import sys
import time
from typing import NoReturn

from sekring import __version__
from sekring.errors import DriverError
from sekring.gateway.workers.driver import Tell
from sekring.gateway.workers.messages import (
    Connect,
    Connected,
    Failed,
    KeepAlive,
    Paired,
    QrShown,
)
from sekring.gateway.workers.scenario import (
    Crash,
    Fail,
    Hang,
    KeepAliveStep,
    LogIn,
    PairStep,
    Print,
    Qr,
    Scenario,
    Stay,
    Step,
    Wait,
    load_scenario,
)
from sekring.gateway.workers.scriptlog import ScriptLog

__all__ = ["ScriptedDriver", "make_scripted"]


def make_scripted(scenario: str | None, log: str | None) -> "ScriptedDriver":
    """Make the driver from the paths of its scenario and of its log.

    Raises:
        SettingsError: the scenario cannot be used.
    """
    return ScriptedDriver(load_scenario(scenario), ScriptLog(log))


class ScriptedDriver:
    """Implements `SessionDriver` and `HardEnding`."""

    def __init__(self, scenario: Scenario, log: ScriptLog) -> None:
        """Play `scenario`, and write down what happens."""
        self.scenario = scenario
        self.log = log
        #: Connections that there are, or may be; one leaves before it writes `disconnect`.
        self.open: dict[str, Connect] = {}

    @property
    def build(self) -> str:
        """Library and version, as the breaker is told."""
        return f"scripted/{__version__}"

    def session(self, order: Connect, tell: Tell) -> "ScriptedSession":
        """Prepare a connection."""
        return ScriptedSession(self, order, tell)

    def ends_hard(self) -> None:
        """Write down the end of all connections."""
        for instance_id in list(self.open):
            if order := self.open.pop(instance_id, None):
                self.log.write("disconnect", order)


class ScriptedSession:
    """Implements `DrivenSession`."""

    def __init__(self, driver: ScriptedDriver, order: Connect, tell: Tell) -> None:
        """Play what the scenario has for the order's instance and number."""
        self._driver = driver
        self._order = order
        self._tell = tell
        self._steps = driver.scenario.steps(order.instance_id, order.number)
        seed = f"{driver.scenario.seed}/{order.instance_id}/{order.number}"
        self._random = random.Random(seed)  # noqa: S311 - the same play each time
        # The session's own, whatever the number of the connect.
        digits = random.Random(order.instance_id).randrange(10**9)  # noqa: S311
        self._device = order.device or f"628{digits:09}:1@s.whatsapp.net"
        self._stopped = asyncio.Event()
        self._logged_in = False

    async def run(self) -> None:
        """Play until the end, or until `stop`."""
        self._driver.open[self._order.instance_id] = self._order
        self._driver.log.write("connect", self._order)
        try:
            for step in self._steps:
                await self._play(step)
                if self._stopped.is_set():
                    break
        finally:
            self._logged_in = False
            if self._driver.open.pop(self._order.instance_id, None):
                self._driver.log.write("disconnect", self._order)

    async def stop(self) -> None:
        """End the play at once, unless it hangs."""
        self._stopped.set()

    async def pair(self, phone: str) -> str:
        """Return a pairing code; a scenario's step `pair` is what follows."""
        if self._logged_in:
            raise DriverError(f"Already paired; no code for {phone}.")
        letters = "".join(self._random.choices("ABCDEFGHJKLMNPQRSTVWXYZ123456789", k=8))
        return f"{letters[:4]}-{letters[4:]}"

    async def send(self, to: str, text: str) -> str:
        """Write down that a text was sent."""
        if not self._logged_in:
            raise DriverError(f"Not connected; nothing was sent to {to}.")
        self._driver.log.write("sent", self._order, length=len(text))
        return f"3EB0{self._random.randbytes(9).hex().upper()}"

    async def log_out(self) -> None:
        """Unlink the device: ends the play."""
        if not self._logged_in:
            raise DriverError("Not connected; the device was not unlinked.")
        self._stopped.set()

    async def _play(self, step: Step) -> None:  # noqa: C901 - one case each
        instance_id = self._order.instance_id
        match step:
            case Wait(ms=ms):
                if not isinstance(ms, int):
                    ms = self._random.randint(*ms)
                await self._pause(ms)
            case Qr(code=code, expires_in_ms=expires_in_ms):
                code = code or self._code()
                self._tell(QrShown(instance_id=instance_id, code=code, expires_in_ms=expires_in_ms))
            case PairStep(device=device):
                self._device = device or self._device
                self._tell(Paired(instance_id=instance_id, device=self._device))
            case LogIn():
                self._logged_in = True
                self._driver.log.write("connected", self._order)
                self._tell(Connected(instance_id=instance_id, device=self._device))
            case KeepAliveStep(healthy=healthy):
                self._tell(KeepAlive(instance_id=instance_id, healthy=healthy))
            case Print(text=text):
                os.write(1, text.encode() + b"\n")
            case Fail():
                self._tell(
                    Failed(
                        instance_id=instance_id,
                        detail=step.detail,
                        kind=step.kind,
                        protocol=step.protocol,
                        code=step.code,
                        ban_expire=step.ban_expire,
                    )
                )
            case Crash(by=by):
                self._crash(by)
            case Hang(blocking=blocking):
                await _hang(blocking=blocking)
            case Stay():
                await self._stopped.wait()

    async def _pause(self, ms: int) -> None:
        try:
            async with asyncio.timeout(ms / 1000):
                await self._stopped.wait()
        except TimeoutError:
            return

    def _code(self) -> str:
        parts = (base64.b64encode(self._random.randbytes(33)).decode() for _ in range(4))
        return "2@" + ",".join(parts)

    def _crash(self, by: str) -> NoReturn:
        self._driver.ends_hard()
        if by == "abort":
            sys.stderr.write("panic: as the scenario says\n\ngoroutine 1 [running]:\n")
            os.abort()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError  # nobody gets here


async def _hang(*, blocking: bool) -> None:
    while blocking:
        time.sleep(3600)  # noqa: ASYNC251 - what it is for
    await asyncio.Event().wait()
