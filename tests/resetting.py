"""A service with some instances, for the tests of its pages."""

from collections.abc import Collection
from typing import Any

import httpx

from sekring.tokens import NewToken, Role
from tests.serving import ServiceProcess

__all__ = ["OPERATOR", "VIEWER", "Instances", "inline"]

OPERATOR = NewToken.make("operations", Role.OPERATOR)
VIEWER = NewToken.make("dashboard", Role.VIEWER)


def inline(*tokens: NewToken) -> str:
    """Return tokens as SEKRING_TOKENS takes them."""
    return " ".join(f"{t.entry.name}={t.entry.role}:{t.entry.hash}" for t in tokens)


class Instances:
    """What a gateway and an operator do to instances, over the API."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self._client = httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {OPERATOR.token}"}, timeout=10
        )

    def close(self) -> None:
        self._client.close()

    def fail(self, instance_id: str, times: int = 1) -> None:
        outcomes = [{"instance_id": instance_id, "outcome": "failure", "kind": "websocket"}] * times
        self._post("/v1/outcomes", {"outcomes": outcomes})

    def fail_each(self, instance_ids: Collection[str]) -> None:
        """Report one failure of each."""
        failure = {"outcome": "failure", "kind": "websocket"}
        outcomes = [{"instance_id": name, **failure} for name in instance_ids]
        self._post("/v1/outcomes", {"outcomes": outcomes})

    def open(self, instance_id: str) -> str:
        """Open an instance's breaker by 15 failures; return its id."""
        self.fail(instance_id, 15)
        assert self.state(instance_id) == "open"
        return instance_id

    def ban(self, instance_id: str, hours: int = 5) -> str:
        self._post(
            f"/v1/instances/{instance_id}/outcomes",
            {"outcome": "failure", "kind": "temporary_ban", "ban_expires_in_ms": hours * 3_600_000},
        )
        return instance_id

    def reset(self, instance_id: str) -> None:
        self._post(f"/v1/instances/{instance_id}/reset", {})

    def trip(self, instance_id: str, reason: str) -> None:
        self._post(f"/v1/instances/{instance_id}/trip", {"reason": reason})

    def trip_guard(self, reason: str) -> None:
        self._post("/v1/guard/trip", {"reason": reason})

    def reset_guard(self) -> None:
        self._post("/v1/guard/reset", {"reason": "it is over"})

    def state(self, instance_id: str) -> str:
        return str(self._get(f"/v1/instances/{instance_id}")["state"])

    def failures(self, instance_id: str) -> int:
        return int(self._get(f"/v1/instances/{instance_id}")["failures"])

    def history(self, instance_id: str) -> list[str]:
        """The actions in the instance's audit trail, newest first."""
        found = self._get(f"/v1/instances/{instance_id}/history")
        return [entry["action"] for entry in found["transitions"]]

    def resets(self, instance_id: str) -> list[dict[str, Any]]:
        """The resets in the instance's audit trail, newest first."""
        found = self._get(f"/v1/instances/{instance_id}/history")
        return [entry for entry in found["transitions"] if entry["action"] == "reset"]

    def _get(self, path: str) -> dict[str, Any]:
        return dict(self._client.get(path).raise_for_status().json())

    def _post(self, path: str, body: object) -> None:
        self._client.post(path, json=body).raise_for_status()
