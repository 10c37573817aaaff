"""The gateways: their sessions, connects, workers and leases."""

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.board import Board, gateway_job, replica, source
from deploy.grafana.panels import GREEN, ORANGE, RED, ask, figure, graph, rows, steps, switch
from deploy.grafana.promql import grown, per_second, quantile, total, worst

__all__ = ["board"]

_ONES = 'instance=~"$replica"'
_CAPACITY = "sekring_gateway_capacity"
_CONNECTS = "sekring_gateway_connect_duration_seconds"
_CONNECTED = _ONES + ', result="connected"'
_REACHABLE = {"0": ("cut off", RED), "1": ("reached", GREEN)}


def board() -> models.Dashboard:
    """Return the dashboard."""
    made = Board(
        "gateways",
        "Gateways",
        "The processes that hold WhatsApp sessions.",
        [
            source("datasource", "Prometheus", "prometheus"),
            gateway_job(),
            replica(_CAPACITY, "Gateway"),
        ],
    )
    _now(made)
    _sessions(made)
    _connects(made)
    _workers(made)
    return made.build()


def _now(made: Board) -> None:
    owned, capacity = total("sekring_gateway_sessions", _ONES), total(_CAPACITY, _ONES)
    made.line(
        4,
        figure(
            "Gateways",
            "Gateways that Prometheus reaches.",
            ask('sum(up{job="$job"})'),
            colors=steps((None, RED), (1, ORANGE), (2, GREEN)),
            none="0",
        ),
        figure(
            "Sessions",
            "Sessions that the gateways own, connected or not.",
            ask(total("sekring_gateway_sessions", _ONES)),
        ),
        figure(
            "Capacity used",
            "Sessions owned, of those that SEKRING_GATEWAY_CAPACITY admits. One gateway must be "
            "able to fail: with n gateways keep it below (n - 1) / n.",
            ask(f"{owned} / {capacity}"),
            unit="percentunit",
            colors=steps((None, GREEN), (0.75, ORANGE), (0.9, RED)),
        ),
        figure(
            "Connects that succeed",
            "Share of the attempts to connect, over the last 5 minutes.",
            ask(
                f"{per_second('sekring_gateway_attempts_total', _CONNECTED, over='5m')} / "
                f"{per_second('sekring_gateway_attempts_total', _ONES, over='5m')}"
            ),
            unit="percentunit",
            colors=steps((None, RED), (0.5, ORANGE), (0.9, GREEN)),
            none="no attempts",
        ),
        figure(
            "Cut off from the service",
            "Gateways that cannot reach the service; they decide by their last view.",
            ask(f"count({worst('sekring_gateway_service_reachable', _ONES)} == 0) or vector(0)"),
            colors=steps((None, GREEN), (1, RED)),
        ),
        figure(
            "Worker exits in an hour",
            "Workers that ended within the last hour, whatever the reason.",
            ask(grown("sekring_gateway_worker_exits_total", _ONES, over="1h")),
            decimals=0,
            none="0",
        ),
    )


def _sessions(made: Board) -> None:
    made.section("Sessions").line(
        8,
        graph(
            "Sessions by phase",
            "All chosen gateways together.",
            ask(total("sekring_gateway_sessions", _ONES, "phase"), "{{phase}}"),
            stacked=True,
            colors={"connected": GREEN},
        ),
        graph(
            "Load of each gateway",
            "Share of its capacity. Above its share, a gateway hands over one session at a time.",
            ask(
                f"{total('sekring_gateway_sessions', _ONES, 'instance')} / "
                f"{total(_CAPACITY, _ONES, 'instance')}",
                "{{instance}}",
            ),
            unit="percentunit",
            limits=steps((None, GREEN), (0.9, ORANGE), (1, RED)),
        ),
        graph(
            "Leases lost",
            "Per interval, by reason. Each ended a connection for our sake, not for WhatsApp's.",
            ask(
                grown("sekring_gateway_lease_losses_total", _ONES, "reason"),
                "{{reason}}",
            ),
            bars=True,
            stacked=True,
        ),
    )


def _connects(made: Board) -> None:
    made.section("Connects").line(
        8,
        graph(
            "Attempts by result",
            "Per second: connected, or the kind of failure that is reported to the breaker.",
            ask(per_second("sekring_gateway_attempts_total", _ONES, "result"), "{{result}}"),
            unit="cps",
            stacked=True,
            colors={"connected": GREEN},
        ),
        graph(
            "Duration of a connect",
            "From the dial to the open session. Each dot is one connect: its link leads to the "
            "trace.",
            *(
                ask(quantile(q, _CONNECTS, _ONES), f"p{q * 100:g}", exemplars=True)
                for q in (0.5, 0.95, 0.99)
            ),
            unit="s",
            colors={"p50": GREEN, "p95": ORANGE, "p99": RED},
        ),
        switch(
            "Reaches the service",
            "Without it a gateway goes on by its last view and a count of its own.",
            ask(worst("sekring_gateway_service_reachable", _ONES), "{{instance}}"),
            _REACHABLE,
        ),
    )


def _workers(made: Board) -> None:
    made.section("Workers and processes").line(
        7,
        graph(
            "Workers",
            "Processes that hold connections, by gateway.",
            ask(total("sekring_gateway_workers", _ONES, "instance"), "{{instance}}"),
            stacked=True,
        ),
        graph(
            "Worker exits",
            "Per interval, by reason. A panic or a crash fails the sessions of that worker only.",
            ask(
                grown("sekring_gateway_worker_exits_total", _ONES, "reason"),
                "{{reason}}",
            ),
            bars=True,
            stacked=True,
        ),
        graph(
            "CPU of the supervisor",
            "Of one core; its workers are processes of their own and not among it.",
            ask(per_second("process_cpu_seconds_total", _ONES, "instance"), "{{instance}}"),
            unit="percentunit",
            limits=steps((None, GREEN), (0.8, ORANGE), (0.95, RED)),
        ),
        graph(
            "Memory of the supervisor",
            "Resident; about 45 MB more for each worker.",
            ask(total("process_resident_memory_bytes", _ONES, "instance"), "{{instance}}"),
            unit="bytes",
        ),
    ).line(
        8,
        rows(
            "Gateways one by one",
            "As they are now.",
            {
                "Sessions": (
                    ask(total("sekring_gateway_sessions", _ONES, "instance"), table=True),
                    "short",
                    None,
                ),
                "Connected": (
                    ask(
                        total(
                            "sekring_gateway_sessions", _ONES + ', phase="connected"', "instance"
                        ),
                        table=True,
                    ),
                    "short",
                    None,
                ),
                "Capacity": (
                    ask(total(_CAPACITY, _ONES, "instance"), table=True),
                    "short",
                    None,
                ),
                "Workers": (
                    ask(total("sekring_gateway_workers", _ONES, "instance"), table=True),
                    "short",
                    None,
                ),
            },
            {"instance": "Gateway"},
            first="Sessions",
        ),
    )
