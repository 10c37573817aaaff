"""The machine that is measured on: what it is called in results, and who runs on which core."""

import contextlib
import os
import platform
from collections.abc import Iterator

from msgspec import Struct

__all__ = ["Cores", "described", "on_core"]


class Cores(Struct, frozen=True):
    """A core for the server, one for the load, one for Redis; `None` where nothing can be pinned.

    With two cores, Redis shares the load's. `second` is another one for the server: the fourth.
    """

    server: int | None = None
    load: int | None = None
    redis: int | None = None
    second: int | None = None

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Take the first ones that this process may run on."""
        mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        match mine:
            case [server, load]:
                return cls(server, load, load)
            case [server, load, redis]:
                return cls(server, load, redis)
            case [server, load, redis, second, *_]:
                return cls(server, load, redis, second)
            case _:
                return cls()

    def __str__(self) -> str:
        if self.server is None:
            return "not pinned"
        redis = "with the load" if self.redis == self.load else f"on {self.redis}"
        return f"server on core {self.server}, load on {self.load}, Redis {redis}"


@contextlib.contextmanager
def on_core(*cores: int | None) -> Iterator[None]:
    """Pin this thread meanwhile, and with it every process that it starts; `None` pins nothing."""
    wanted = {core for core in cores if core is not None}
    if not wanted:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def described() -> str:
    """Describe the machine in a line."""
    return (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
