"""What `/live` and `/ready` answer, the service's and a gateway's."""

from msgspec import Struct

__all__ = ["Component", "Readiness"]


class Component(Struct, frozen=True):
    """One part of the process: `ok`, `degraded` (it goes on without), or what is the matter."""

    status: str
    detail: str | None = None


class Readiness(Struct, frozen=True):
    """Whether the process is ready, and how its parts are."""

    status: str
    components: dict[str, Component]

    @classmethod
    def of(cls, components: dict[str, Component]) -> "Readiness":
        """Say `ok` if all parts are at least `degraded`, else `unavailable`."""
        ready = all(component.status in {"ok", "degraded"} for component in components.values())
        return cls("ok" if ready else "unavailable", components)
