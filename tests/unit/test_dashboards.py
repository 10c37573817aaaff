"""The dashboards as they are committed: made by the code, whole, and fit to be looked at."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from msgspec import structs

from deploy.grafana.__main__ import main
from deploy.grafana.board import Board
from deploy.grafana.panels import ask, figure
from deploy.grafana.render import render
from sekring.http.examples import ADMISSION, VERDICT
from sekring.telemetry.answers import told_of, transition
from sekring.telemetry.spans import Span, Trace
from tests.promql import DASHBOARDS, dashboards, kept_labels, parse, queries

_BOARDS = dashboards()


class Transitioned(NamedTuple):
    """As Redis tells of a transition."""

    before: str
    after: str
    cause: str
    epoch: int


#: Grafana's own, defined everywhere.
_BUILT_IN = {"__rate_interval", "__range"}

#: Units that Grafana knows, of the kinds that these figures are.
_UNITS = {"short", "s", "bytes", "percentunit", "reqps", "cps", "ops"}


def _panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _thresholds(node: object) -> Iterator[list[dict[str, Any]]]:
    if isinstance(node, dict):
        if "steps" in node:
            yield node["steps"]
        for child in node.values():
            yield from _thresholds(child)
    elif isinstance(node, list):
        for child in node:
            yield from _thresholds(child)


def test_the_files_are_what_the_code_makes() -> None:
    # After a change of the code: python -m deploy.grafana
    assert {path.name: path.read_text() for path in DASHBOARDS.iterdir()} == render()


def test_the_command_tells_what_has_drifted(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.grafana.__main__.FOLDER", tmp_path)
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "fleet.json").write_text("{}")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == "fleet.json: differs from the code\n"


def test_a_line_that_leaves_a_gap_is_refused() -> None:
    board = Board("x", "X", "", [])
    panel = figure("One", "Alone.", ask("up"))
    with pytest.raises(ValueError, match="do not fill a line"):
        board.line(4, panel, widths=[20])


@pytest.mark.parametrize("board", _BOARDS.values(), ids=_BOARDS)
class TestBoard:
    def test_is_what_grafanas_own_model_reads(self, board: dict[str, Any]) -> None:
        read = models.Dashboard.from_json(board)
        assert json.loads(JSONEncoder().encode(read)) == board

    def test_fills_the_grid_without_overlaps_and_gaps(self, board: dict[str, Any]) -> None:
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in board["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        height = max(y for _, y in cells) + 1
        assert sorted(cells) == [(x, y) for x in range(24) for y in range(height)]

    def test_names_its_panels_apart(self, board: dict[str, Any]) -> None:
        ids = [panel["id"] for panel in board["panels"]]
        titles = [panel["title"] for panel in _panels(board)]
        assert len(set(ids)) == len(ids)
        assert len(set(titles)) == len(titles)

    def test_uses_only_variables_that_it_has(self, board: dict[str, Any]) -> None:
        has = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"] + board["links"])))
        used |= set(re.findall(r"\$\{?(\w+)", json.dumps(board["templating"])))
        used -= {"__all"}
        assert used - _BUILT_IN == has

    def test_says_of_each_panel_what_it_shows(self, board: dict[str, Any]) -> None:
        for panel in _panels(board):
            assert panel["description"].endswith("."), panel["title"]
            assert len(panel["title"]) < 40

    def test_gives_figures_a_unit_that_grafana_knows(self, board: dict[str, Any]) -> None:
        for panel in _panels(board):
            if panel["type"] in {"stat", "timeseries"}:
                assert panel["fieldConfig"]["defaults"]["unit"] in _UNITS, panel["title"]
            elif panel["type"] == "table" and panel["datasource"]["type"] == "prometheus":
                columns = panel["fieldConfig"]["overrides"]
                units = {
                    look["value"]
                    for column in columns
                    for look in column["properties"]
                    if look["id"] == "unit"
                }
                assert len(columns) == len(panel["targets"])
                assert units <= _UNITS, panel["title"]

    def test_has_colours_in_rising_order(self, board: dict[str, Any]) -> None:
        for panel in _panels(board):
            for steps in _thresholds(panel):
                first, *rest = [step["value"] for step in steps]
                assert first is None, panel["title"]
                assert rest == sorted(rest), panel["title"]

    def test_labels_series_by_what_the_query_keeps(self, board: dict[str, Any]) -> None:
        for panel in _panels(board):
            for target in panel["targets"]:
                named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
                assert not named or named <= kept_labels(target["expr"]) | {"instance"}


def test_traces_are_sought_by_what_spans_tell() -> None:
    told = told_of(ADMISSION) | told_of(VERDICT, "timeout")
    told |= told_of(structs.replace(ADMISSION, permitted=False, cause="fleet", degraded=True))
    # Of a gateway's span; tests/integration/test_gateway_traces.py holds them.
    told |= {"sekring.gateway": "a", "sekring.backoff_ms": 0}
    span = Span("report", Trace(1, "", None, sampled=False))
    transition(span, "i", Transitioned("closed", "open", "failures", 2))
    assert span.events
    (happened,) = span.events

    texts = [
        target["query"]
        for panel in _panels(_BOARDS["instance.json"])
        for target in panel["targets"]
        if target["datasource"]["type"] == "tempo"
    ]
    sought = set(re.findall(r"span\.(sekring\.\w+)", " ".join(texts)))
    assert sought
    assert sought <= set(told)
    assert f'event:name = "{happened.name}"' in texts[0]
    assert set(re.findall(r"event\.(sekring\.\w+)", texts[0])) == set(happened.attributes)


def test_every_query_is_promql() -> None:
    found = list(queries())
    assert len(found) > 100
    for where, query in found:
        try:
            parse(query)
        except ValueError as error:
            pytest.fail(f"{where}: {error}")
