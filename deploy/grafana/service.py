"""The service: how fast and how well it answers, how current it is, what Redis' absence costs."""

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.board import Board, job, replica, source
from deploy.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    ask,
    figure,
    graph,
    rows,
    steps,
    switch,
)
from deploy.grafana.promql import grown, per_second, quantile, total, worst

__all__ = ["board"]

_REQUESTS = "http_server_request_duration_seconds"
_ONES = 'instance=~"$replica"'
_ERRORS = _ONES + ', http_response_status_code=~"5.."'
#: Streams stay open for hours: how long one lasted says nothing about how fast it was.
_ANSWERS = _ONES + ', http_route!~".*/(events|live)"'
_SHARE = steps((None, GREEN), (0.001, ORANGE), (0.01, RED))
_LATENCY = steps((None, GREEN), (0.1, ORANGE), (0.5, RED))
_DEGRADED = {"0": ("with Redis", GREEN), "1": ("alone", RED)}


def board() -> models.Dashboard:
    """Return the dashboard."""
    made = Board(
        "service",
        "Service",
        "The replicas of the service: rate, errors and duration by route, the view's age, the "
        "degraded mode, streams, webhooks and processes.",
        [
            source("datasource", "Prometheus", "prometheus"),
            job(),
            replica("sekring_degraded", "Replica"),
        ],
    )
    _now(made)
    _requests(made)
    _current(made)
    _alone(made)
    _outward(made)
    _process(made)
    return made.build()


def _now(made: Board) -> None:
    made.line(
        4,
        figure(
            "Replicas",
            "Replicas that Prometheus reaches.",
            ask('sum(up{job="$job"})'),
            colors=steps((None, RED), (1, ORANGE), (2, GREEN)),
            none="0",
        ),
        figure(
            "Requests",
            "All routes together.",
            ask(per_second(_REQUESTS + "_count", _ONES)),
            unit="reqps",
        ),
        figure(
            "Server errors",
            "Share of requests answered with 5xx. 503 of /instance while a breaker is open is "
            "among them, and meant.",
            ask(
                f"({per_second(_REQUESTS + '_count', _ERRORS)} or vector(0)) / "
                f"{per_second(_REQUESTS + '_count', _ONES)}"
            ),
            unit="percentunit",
            colors=_SHARE,
        ),
        figure(
            "p99",
            "99 of 100 requests were answered within this time; streams left out.",
            ask(quantile(0.99, _REQUESTS, _ANSWERS)),
            unit="s",
            colors=_LATENCY,
        ),
        figure(
            "Error budget used",
            "0.1 % of decisions (attempts and outcomes) may fail in 30 days: how much of that the "
            "last 3 days used. 10 % is the pace that lasts for 30 days.",
            ask(worst("sekring:decision_errors:ratio_rate3d") + " / 0.001 * 3 / 30"),
            unit="percentunit",
            colors=steps((None, GREEN), (0.1, ORANGE), (0.5, RED)),
        ),
        figure(
            "Without Redis",
            "Replicas that decide alone for at least one partition.",
            ask(f"sum({worst('sekring_degraded', _ONES)})"),
            colors=steps((None, GREEN), (1, RED)),
        ),
    )


def _requests(made: Board) -> None:
    made.section("Requests").line(
        8,
        graph(
            "Requests by route",
            "Per second.",
            ask(per_second(_REQUESTS + "_count", _ONES, "http_route"), "{{http_route}}"),
            unit="reqps",
            stacked=True,
        ),
        graph(
            "Server errors by route",
            "Answers 5xx per second, with their code.",
            ask(
                per_second(_REQUESTS + "_count", _ERRORS, "http_route, http_response_status_code"),
                "{{http_response_status_code}} {{http_route}}",
            ),
            unit="reqps",
            stacked=True,
        ),
        graph(
            "Duration",
            "Streams left out. Each dot is one request: its link leads to the trace.",
            *(
                ask(quantile(q, _REQUESTS, _ANSWERS), f"p{q * 100:g}", exemplars=True)
                for q in (0.5, 0.95, 0.99)
            ),
            unit="s",
            limits=_LATENCY,
            colors={"p50": GREEN, "p95": ORANGE, "p99": RED},
        ),
    ).line(
        9,
        rows(
            "Routes",
            "Over the time range that is shown, busiest first.",
            {
                "Requests": (
                    ask(
                        per_second(
                            _REQUESTS + "_count",
                            _ONES,
                            "http_request_method, http_route",
                            "$__range",
                        ),
                        table=True,
                    ),
                    "reqps",
                    None,
                ),
                "Errors": (
                    ask(
                        per_second(
                            _REQUESTS + "_count",
                            _ERRORS,
                            "http_request_method, http_route",
                            "$__range",
                        )
                        + " / "
                        + per_second(
                            _REQUESTS + "_count",
                            _ONES,
                            "http_request_method, http_route",
                            "$__range",
                        ),
                        table=True,
                    ),
                    "percentunit",
                    _SHARE,
                ),
                "Mean": (
                    ask(
                        per_second(
                            _REQUESTS + "_sum",
                            _ANSWERS,
                            "http_request_method, http_route",
                            "$__range",
                        )
                        + " / "
                        + per_second(
                            _REQUESTS + "_count",
                            _ANSWERS,
                            "http_request_method, http_route",
                            "$__range",
                        ),
                        table=True,
                    ),
                    "s",
                    _LATENCY,
                ),
            },
            {"http_request_method": "Method", "http_route": "Route"},
            first="Requests",
        ),
    )


