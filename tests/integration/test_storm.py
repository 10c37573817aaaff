"""The storm in its short form: what the breakers are for, in figures of a simulation."""

from pathlib import Path
from subprocess import run
from sys import executable
from typing import Final
from xml.etree import ElementTree as ET

import msgspec
import pytest

from loadtest.storm import Results

ALONE: Final = "no breaker"
PER_INSTANCE: Final = "a breaker per instance"
GUARDED: Final = "with the fleet guard"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storm")
    # In a process of its own: it seeds the service's chance and quiets its log.
    run([executable, "-m", "loadtest.storm", "--quick", "--results", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return msgspec.json.decode((folder / "storm.json").read_bytes(), type=Results)


def test_the_guard_keeps_its_pace(results: Results) -> None:
    assert results.guard.paced_s > results.storm.outage_s / 2
    # A permit may wait out the rest of its instance's backoff and meet later ones: rarely.
    assert results.guard.over_pace_s <= results.guard.paced_s / 100
    actions = [step.action for step in results.guard.steps]
    assert actions[0] == "guard_trip"
    assert actions.count("guard_trip") == 1
    assert actions[-1] == "guard_recover"


def test_the_guard_has_the_lowest_peak_when_whatsapp_is_back(results: Results) -> None:
    peaks = {name: one.peak_attempts_per_s_after for name, one in results.runs.items()}
    assert peaks[GUARDED] < peaks[ALONE]
    assert peaks[GUARDED] < peaks[PER_INSTANCE]


def test_the_guard_makes_the_fewest_attempts_in_vain(results: Results) -> None:
    in_vain = {name: one.attempts_in_vain for name, one in results.runs.items()}
    assert in_vain[GUARDED] < in_vain[PER_INSTANCE] / 2
    assert in_vain[GUARDED] < in_vain[ALONE] / 2


@pytest.mark.parametrize("percent", ["50 %", "95 %", "99 %"])
def test_the_guard_recovers_no_later_than_breakers_alone(results: Results, percent: str) -> None:
    times = {name: one.recovered_s[percent] for name, one in results.runs.items()}
    guarded, per_instance = times[GUARDED], times[PER_INSTANCE]
    assert guarded is not None
    assert per_instance is None or guarded <= per_instance


def test_everybody_is_back_in_the_end(results: Results) -> None:
    for name, one in results.runs.items():
        assert one.course.connected[-1] == results.storm.sessions, name


def test_the_plot_has_a_curve_for_each(folder: Path) -> None:
    svg = ET.parse(folder / "storm.svg")  # noqa: S314 - our own
    curves = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(curves) == 2 * 3
