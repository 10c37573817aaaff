"""One instance in words."""

from collections import Counter

from sekring.cli.durations import in_words
from sekring.cli.moments import moment
from sekring.model import REFUSING, Snapshot, State
from sekring.wire import PolicyAnswer

__all__ = ["facts", "headline", "open_end"]


def headline(snapshot: Snapshot) -> str:
    """Say what a gateway that asks now is told."""
    effect = "attempts are refused" if snapshot.state in REFUSING else "attempts are permitted"
    if snapshot.state is State.HALF_OPEN:
        effect = "a few attempts are permitted, to probe"
    known = "" if snapshot.known else "; nothing is known of it"
    return f"{snapshot.instance_id} is {snapshot.state}: {effect}{known}"


def open_end(snapshot: Snapshot) -> str | None:
    """Return what ends a state that time alone does not end: `until` that."""
    if snapshot.state in {State.FORCED_OPEN, State.DISABLED}:
        return "a reset"
    if snapshot.state is State.OPEN:
        # Of a ban for good not even a new pairing is the end.
        return "lifted" if snapshot.terminal == "banned" else "re-paired"
    return "proven" if snapshot.state is State.HALF_OPEN else None


def facts(snapshot: Snapshot, answer: PolicyAnswer) -> list[tuple[str, str]]:
    """Return everything that is known, with a name for each."""
    return [
        ("State", snapshot.state),
        *_why(snapshot),
        *_counters(snapshot, answer),
        *_connection(snapshot),
        *_last_failure(snapshot),
        ("Policy", _policy(answer)),
        ("Epoch", str(snapshot.epoch)),
    ]


def _why(snapshot: Snapshot) -> list[tuple[str, str]]:
    now = snapshot.now_ms
    found = []
    if snapshot.cause:
        found.append(("Cause", snapshot.cause))
    if snapshot.reason:
        found.append(("Reason", snapshot.reason))
    if snapshot.opened_at_ms is not None:
        found.append(("Opened", moment(snapshot.opened_at_ms, now)))
    if snapshot.resets_at_ms is not None:
        found.append(("Until", moment(snapshot.resets_at_ms, now)))
    elif end := open_end(snapshot):
        found.append(("Until", end))
    if snapshot.terminal and snapshot.terminal != snapshot.cause:
        found.append(("Then", f"open: {snapshot.terminal}"))
    if snapshot.ban_until_ms is not None:
        found.append(("Banned until", moment(snapshot.ban_until_ms, now)))
    return found


def _counters(snapshot: Snapshot, answer: PolicyAnswer) -> list[tuple[str, str]]:
    policy = answer.policy
    kinds = Counter(failure.kind for failure in snapshot.recent_failures)
    failures = (
        f"{snapshot.failures} of {policy.failure_threshold} within {in_words(policy.window_ms)}"
    )
    if kinds:
        failures += f" ({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())})"
    found = [("Failures", failures), ("Retry attempts", str(snapshot.retry_attempts))]
    if snapshot.state in REFUSING:
        found.append(("While open", f"{_failures(snapshot.suppressed)} reported, not counted"))
    if snapshot.state is State.HALF_OPEN:
        proven = f"{snapshot.probe_successes} of {policy.probes} succeeded"
        found.append(("Probes", f"{proven}, {snapshot.probes_in_flight} in flight"))
    return found


def _connection(snapshot: Snapshot) -> list[tuple[str, str]]:
    words: str = snapshot.connection or "none"
    if snapshot.connection_since_ms is not None:
        words += f" since {moment(snapshot.connection_since_ms, snapshot.now_ms)}"
    return [("Connection", words)]


def _last_failure(snapshot: Snapshot) -> list[tuple[str, str]]:
    if snapshot.last_failure_at_ms is None:
        return []
    words = f"{snapshot.last_failure_kind}, {moment(snapshot.last_failure_at_ms, snapshot.now_ms)}"
    found = [("Last failure", words)]
    if snapshot.last_failure_detail:
        found.append(("", snapshot.last_failure_detail))
    return found


def _policy(answer: PolicyAnswer) -> str:
    policy = answer.policy
    words = (
        f"opens at {_failures(policy.failure_threshold)} within {in_words(policy.window_ms)}, "
        f"for {in_words(policy.cooldown_ms)}"
    )
    own = sorted(name for name, source in answer.sources.items() if source == "instance")
    return f"{words}; {', '.join(own)} of its own" if own else f"{words}; the fleet's"


def _failures(count: int) -> str:
    return f"{count:,} failure" + ("" if count == 1 else "s")
