"""Several replicas on one Redis, and what a gateway or an operator does at each."""

import itertools
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Self

import httpx

from tests.servers import wait_until
from tests.serving import ServiceProcess

__all__ = ["REPLICAS", "Replica", "Replicas"]

#: As many as the fleet of the specification.
REPLICAS = 4

#: How long an answer may take before it counts as none, in seconds; what is fast enough is the
#: tests' own matter.
_PATIENCE_S = 20

#: How long a fleet may need to be whole again after a fault, in seconds.
_RECOVERY_S = 60

#: By then every replica goes by a policy, in seconds after it was set.
_POLICY_S = 1

Body = dict[str, Any]


class Replica(ServiceProcess):
    """A replica that can be asked; whatever it does not answer with 200 fails the test."""

    _ids = itertools.count()

    def __init__(self, redis_url: str | None, **settings: object) -> None:
        """Prepare a process; nothing is started yet."""
        super().__init__(redis_url, **settings)
        # One for all requests: each new one would read the machine's certificates.
        url = f"http://{self.host}:{self.port}"
        self._client = httpx.Client(base_url=url, timeout=_PATIENCE_S)
        weakref.finalize(self, self._client.close)

    def permit(self, instance_id: str, **body: object) -> Body:
        """Ask for an attempt."""
        return self.post(f"/v1/instances/{instance_id}/attempts", body)

    def report(self, instance_id: str, outcome: str = "failure", **body: object) -> Body:
        """Report an outcome; a failure is of the kind `websocket` unless `kind` says otherwise."""
        if outcome == "failure":
            body = {"kind": "websocket"} | body
        body = {"id": f"report-{next(self._ids)}"} | body
        return self.post(f"/v1/instances/{instance_id}/outcomes", {"outcome": outcome, **body})

    def fail(self, instance_id: str, times: int) -> list[Body]:
        """Report failures, one after the other; return the verdicts."""
        return [self.report(instance_id) for _ in range(times)]

    def reset(self, instance_id: str) -> Body:
        """Close the breaker, as an operator."""
        return self.post(f"/v1/instances/{instance_id}/reset", {})

    def instance(self, instance_id: str) -> Body:
        """Return the instance as the replica sees it."""
        return self.get(f"/v1/instances/{instance_id}")

    def history(self, instance_id: str) -> list[str]:
        """Return the actions in the instance's audit trail, oldest first."""
        found = self.get(f"/v1/instances/{instance_id}/history")["transitions"]
        return [entry["action"] for entry in reversed(found)]

    def health(self) -> Body:
        """Return what the guide's `/health` has under `data`."""
        data: Body = self.get("/health")["data"]
        return data

    def set_policy(self, **policy: object) -> None:
        """Set the fleet's policy, all of it, and wait until every replica goes by it."""
        if self.get("/v1/policy")["set"] == policy:
            return
        self._ask("DELETE", "/v1/policy")
        self._ask("PUT", "/v1/policy", policy)
        time.sleep(_POLICY_S)

    @property
    def whole(self) -> bool:
        """Whether it sees Redis, and has nothing left to replay or to have confirmed."""
        try:
            data = self.health()
        except (httpx.HTTPError, AssertionError):
            return False
        waiting = data["queued_reports"] + data["unconfirmed_changes"]
        return not data["degraded"] and waiting == 0

    def get(self, path: str) -> Body:
        """Return the answer to a GET."""
        return self._ask("GET", path)

    def post(self, path: str, body: object) -> Body:
        """Return the answer to a POST."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: object = None) -> Body:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Body = answer.json()
        return found


class Replicas(Sequence[Replica]):
    """`with Replicas([redis.url] * 4) as replicas: replicas[0].permit("628")`."""

    def __init__(self, redis_urls: Sequence[str], **settings: object) -> None:
        """Prepare one replica for each URL, all with the same settings."""
        self._all = [Replica(url, **settings) for url in redis_urls]

    def __getitem__(self, place: Any) -> Any:
        """Return one replica, or several."""
        return self._all[place]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    def __iter__(self) -> Iterator[Replica]:
        """Yield each."""
        return iter(self._all)

    @property
    def ports(self) -> list[int]:
        """Where they listen."""
        return [replica.port for replica in self]

    def wait_until_whole(self) -> None:
        """Wait until every replica sees Redis and has replayed what it had queued."""
        for replica in self:
            wait_until(lambda: replica.whole, f"{replica.url} to be whole again", _RECOVERY_S)  # noqa: B023

    def permitted(self, instance_id: str) -> list[bool]:
        """Ask each for an attempt; return what each says."""
        return [replica.permit(instance_id)["permitted"] for replica in self]

    def __enter__(self) -> Self:
        """Start all at once."""
        try:
            for replica in self:
                replica.start(wait=False)
            for replica in self:
                wait_until(replica.is_ready, replica.url, seconds=60)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all at once, whatever they are doing."""
        self.kill()

    def kill(self) -> None:
        """End them by SIGKILL."""
        for replica in self:
            replica.kill()
