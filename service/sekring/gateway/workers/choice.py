"""Which driver the workers run, and what each worker is told at its start."""

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Literal, cast

import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.errors import StartError
from sekring.gateway.workers.driver import SessionDriver
from sekring.gateway.workers.messages import Connect
from sekring.gateway.workers.scenario import load_scenario
from sekring.gateway.workers.scriptlog import ScriptLog

__all__ = ["DriverChoice", "HostOptions"]


class DriverChoice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A driver, by name, with its settings."""

    name: Literal["neonize", "scripted"] = "neonize"
    #: The scripted driver's scenario, a TOML file; none: all sessions are well.
    scenario: str | None = None
    #: Where the scripted driver writes down what it does, as JSON lines; none: nowhere.
    log: str | None = None

    @property
    def build(self) -> str:
        """Library and version, as the breaker is told, without importing the library.

        Raises:
            StartError: the library is not installed.
        """
        if self.name == "scripted":
            return f"scripted/{__version__}"
        try:
            return f"{self.name}/{importlib.metadata.version(self.name)}"
        except importlib.metadata.PackageNotFoundError:
            raise StartError(
                f"SEKRING_DRIVER is {self.name}, which is not installed here. Install it with"
                " `pip install 'sekring[gateway]'` (Linux), or set SEKRING_DRIVER=scripted to play"
                " a scenario without WhatsApp."
            ) from None

    def check(self) -> None:
        """See that workers could make the driver, as far as that can be seen from outside.

        Raises:
            StartError: its library is not installed, or its scenario cannot be used.
        """
        _ = self.build
        if self.name == "scripted":
            load_scenario(self.scenario)

    def bereaved(self, pid: int, orders: Sequence[Connect]) -> None:
        """Take note that a worker is gone, and with it connections that could not say goodbye."""
        if self.name == "scripted":
            log = ScriptLog(self.log)
            for order in orders:
                log.write("disconnect", order, pid=pid)

    def make(self) -> SessionDriver:
        """Import the driver and make it: in a worker, once."""
        if self.name == "scripted":
            scripted = importlib.import_module("sekring.gateway.workers.scripted")
            return cast("SessionDriver", scripted.make_scripted(self.scenario, self.log))
        module = importlib.import_module(f"sekring.gateway.workers.{self.name}.driver")
        return cast("SessionDriver", module.make_driver())


class HostOptions(Struct, frozen=True, kw_only=True):
    """The one argument of a worker's command line, as JSON. Everybody can read it: no secrets."""

    driver: DriverChoice
    #: File descriptor that events are written to.
    events_fd: int
    #: The reading end of stdout and stderr, to be kept open.
    held_fd: int
    #: Connections that the worker may have at a time.
    sessions: int = 1

    def encode(self) -> str:
        """Return it as the argument."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, argument: str) -> "HostOptions":
        """Read the argument."""
        return msgspec.json.decode(argument, type=cls)
