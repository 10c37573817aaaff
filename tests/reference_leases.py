"""Leases once more, in plain Python: what the scripts of sessions are compared with.

One partition; time is passed in, and there is no Redis.
"""

from dataclasses import dataclass, field

__all__ = ["LEASE_MAX_MS", "Owner", "Sessions"]

#: No lease ends later than this from now.
LEASE_MAX_MS = 120_000


@dataclass
class Owner:
    """Who owned a session last."""

    gateway: str = ""
    token: int = 0
    phase: str = "vacant"
    since_ms: int = 0
    device: str | None = None
    detail: str | None = None


@dataclass
class Sessions:
    """The sessions of one partition."""

    wanted: set[str] = field(default_factory=set)
    #: When each one's lease ends; 0: released.
    ends_ms: dict[str, int] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    last_token: int = 0

    def want(self, name: str) -> bool:
        """Whether that was news."""
        is_new = name not in self.wanted
        self.wanted.add(name)
        self.ends_ms.setdefault(name, 0)
        return is_new

    def drop(self, name: str, now: int) -> bool:
        """Whether it was wanted."""
        was_wanted = name in self.wanted
        self.wanted.discard(name)
        if self.ends_ms.get(name, 0) <= now:
            self._forget(name)
        return was_wanted

    def claim(
        self, gateway: str, limit: int, ttl_ms: int, now: int
    ) -> list[tuple[str, int, str | None]]:
        """Return names, tokens, and of whom each was taken."""
        for name, ends_ms in self.ends_ms.items():
            self.ends_ms[name] = min(ends_ms, now + LEASE_MAX_MS)
        claimed: list[tuple[str, int, str | None]] = []
        for ends_ms, name in sorted((ends_ms, name) for name, ends_ms in self.ends_ms.items()):
            if ends_ms > now or len(claimed) == limit:
                break
            if name not in self.wanted:
                self._forget(name)
                continue
            was = self.owners.get(name, Owner())
            token = self.last_token = max(self.last_token + 1, was.token + 1, now)
            self.owners[name] = Owner(gateway, token, "waiting", now, was.device)
            self.ends_ms[name] = now + ttl_ms
            claimed.append((name, token, was.gateway or None))
        return claimed

    def renew(self, gateway: str, name: str, token: int, ttl_ms: int, now: int) -> bool:
        """Whether the lease is still the gateway's."""
        held = self._held(gateway, name, token, now)
        if held:
            self.ends_ms[name] = now + ttl_ms
        return held

    def release(self, gateway: str, name: str, token: int, now: int) -> bool:
        """Whether it was the gateway's to give back."""
        owner = self.owners.get(name, Owner())
        if owner.token != token or owner.gateway not in {gateway, ""}:
            return False
        if owner.gateway:
            if name in self.wanted:
                self.owners[name] = Owner("", token, "vacant", now, owner.device)
                self.ends_ms[name] = 0
            else:
                self._forget(name)
        return True

    def set_phase(
        self, gateway: str, name: str, token: int, *, phase: str, device: str | None, now: int
    ) -> bool:
        """Whether the lease is the gateway's."""
        if not self._held(gateway, name, token, now):
            return False
        owner = self.owners[name]
        if owner.phase != phase:
            owner.phase, owner.since_ms = phase, now
        owner.device = device or (None if phase == "unpaired" else owner.device)
        return True

    def vacant(self, now: int) -> int:
        """How many are worth a look of whoever claims."""
        return sum(not now < ends_ms <= now + LEASE_MAX_MS for ends_ms in self.ends_ms.values())

    def _held(self, gateway: str, name: str, token: int, now: int) -> bool:
        owner = self.owners.get(name, Owner())
        in_time = self.ends_ms.get(name, 0) > now
        return in_time and (owner.gateway, owner.token) == (gateway, token)

    def _forget(self, name: str) -> None:
        self.ends_ms.pop(name, None)
        self.owners.pop(name, None)
