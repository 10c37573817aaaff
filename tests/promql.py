"""What the dashboards and the rules ask Prometheus, taken apart."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import promql_parser
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    Expr,
    Matcher,
    MatchOp,
    VectorSelector,
)

__all__ = [
    "DASHBOARDS",
    "PROMETHEUS",
    "Asked",
    "asked",
    "dashboards",
    "kept_labels",
    "parse",
    "plain",
    "queries",
    "rules",
]

_DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = _DEPLOY / "grafana" / "dashboards"
PROMETHEUS = _DEPLOY / "prometheus"

#: What Grafana puts in place of its variables, and something that may stand there.
_STAND_INS = {"$__rate_interval": "1m", "$__range": "3h", "$replica": ".+"}


class Asked(msgspec.Struct, frozen=True):
    """A metric that a query selects."""

    name: str
    #: Labels that the query selects or groups by.
    labels: frozenset[str]
    #: What it demands of labels: (label, pattern, whether a value has to match).
    demands: tuple[tuple[str, str, bool], ...]
    #: Where the query stands, for the message.
    where: str


def dashboards() -> dict[str, Any]:
    """Return every dashboard that is committed, by its file's name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def rules() -> list[dict[str, Any]]:
    """Return every rule, recording and alerting."""
    files = sorted((PROMETHEUS / "rules").glob("*.yaml"))
    parsed = [msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any]) for path in files]
    return [rule for one in parsed for group in one["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Yield where each query stands, and the query."""
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if target["datasource"]["type"] == "prometheus":
                    yield f"{name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: ${variable['name']}", _of_variable(variable["query"])
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]


def asked() -> list[Asked]:
    """Return everything that any query selects."""
    return [one for where, query in queries() for one in _selected(where, parse(query))]


def plain(query: str, job: str = "sekring") -> str:
    """Put something in place of Grafana's variables, as Grafana does."""
    values = _STAND_INS | {"$job": job}
    return re.sub(r"\$\w+", lambda found: values.get(found[0], found[0]), query)


def parse(query: str) -> Expr:
    """Parse a query in which Grafana's variables still stand."""
    return promql_parser.parse(plain(query))


def kept_labels(query: str) -> frozenset[str]:
    """Return all labels that the query groups by."""
    kept: set[str] = set()
    promql_parser.walk(parse(query), lambda node: kept.update(_grouped(node)))
    return frozenset(kept)


def _selected(where: str, query: Expr) -> Iterator[Asked]:
    around: list[frozenset[str]] = []
    found: list[Asked] = []

    def enter(node: Expr) -> None:
        around.append(_grouped(node))
        if isinstance(node, VectorSelector):
            matchers = node.matchers.matchers
            name = node.name
            assert name, f"{where}: a selection without a metric's name"
            found.append(
                Asked(
                    name,
                    frozenset().union(*around, (one.name for one in matchers)),
                    tuple(_demand(one) for one in matchers),
                    where,
                )
            )

    promql_parser.walk(query, enter, lambda _: around.pop() is None or None)
    return iter(found)


def _demand(matcher: Matcher) -> tuple[str, str, bool]:
    literal = matcher.op in (MatchOp.Equal, MatchOp.NotEqual)
    pattern = re.escape(matcher.value) if literal else matcher.value
    return matcher.name, pattern, matcher.op in (MatchOp.Equal, MatchOp.Re)


def _grouped(node: Expr) -> frozenset[str]:
    if not isinstance(node, AggregateExpr) or node.modifier is None:
        return frozenset()
    assert node.modifier.type == AggModifierType.By, "say by which labels, not without which"
    return frozenset(node.modifier.labels)


def _of_variable(query: str | Mapping[str, Any]) -> str:
    text = query if isinstance(query, str) else query["query"]
    metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", text).groups()  # type: ignore[union-attr]
    return f"count by ({label}) ({metric})"