def _current(made: Board) -> None:
    made.section("How current the view is").line(
        7,
        graph(
            "Age of the view",
            "The oldest proof of each replica's view. Above SEKRING_STALENESS_MS (500 ms) it asks "
            "Redis instead.",
            ask(worst("sekring_view_staleness_seconds", _ONES), "{{instance}}"),
            unit="s",
            limits=steps((None, GREEN), (0.5, RED)),
        ),
        graph(
            "Partitions not proven",
            "Whose permits cost a call of Redis each, until the push channel is proven again.",
            ask(worst("sekring_partitions_unproven", _ONES), "{{instance}}"),
        ),
        switch(
            "Decides alone",
            "Three calls without an answer, and a replica goes on by its last view and a count of "
            "its own.",
            ask(worst("sekring_degraded", _ONES), "{{instance}}"),
            _DEGRADED,
        ),
    )


def _alone(made: Board) -> None:
    made.section("What waits for Redis").line(
        7,
        graph(
            "Reports that wait",
            "Kept with their age and counted once when Redis is back; SEKRING_REPLAY_MAX "
            "(100,000) at most.",
            ask(total("sekring_replay_queue", _ONES, "instance"), "{{instance}}"),
            limits=steps((None, GREEN), (80_000, ORANGE), (100_000, RED)),
        ),
        graph(
            "Reports dropped",
            "Failures that will never be counted: the queue was full.",
            ask(
                grown("sekring_replay_dropped_total", _ONES, "instance"),
                "{{instance}}",
            ),
            bars=True,
        ),
        graph(
            "Changes not confirmed",
            "Trips and operators' changes that Redis' replicas have not acknowledged; made again "
            "until they are.",
            ask(worst("sekring_unconfirmed_changes", _ONES), "{{instance}}"),
        ),
    )


def _outward(made: Board) -> None:
    made.section("Streams and webhooks").line(
        7,
        graph(
            "Event streams",
            "Clients that follow /v1/events.",
            ask(total("sekring_event_streams", _ONES, "instance"), "{{instance}}"),
            stacked=True,
        ),
        graph(
            "Webhook deliveries",
            "Per second. What failed is tried again.",
            ask(
                per_second("sekring_webhook_deliveries_total", _ONES, "result"),
                "{{result}}",
            ),
            unit="cps",
            stacked=True,
            colors={"delivered": GREEN, "failed": RED},
        ),
    )


def _process(made: Board) -> None:
    made.section("Processes").line(
        7,
        graph(
            "CPU",
            "Of one core: each server process has one event loop, and 1 is its limit.",
            ask(
                per_second("process_cpu_seconds_total", _ONES, "instance, worker"),
                "{{instance}} {{worker}}",
            ),
            unit="percentunit",
            limits=steps((None, GREEN), (0.8, ORANGE), (0.95, RED)),
        ),
        graph(
            "Memory",
            "Resident.",
            ask(total("process_resident_memory_bytes", _ONES, "instance"), "{{instance}}"),
            unit="bytes",
        ),
        graph(
            "File descriptors",
            "Connections, mostly, as a share of the limit.",
            ask(
                f"{worst('process_open_fds', _ONES)} / {worst('process_max_fds', _ONES)}",
                "{{instance}}",
            ),
            unit="percentunit",
            limits=steps((None, BLUE), (0.8, RED)),
        ),
    )
