"""`sekring health`: the fleet in figures."""

import argparse
import sys
import time

from sekring.cli.api import Api
from sekring.cli.durations import duration
from sekring.cli.exits import Exit
from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.cli.moments import local, now_ms
from sekring.cli.options import add_command
from sekring.cli.printable import printable
from sekring.cli.tables import print_facts, print_json, print_line
from sekring.guide import HealthData

__all__ = ["register", "run"]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "health",
        help="show the fleet in figures",
        description="Show the fleet in figures.\n\n"
        "Exits 0 when the service answered, however the fleet is, and 3 when it did not. With\n"
        "--every it goes on until Ctrl-C, and says on stderr when the service is away.",
        examples="  sekring health\n  sekring health --json | jq .data.health_score\n"
        "  sekring health --every 5s",
    )
    parser.add_argument(
        "--every",
        dest="every_ms",
        metavar="TIME",
        type=duration,
        help="show them again and again, such as every 5s (`sekring watch` shows more)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and show, once or again and again."""
    with Api.of(options) as api:
        if options.every_ms is None:
            return _show(api, options)
        while True:
            if not options.json:
                print_line(local(now_ms()), style="dim")
            try:
                _show(api, options)
            except (ServiceRefused, Unreachable) as error:
                if error.code is not Exit.UNREACHABLE:
                    raise
                print(f"sekring: {printable(str(error))}", file=sys.stderr)
            if not options.json:
                print()
            sys.stdout.flush()
            time.sleep(options.every_ms / 1000)


def _show(api: Api, options: argparse.Namespace) -> Exit:
    answer = api.health()
    if options.json:
        print_json(answer.body)
        return Exit.DONE
    figures = answer.value.data
    print_line(f"{answer.value.message} ({api.url})", style="bold")
    if figures.degraded:
        print_line(
            "Degraded: Redis is not reachable, or has yet to learn what was reported meanwhile. "
            "The figures are the last known ones.",
            style="red",
        )
    print_facts(_facts(figures))
    return Exit.DONE


def _facts(figures: HealthData) -> list[tuple[str, str]]:
    refusing = f"{figures.circuit_breaker_activations:,}"
    if figures.forced_open:
        refusing += f" ({figures.forced_open:,} forced by an operator)"
    return [
        ("Health score", f"{figures.health_score} of 100"),
        ("Instances", f"{figures.total_instances:,}"),
        ("Connected", f"{figures.active_connections:,}"),
        ("Connecting", f"{figures.connecting:,}"),
        ("Breakers open", refusing),
        ("Breakers half-open", f"{figures.half_open:,}"),
        ("Breakers disabled", f"{figures.disabled:,}"),
        ("Fleet guard", _guard(figures)),
        ("Recent failures", f"{figures.total_recent_failures:,}"),
        ("Retry attempts", f"{figures.total_retry_attempts:,}"),
        *_waiting(figures),
    ]


def _waiting(figures: HealthData) -> list[tuple[str, str]]:
    waiting = []
    if figures.queued_reports:
        waiting.append(("Waiting for Redis", f"{figures.queued_reports:,}"))
    if figures.dropped_reports:
        waiting.append(("Dropped since start", f"{figures.dropped_reports:,}"))
    if figures.unconfirmed_changes:
        waiting.append(("Not on Redis' replicas yet", f"{figures.unconfirmed_changes:,}"))
    return waiting


def _guard(figures: HealthData) -> str:
    if figures.guard_rate_per_s is None:
        return figures.guard
    return f"{figures.guard}: {figures.guard_rate_per_s:,g} permits a second"
