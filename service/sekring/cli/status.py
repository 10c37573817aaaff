"""`sekring status`: the breakers that are not closed, or everything about one."""

import argparse
from collections.abc import Sequence

from sekring.cli.api import Api
from sekring.cli.durations import in_words
from sekring.cli.exits import Exit
from sekring.cli.instance import facts, headline, open_end
from sekring.cli.listing import Listing, collect
from sekring.cli.moments import relative
from sekring.cli.options import add_command, add_prefix, add_state, at_least_one, instance_id
from sekring.cli.tables import print_facts, print_json, print_line, print_table
from sekring.errors import InvalidInput
from sekring.guide import HealthData
from sekring.model import REFUSING, Snapshot, State

__all__ = ["register", "run"]

#: What is listed unless a state is named, in this order.
_SHOWN = (State.OPEN, State.FORCED_OPEN, State.HALF_OPEN, State.DISABLED)

_HEADINGS = ("INSTANCE", "STATE", "TIME LEFT", "OPENED", ">FAILURES", "CAUSE")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "status",
        help="show which breakers are not closed, or one instance",
        description="Without ID: the instances whose breaker is open, forced open, half-open or "
        "disabled,\nand the fleet's totals; exits 0.\n\n"
        "With ID: everything about that instance. Exits 0 if its breaker permits attempts\n"
        "(closed, half_open, disabled) and 1 if it refuses them (open, forced_open).",
        examples="  sekring status\n"
        "  sekring status --state disabled --limit 20\n"
        "  sekring status --prefix 6281\n"
        "  sekring status 6281234567890 && connect 6281234567890",
    )
    parser.add_argument("id", metavar="ID", nargs="?", type=instance_id, help="one instance")
    add_state(parser, "list those in this state")
    add_prefix(parser, "list those whose ID begins with this")
    parser.add_argument(
        "--limit", metavar="N", type=at_least_one, help="list at most so many [default: all]"
    )
    parser.add_argument(
        "--cursor", help="with --state: go on where a listing with --limit --json ended"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show one instance, or the listing.

    Raises:
        InvalidInput: the options contradict each other.
    """
    if options.id is not None:
        if options.state or options.prefix or options.limit or options.cursor:
            raise InvalidInput(
                "--state, --prefix, --limit and --cursor go with a listing, not with an ID."
            )
        with Api.of(options) as api:
            return _one(api, options)
    if options.cursor and not options.state:
        raise InvalidInput("--cursor goes with --state.")
    with Api.of(options) as api:
        return _listing(api, options)


def _one(api: Api, options: argparse.Namespace) -> Exit:
    answer = api.instance(options.id)
    snapshot = answer.value
    if options.json:
        print_json(answer.body)
    else:
        policy = api.policy(options.id).value
        print_line(headline(snapshot), style="bold")
        print_facts(facts(snapshot, policy))
    return Exit.REFUSED if snapshot.state in REFUSING else Exit.DONE


def _listing(api: Api, options: argparse.Namespace) -> Exit:
    states = [State(options.state)] if options.state else _SHOWN
    listing = collect(
        api, states, prefix=options.prefix, limit=options.limit, cursor=options.cursor
    )
    if options.json:
        print_json(listing.body)
        return Exit.DONE
    figures = api.health().value.data
    _show(listing, states, options.prefix)
    print_line(_totals(figures), style="dim")
    return Exit.DONE


def _show(listing: Listing, states: Sequence[State], prefix: str | None) -> None:
    if not listing.snapshots:
        what = states[0] if len(states) == 1 else "open, forced open, half-open or disabled"
        of = f" of an instance whose ID begins with {prefix}" if prefix else ""
        print_line(f"No breaker{of} is {what}.")
        return
    # Within a state in the order of the ids, where a person looks one up.
    ordered = sorted(listing.snapshots, key=lambda one: (states.index(one.state), one.instance_id))
    print_table(_HEADINGS, map(_row, ordered))
    if listing.more:
        print_line(f"There are more than these {len(ordered):,}: raise --limit.", style="yellow")


def _row(snapshot: Snapshot) -> list[str]:
    opened = snapshot.opened_at_ms
    return [
        snapshot.instance_id,
        snapshot.state,
        _left(snapshot),
        "" if opened is None else relative(opened, snapshot.now_ms, coarse=True),
        f"{snapshot.failures}/{snapshot.failure_threshold}",
        ": ".join(filter(None, (snapshot.cause, snapshot.reason))),
    ]


def _left(snapshot: Snapshot) -> str:
    if snapshot.remaining_ms is not None:
        return in_words(snapshot.remaining_ms)
    end = open_end(snapshot)
    return f"until {end}" if end else ""


def _totals(figures: HealthData) -> str:
    unforced = figures.circuit_breaker_activations - figures.forced_open
    return (
        f"{unforced:,} open, {figures.forced_open:,} forced open, {figures.half_open:,} half-open, "
        f"{figures.disabled:,} disabled; {figures.total_instances:,} known, "
        f"{figures.active_connections:,} connected, {figures.connecting:,} connecting; "
        f"health {figures.health_score} of 100"
    )
