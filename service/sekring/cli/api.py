"""The HTTP API as functions: one per route that a subcommand uses."""

import argparse
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote

from sekring.cli.address import address
from sekring.cli.transport import Answer, Transport
from sekring.guide import Health
from sekring.model import Snapshot, State
from sekring.wire import (
    ForceAnswer,
    ForceBody,
    InstancePage,
    PolicyAnswer,
    ResetAnswer,
    ResetBody,
    ResetsAnswer,
    ResetsBody,
    TransitionList,
)

__all__ = ["PAGE_MAX", "RESETS_S", "Api", "path_of"]

#: Entries that one request may ask for.
PAGE_MAX = 1_000

#: Resetting a large fleet takes the service up to a minute, in seconds.
RESETS_S = 75.0


class Api:
    """Every method returns the decoded answer and the JSON that it came as.

    Each may raise `ServiceRefused` or `Unreachable`.
    """

    def __init__(self, transport: Transport) -> None:
        """Send requests through `transport`."""
        self._transport = transport
        self.url = transport.url

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Api":
        """Return the API of the service that the command line or the environment names.

        Raises:
            SettingsError: the URL or the token cannot be one.
        """
        answer_s = None if options.timeout_ms is None else options.timeout_ms / 1000
        return cls(Transport(address(options.url, os.environ), answer_s))

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._transport.__exit__(kind, error, trace)

    def health(self) -> Answer[Health]:
        """Return the fleet's figures."""
        return self._transport.send("GET", "/health", Health)

    def instance(self, instance_id: str) -> Answer[Snapshot]:
        """Return one instance."""
        return self._transport.send("GET", path_of(instance_id), Snapshot)

    def instances(
        self, state: State | None, *, prefix: str | None = None, cursor: str | None, limit: int
    ) -> Answer[InstancePage]:
        """Return one page of instances."""
        query: dict[str, str | int] = {"limit": limit}
        if state is not None:
            query["state"] = str(state)
        if prefix is not None:
            query["prefix"] = prefix
        if cursor is not None:
            query["cursor"] = cursor
        return self._transport.send("GET", "/v1/instances", InstancePage, query=query)

    def history(self, instance_id: str, limit: int) -> Answer[TransitionList]:
        """Return an instance's latest transitions."""
        path = path_of(instance_id, "history")
        return self._transport.send("GET", path, TransitionList, query={"limit": limit})

    def reset(self, instance_id: str, body: ResetBody) -> Answer[ResetAnswer]:
        """Reset one instance."""
        return self._transport.send("POST", path_of(instance_id, "reset"), ResetAnswer, body=body)

    def reset_many(self, body: ResetsBody) -> Answer[ResetsAnswer]:
        """Reset all instances, or all in a state or with a prefix."""
        return self._transport.send(
            "POST", "/v1/resets", ResetsAnswer, body=body, answer_s=RESETS_S
        )

    def trip(self, instance_id: str, body: ForceBody) -> Answer[ForceAnswer]:
        """Force one instance open."""
        return self._transport.send("POST", path_of(instance_id, "trip"), ForceAnswer, body=body)

    def disable(self, instance_id: str, body: ForceBody) -> Answer[ForceAnswer]:
        """Switch one instance's breaker off."""
        return self._transport.send("POST", path_of(instance_id, "disable"), ForceAnswer, body=body)

    def policy(self, instance_id: str | None) -> Answer[PolicyAnswer]:
        """Return the policy of an instance, or the fleet's."""
        return self._transport.send("GET", _policy_path(instance_id), PolicyAnswer)

    def change_policy(
        self, instance_id: str | None, patch: Mapping[str, object]
    ) -> Answer[PolicyAnswer]:
        """Lay `patch` over the policy of an instance, or the fleet's; the service checks it."""
        return self._transport.send("PUT", _policy_path(instance_id), PolicyAnswer, body=patch)

    def drop_policy(self, instance_id: str | None) -> Answer[PolicyAnswer]:
        """Remove what was set for an instance, or for the fleet."""
        return self._transport.send("DELETE", _policy_path(instance_id), PolicyAnswer)


def path_of(instance_id: str, *more: str) -> str:
    """Return the path of an instance, or of something of it."""
    quoted = quote(instance_id, safe="")
    if not instance_id.strip("."):
        # `.` and `..` are fine ids, and steps in a path unless they are quoted.
        quoted = instance_id.replace(".", "%2E")
    return "/".join(("/v1/instances", quoted, *more))


def _policy_path(instance_id: str | None) -> str:
    return "/v1/policy" if instance_id is None else path_of(instance_id, "policy")
