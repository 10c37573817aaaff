"""The fleet: is WhatsApp reachable, who is refused and why, are all sessions owned."""

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.board import Board, console, job, source
from deploy.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    ask,
    figure,
    graph,
    steps,
    switch,
)
from deploy.grafana.promql import fleet, grown, per_second, quantile

__all__ = ["board"]

_STATES = {"open": RED, "half_open": ORANGE, "forced_open": PURPLE, "disabled": BLUE}
_GUARD = {"0": ("closed", GREEN), "1": ("OPEN", RED)}
_BAD = steps((None, GREEN), (1, ORANGE))


def board() -> models.Dashboard:
    """Return the dashboard."""
    made = Board(
        "fleet",
        "Fleet",
        "All sessions together. What every replica knows alike is shown once.",
        [source("datasource", "Prometheus", "prometheus"), job(), console()],
    ).link("Console", "${console}/", "The fleet live, one by one; resets")
    _now(made)
    _breakers(made)
    _decisions(made)
    _guard(made)
    _sessions(made)
    return made.build()


def _now(made: Board) -> None:
    made.line(
        4,
        figure(
            "Health score",
            "max(0, 100 - (20 x open + 2 x retry attempts + 2 x failures in the window) / "
            "instances): 100 is a fleet without a failure.",
            ask(fleet("sekring_health_score")),
            colors=steps((None, RED), (50, ORANGE), (80, GREEN)),
        ),
        figure(
            "Open",
            "Instances whose attempts are refused now.",
            ask(fleet("sekring_breakers", 'state="open"')),
            colors=_BAD,
        ),
        figure(
            "Failing",
            "Instances with failures in the window.",
            ask(fleet("sekring_instances_failing")),
            colors=_BAD,
        ),
        figure(
            "Known instances",
            "Instances heard of within the last 24 hours.",
            ask(fleet("sekring_instances")),
        ),
        figure(
            "Fleet guard",
            "Open: so much of the fleet fails at once that it is WhatsApp or the network; permits "
            "are paced for everybody.",
            ask(fleet("sekring_guard_open")),
            texts=_GUARD,
        ),
        figure(
            "Alerts firing",
            "Sekring's alerts in Prometheus; RUNBOOK.md says what to do at each.",
            ask('count(ALERTS{alertname=~"Sekring.+", alertstate="firing"}) or vector(0)'),
            colors=steps((None, GREEN), (1, RED)),
        ),
    )


def _breakers(made: Board) -> None:
    made.section("Breakers").line(
        8,
        graph(
            "Breakers that are not closed",
            "By state. Half-open lets a few probes through; forced_open and disabled are an "
            "operator's.",
            ask(fleet("sekring_breakers", by="state"), "{{state}}"),
            stacked=True,
            colors=_STATES,
        ),
        graph(
            "Transitions",
            "Per interval, each counted once in the fleet, by the state they led to and why.",
            ask(
                grown("sekring_transitions_total", by="to, cause") + " > 0",
                "{{to}}: {{cause}}",
            ),
            stacked=True,
            bars=True,
        ),
    )


def _decisions(made: Board) -> None:
    made.section("Decisions and reports").line(
        8,
        graph(
            "Permits and refusals",
            "Attempts per second that asked. More refusals than permits for long: look at the "
            "causes beside.",
            ask(per_second("sekring_permits_total"), "permitted"),
            ask(per_second("sekring_refusals_total"), "refused"),
            unit="reqps",
            colors={"permitted": GREEN, "refused": RED},
        ),
        graph(
            "Refusals by cause",
            "failures: the breaker tripped; fleet: the guard's pace; operator: forced open; a "
            "kind (banned, logged_out, ...): only a person or time helps.",
            ask(per_second("sekring_refusals_total", by="cause"), "{{cause}}"),
            unit="reqps",
            stacked=True,
        ),
        graph(
            "Where decisions come from",
            "view: from memory; redis: asked, since the view was not proven; alone: decided while "
            "cut off from Redis; client: permitted by a client in memory, and told later.",
            ask(
                "sum by (source) ("
                'rate(sekring_permits_total{job="$job"}[$__rate_interval])'
                ' or rate(sekring_refusals_total{job="$job"}[$__rate_interval]))',
                "{{source}}",
            ),
            unit="reqps",
            stacked=True,
            colors={"view": GREEN, "redis": BLUE, "alone": RED, "client": PURPLE},
        ),
    ).line(
        8,
        graph(
            "Outcomes by kind",
            "What gateways reported per second. One kind that rises alone names its cause: dns "
            "and proxy are ours, upstream is WhatsApp's, banned is the sender's.",
            ask(per_second("sekring_outcomes_total", by="kind"), "{{kind}}"),
            unit="cps",
            stacked=True,
            colors={"success": GREEN},
        ),
        graph(
            "What became of the reports",
            "counted: inside the window; late: under an older epoch; open: the breaker was open "
            "already; stale: older than the window.",
            ask(per_second("sekring_outcomes_total", by="why"), "{{why}}"),
            unit="cps",
            stacked=True,
        ),
    )


def _guard(made: Board) -> None:
    made.section("Fleet guard").line(
        6,
        switch(
            "When the guard was open",
            "It opens when half of the instances that fail or are connected fail, 100 at least.",
            ask(fleet("sekring_guard_open"), "guard"),
            _GUARD,
        ),
        graph(
            "Permits that the guard lets through",
            "Its rate: 20 a second at first, doubled every 5 s while that helps; beside it what "
            "was refused because it was not its turn.",
            ask(fleet("sekring_guard_rate"), "rate"),
            ask(per_second("sekring_refusals_total", 'cause="fleet"'), "refused by the guard"),
            unit="reqps",
            colors={"refused by the guard": RED},
        ),
    )


def _sessions(made: Board) -> None:
    made.section("Sessions and gateways").line(
        8,
        graph(
            "Sessions and their owners",
            "unowned: wanted, but no living gateway has the lease. A few seconds of it after a "
            "gateway's end are normal.",
            ask(fleet("sekring_sessions_wanted"), "wanted"),
            ask(fleet("sekring_leases", by="state"), "{{state}}"),
            colors={"wanted": BLUE, "held": GREEN, "unowned": RED},
        ),
        graph(
            "Gateways",
            "Gateways that renew leases.",
            ask(fleet("sekring_gateways"), "gateways"),
        ),
        graph(
            "Wait for a QR code",
            "Half, and 95 of 100, of those who asked waited at most so long, by how it ended. "
            "30 s is the end of the wait.",
            ask(
                quantile(0.5, "sekring_qr_wait_duration_seconds", by="result"),
                "p50 {{result}}",
                exemplars=True,
            ),
            ask(
                quantile(0.95, "sekring_qr_wait_duration_seconds", by="result"),
                "p95 {{result}}",
                exemplars=True,
            ),
            unit="s",
            limits=steps((None, GREEN), (30, RED)),
        ),
    )
