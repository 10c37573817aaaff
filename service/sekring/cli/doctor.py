"""`sekring doctor`: examines a deployment from inside, and says in words what to change."""

import argparse
import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec
import structlog

from sekring.cli.exits import Exit
from sekring.cli.options import add_command
from sekring.cli.tables import print_json, print_line, print_table
from sekring.doctor.examination import examine
from sekring.doctor.finding import Finding, Status

__all__ = ["register", "run"]

_DESCRIPTION = """\
Examine a deployment from inside: the settings, Redis (reach, version, eviction, persistence,
memory, clock, replicas, rights, partitions), tokens, device store, telemetry and the service.

It goes by the environment of `sekring serve`, so it is run beside it:
  kubectl exec deploy/sekring-service -- sekring doctor

Nothing is changed, but for one key that expires within a minute. Exits 1 if anything fails; with
--strict also if there is a warning."""

_STYLES: Mapping[str, str] = MappingProxyType(
    {Status.OK: "green", Status.WARNING: "yellow", Status.FAILURE: "bold red"}
)


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        help="examine a deployment from inside",
        description=_DESCRIPTION,
        examples="  sekring doctor\n  sekring doctor --json | jq '.findings[] |"
        ' select(.status == "failure")\'',
        remote=False,
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 also if there is a warning")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine, show, and tell by the exit code."""
    with _quiet():
        findings = asyncio.run(examine(os.environ))
    counts = Counter(finding.status for finding in findings)
    bad = counts[Status.FAILURE] + (counts[Status.WARNING] if options.strict else 0)
    if options.json:
        document = {"healthy": not bad, "findings": findings}
        print_json(msgspec.json.encode(document))
    else:
        _show(findings, counts)
    return Exit.REFUSED if bad else Exit.DONE


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of the connections from between the lines: what it says is said there."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _show(findings: Sequence[Finding], counts: Counter[Status]) -> None:
    print_table(
        ("SUBJECT", "STATUS", "FOUND"),
        ((one.subject, _shown(one.status), one.what) for one in findings),
        styles=_STYLES,
    )
    # The same advice once, in the manner of the first finding that it is for.
    advised = {(one.subject, one.advice): one.status for one in reversed(findings) if one.advice}
    if advised:
        print()
        print_line("What to do", style="bold")
        for (subject, advice), status in reversed(advised.items()):
            print_line(f"- {subject}: {advice}", style=_STYLES.get(status, "dim"))
    print()
    print_line(", ".join(f"{counts[one]} {_shown(one)}" for one in Status if counts[one]))


def _shown(status: Status) -> str:
    return status if status in _STYLES else status.replace("_", " ")
