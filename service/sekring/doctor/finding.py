"""What an examination says of one subject."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

__all__ = ["Finding", "Status", "failure", "merged", "ok", "unchecked", "warning"]


class Status(StrEnum):
    """How a subject was found."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    #: It could not be examined; says nothing about how it is.
    UNCHECKED = "not_checked"


class Finding(Struct, frozen=True):
    """One row of the result."""

    subject: str
    status: Status
    what: str
    #: What to change, or how to find out; `None` where nothing is to be done.
    advice: str | None = None


def ok(subject: str, what: str) -> Finding:
    """Say that a subject is as it should be."""
    return Finding(subject, Status.OK, what)


def warning(subject: str, what: str, advice: str) -> Finding:
    """Say that something works, and would be better otherwise."""
    return Finding(subject, Status.WARNING, what, advice)


def failure(subject: str, what: str, advice: str) -> Finding:
    """Say that something does not work, or will lose what it must keep."""
    return Finding(subject, Status.FAILURE, what, advice)


def unchecked(subject: str, what: str, advice: str | None = None) -> Finding:
    """Say why a subject could not be examined."""
    return Finding(subject, Status.UNCHECKED, what, advice)


def merged(findings: Iterable[tuple[str, Finding]]) -> list[Finding]:
    """Make one row of what is the same on several nodes; each node comes with its own finding.

    Where they differ each row names its nodes.
    """
    nodes_by_finding: dict[Finding, list[str]] = {}
    for node, finding in findings:
        nodes_by_finding.setdefault(finding, []).append(node)
    if len(nodes_by_finding) == 1:
        return list(nodes_by_finding)
    return [
        Finding(found.subject, found.status, f"{', '.join(nodes)}: {found.what}", found.advice)
        for found, nodes in nodes_by_finding.items()
    ]
