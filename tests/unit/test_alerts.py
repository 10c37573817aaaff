"""The rules for Prometheus, by its own tool, and the runbook that their alerts lead to."""

import re
import shlex
import subprocess
from typing import Any

import msgspec
import pytest

from sekring.cli.main import _parser
from tests.promql import PROMETHEUS, rules

_ALERTS = [rule for rule in rules() if "alert" in rule]
_NAMES = [rule["alert"] for rule in _ALERTS]
_RUNBOOK = (PROMETHEUS / "RUNBOOK.md").read_text()
_SECTIONS = re.findall(r"^## (\w+)$", _RUNBOOK, re.MULTILINE)


def _succeeds(*command: str) -> None:
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _cases() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "tests").glob("*.yaml"))
    parsed = [msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any]) for path in files]
    return [
        case for one in parsed for test in one["tests"] for case in test.get("alert_rule_test", ())
    ]


def test_the_configuration_and_its_rules_are_valid(promtool: str) -> None:
    _succeeds(promtool, "check", "config", "prometheus.yml")


def test_every_alert_fires_when_it_should_and_only_then(promtool: str) -> None:
    tests = sorted(str(path.relative_to(PROMETHEUS)) for path in PROMETHEUS.glob("tests/*.yaml"))
    _succeeds(promtool, "test", "rules", *tests)


@pytest.mark.parametrize("alert", _ALERTS, ids=_NAMES)
class TestAlert:
    def test_has_a_case_in_which_it_fires_and_one_in_which_not(self, alert: dict[str, Any]) -> None:
        fires = {
            bool(case.get("exp_alerts")) for case in _cases() if case["alertname"] == alert["alert"]
        }
        assert fires == {True, False}

    def test_says_how_bad_it_is_and_in_words_what(self, alert: dict[str, Any]) -> None:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description", "runbook_url"} == set(alert["annotations"])
        assert alert["annotations"]["description"].endswith(".")

    def test_leads_to_a_section_of_the_runbook(self, alert: dict[str, Any]) -> None:
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert (PROMETHEUS.parents[1] / page).samefile(PROMETHEUS / "RUNBOOK.md")
        # GitHub's anchors: the heading in small letters.
        assert anchor in [
            line.lower() for line in re.findall(r"^## (\w+)$", _RUNBOOK, re.MULTILINE)
        ]
        assert alert["alert"] in _RUNBOOK


def test_every_section_of_the_runbook_belongs_to_an_alert() -> None:
    assert [one for one in _SECTIONS if not any(name.startswith(one) for name in _NAMES)] == []


def test_the_runbooks_commands_are_commands() -> None:
    commands = re.findall(r"`(sekring [^`]+)`", _RUNBOOK)
    assert len(commands) > 5
    for command in commands:
        words = shlex.split(command)[1:]
        # Ends with SystemExit where it is wrong.
        _parser(words).parse_args(words)
