"""Scenarios of the scripted driver: read strictly, played the same each time."""

from pathlib import Path

import pytest

from sekring.errors import SettingsError
from sekring.gateway.workers.scenario import (
    Fail,
    LogIn,
    Rule,
    Scenario,
    Stay,
    Wait,
    demo_instances,
    demo_path,
    load_scenario,
)
from sekring.taxonomy import EFFECTS, Effect, Kind, classify


def scenario(folder: Path, text: str) -> Scenario:
    file = folder / "scenario.toml"
    file.write_text(text)
    return load_scenario(file)


def one(steps: str, more: str = "") -> str:
    return f'[[rule]]\ninstances = "*"\n{more}\n[[rule.connect]]\nsteps = [{steps}]\n'


def kinds_of(play: Scenario, instance_id: str, connects: int) -> list[str]:
    found = []
    for number in range(connects):
        last = play.steps(instance_id, number)[-1]
        found.append(last.kind or "" if isinstance(last, Fail) else "stay")
    return found


# ---------------------------------------------------------------------------------------- who


def test_without_a_scenario_all_sessions_are_well() -> None:
    assert load_scenario(None).steps("any", 7) == (Wait(ms=50), LogIn(), Stay())


def test_the_first_rule_that_matches_is_played(tmp_path: Path) -> None:
    play = scenario(
        tmp_path,
        '[[rule]]\ninstances = ["a-1", "b-*"]\n'
        '[[rule.connect]]\nsteps = [{ do = "fail", kind = "dns" }]\n'
        '[[rule]]\ninstances = "a-*"\n'
        '[[rule.connect]]\nsteps = [{ do = "fail", kind = "tls" }]\n',
    )

    found = [kinds_of(play, each, 1)[0] for each in ("a-1", "a-2", "b-9", "B-9")]
    assert found == ["dns", "tls", "dns", "stay"]


# --------------------------------------------------------------------------------------- when

IN_TURN = """
[[rule.connect]]
times = 2
steps = [{ do = "fail", kind = "dns" }]
[[rule.connect]]
steps = [{ do = "fail", kind = "tls" }]
"""


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        pytest.param("", ["dns", "dns", "tls", "tls", "tls", "tls", "tls"], id="the last again"),
        pytest.param(
            'repeat = "all"', ["dns", "dns", "tls", "dns", "dns", "tls", "dns"], id="all again"
        ),
    ],
)
def test_connects_are_played_in_turn(tmp_path: Path, repeat: str, expected: list[str]) -> None:
    play = scenario(tmp_path, f'[[rule]]\ninstances = "*"\n{repeat}\n{IN_TURN}')

    assert kinds_of(play, "x", 7) == expected


# ------------------------------------------------------------------------------------ strictly


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("sed = 1", "`sed`", id="unknown field"),
        pytest.param('[[rule]]\nconnect = []\ninstance = "*"', "`instance`", id="in a rule"),
        pytest.param(
            '[[rule]]\ninstances = "*"\n[[rule.connect]]\nrepeat = 2\nsteps = []',
            "`repeat` - at `$.rule[0].connect[0]`",
            id="in a connect",
        ),
        pytest.param(
            one('{ do = "wait", s = 3 }'),
            "`s` - at `$.rule[0].connect[0].steps[0]`",
            id="in a step",
        ),
        pytest.param(one('{ do = "dance" }'), "'dance' - at `$.rule[0]", id="unknown step"),
        pytest.param(
            one('{ do = "wait", ms = -1 }'),
            "got -1 - at `$.rule[0].connect[0].steps[0]`",
            id="negative time",
        ),
        pytest.param(one('{ do = "fail", kind = "sad" }'), "'sad' - at", id="unknown kind"),
        pytest.param(one('{ do = "fail" }'), "steps[0]`", id="failure of no kind"),
        pytest.param(
            one('{ do = "fail", protocol = "whatsmeow" }'), "steps[0]`", id="protocol alone"
        ),
        pytest.param(one('{ do = "fail", code = 401 }'), "steps[0]`", id="code alone"),
        pytest.param(
            one('{ do = "fail", kind = "dns", code = 401, protocol = "whatsmeow" }'),
            "and not both - at `$.rule[0].connect[0].steps[0]`",
            id="kind and code",
        ),
        pytest.param(one('{ do = "wait", ms = 1 }'), "connect[0].steps`", id="no end"),
        pytest.param(one(""), "connect[0].steps`", id="no step"),
        pytest.param(one('{ do = "stay" }, { do = "hang" }'), "steps[0]`", id="after the end"),
        pytest.param(
            one('{ do = "connect" }, { do = "qr" }, { do = "stay" }'),
            "steps[1]`",
            id="late QR code",
        ),
        pytest.param(
            one('{ do = "keep_alive", healthy = true }, { do = "stay" }'),
            "steps[0]`",
            id="keep-alive of nothing",
        ),
        pytest.param(
            one('{ do = "wait", ms = [9, 3] }, { do = "stay" }'), "(9, 3)", id="times swapped"
        ),
        pytest.param('[[rule]]\ninstances = "*"\nconnect = []', "rule[0].connect", id="no connect"),
        pytest.param(
            one('{ do = "stay" }').replace('"*"', "[]"), "rule[0].instances", id="about nobody"
        ),
        pytest.param(one('{ do = "stay" }', 'repeat = "none"'), "rule[0].repeat", id="repeat"),
        pytest.param("[[rule]", "not TOML", id="no TOML"),
    ],
)
def test_what_cannot_be_played_is_named(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        scenario(tmp_path, text)

    assert names in str(refusal.value)
    assert str(refusal.value).startswith("SEKRING_SCENARIO: ")


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        load_scenario(tmp_path / "none.toml")


# ------------------------------------------------------------------------------------ the demo


def test_the_demo_has_forty_sessions_of_which_most_are_well() -> None:
    demo = load_scenario(demo_path())
    sessions = demo_instances()

    well = [each for each in sessions if set(kinds_of(demo, each, 3)) == {"stay"}]

    assert len(sessions) == 40
    assert 20 <= len(well) < 40


def test_the_demo_shows_every_effect_of_a_failure_but_a_build_fault() -> None:
    demo = load_scenario(demo_path())
    seen = set()
    for instance_id in demo_instances():
        for number in range(20):
            for step in demo.steps(instance_id, number):
                if isinstance(step, Fail):
                    kind = step.kind or classify(step.protocol or "whatsmeow", step.code or 0)
                    seen.add(EFFECTS[Kind(kind)])

    assert seen >= {Effect.COUNT, Effect.TERMINAL, Effect.BAN, Effect.CONFLICT}


def test_rules_play_on_after_any_number_of_connects() -> None:
    rule = Rule(instances="*", connect=load_scenario(demo_path()).rule[0].connect)

    assert rule.steps(1_000_000)
