"""The demonstration: scripted sessions with faults, under a policy that a minute suffices for."""

from pathlib import Path
from typing import Final

import httpx
import msgspec

from sekring.gateway import workers
from sekring.policy import BackoffPatch, PolicyPatch
from sekring.trust import trust
from sekring.wire import SessionBody

__all__ = ["HINTS", "POLICY", "SCENARIO", "prepare"]

#: What happens to the sessions.
SCENARIO: Final = Path(workers.__file__).with_name("demo.toml")

#: How many sessions there are: `demo-01` and so on.
_SESSIONS: Final = 40

#: The guide's figures, about twenty times as quick.
POLICY: Final = PolicyPatch(
    failure_threshold=5,
    window_ms=60_000,
    cooldown_ms=15_000,
    stable_after_ms=3_000,
    backoff=BackoffPatch(base_ms=250, cap_ms=2_000),
)

HINTS: Final = """\
A demonstration: 40 scripted sessions (demo-01 to demo-40); 5 failures in a minute open a breaker,
for 15 s.
  curl {url}/health
  curl {url}/circuit-breaker-status/demo-05
  curl -N {url}/v1/events
  .venv/bin/sekring status --url {url}
Nothing of it is kept."""


async def prepare(url: str) -> None:
    """Set the policy and wish for the sessions."""
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, verify=trust(url), timeout=30
    ) as http:
        answer = await http.put("/v1/policy", content=msgspec.json.encode(POLICY))
        answer.raise_for_status()
        for number in range(1, _SESSIONS + 1):
            body = SessionBody(instance_id=f"demo-{number:02d}")
            answer = await http.post("/v1/sessions", content=msgspec.json.encode(body))
            answer.raise_for_status()
