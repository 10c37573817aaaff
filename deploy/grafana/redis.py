"""Redis: the scripts as the service sees them, and the server as it sees itself."""

from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.board import Board, job, source
from deploy.grafana.panels import BLUE, GREEN, ORANGE, RED, ask, figure, graph, rows, steps
from deploy.grafana.promql import fleet, per_second, quantile, worst

__all__ = ["board"]

_CALLS = "db_client_operation_duration_seconds"
_SCRIPT = "db_stored_procedure_name"
#: What the collector calls the server that it asks.
_SERVER = '{job="redis"}'
_FAILED = 'error_type!=""'
_LATENCY = steps((None, GREEN), (0.05, ORANGE), (0.5, RED))


def board() -> models.Dashboard:
    """Return the dashboard."""
    made = Board(
        "redis",
        "Redis",
        "Every call of a script, timed by the service; and the server's own figures.",
        [source("datasource", "Prometheus", "prometheus"), job()],
    )
    _now(made)
    _scripts(made)
    _server(made)
    return made.build()


def _now(made: Board) -> None:
    made.line(
        4,
        figure("Calls", "Script calls per second.", ask(per_second(_CALLS + "_count")), unit="cps"),
        figure(
            "p99",
            "99 of 100 calls were answered within this time. 500 ms is the default deadline.",
            ask(quantile(0.99, _CALLS)),
            unit="s",
            colors=_LATENCY,
        ),
        figure(
            "Calls that fail",
            "Share of calls that ended in an error or in no answer.",
            ask(
                f"({per_second(_CALLS + '_count', _FAILED)} or vector(0)) / "
                f"{per_second(_CALLS + '_count')}"
            ),
            unit="percentunit",
            colors=steps((None, GREEN), (0.0001, ORANGE), (0.01, RED)),
        ),
        figure(
            "Nodes lost",
            "Nodes that a replica counts as lost; the worst replica's view.",
            ask(fleet("sekring_redis_nodes_lost")),
            colors=steps((None, GREEN), (1, RED)),
        ),
    )


def _scripts(made: Board) -> None:
    made.section("Scripts, as the service sees them").line(
        8,
        graph(
            "Calls by script",
            "Per second.",
            ask(per_second(_CALLS + "_count", by=_SCRIPT), f"{{{{{_SCRIPT}}}}}"),
            unit="cps",
            stacked=True,
        ),
        graph(
            "p99 by script",
            "Round trip and queueing included. Each dot is one call: its link leads to the trace.",
            ask(quantile(0.99, _CALLS, by=_SCRIPT), f"{{{{{_SCRIPT}}}}}", exemplars=True),
            unit="s",
            limits=_LATENCY,
        ),
        graph(
            "Failed calls",
            "Per second, by what went wrong and where.",
            ask(
                per_second(_CALLS + "_count", _FAILED, f"error_type, {_SCRIPT}"),
                f"{{{{error_type}}}} in {{{{{_SCRIPT}}}}}",
            ),
            unit="cps",
            bars=True,
            stacked=True,
        ),
    ).line(
        8,
        rows(
            "Scripts",
            "Over the time range that is shown. Waiting is what all callers together waited for "
            "this script, per second.",
            {
                "Calls": (
                    ask(
                        per_second(_CALLS + "_count", by=_SCRIPT, over="$__range"),
                        table=True,
                    ),
                    "cps",
                    None,
                ),
                "Mean": (
                    ask(
                        per_second(_CALLS + "_sum", by=_SCRIPT, over="$__range")
                        + " / "
                        + per_second(_CALLS + "_count", by=_SCRIPT, over="$__range"),
                        table=True,
                    ),
                    "s",
                    _LATENCY,
                ),
                "Waiting": (
                    ask(per_second(_CALLS + "_sum", by=_SCRIPT, over="$__range"), table=True),
                    "s",
                    None,
                ),
            },
            {_SCRIPT: "Script"},
            first="Waiting",
        ),
        graph(
            "Nodes lost by replica",
            "By replica of the service: one replica alone has a network of its own to blame.",
            ask(worst("sekring_redis_nodes_lost"), "{{instance}}"),
            limits=steps((None, GREEN), (1, RED)),
        ),
        widths=(14, 10),
    )


def _server(made: Board) -> None:
    made.section("The server itself (the collector's redis receiver; empty without it)").line(
        7,
        graph(
            "Memory",
            "With noeviction, writes are refused when maxmemory is reached.",
            ask(f"redis_memory_used_bytes{_SERVER}", "used {{instance}}"),
            ask(f"redis_memory_rss_bytes{_SERVER}", "resident {{instance}}"),
            unit="bytes",
        ),
        graph(
            "CPU",
            "Of one core: Redis runs scripts on one, and 1 is its limit.",
            ask(
                "sum by (instance) (rate(redis_cpu_time_seconds_total"
                '{job="redis", state=~"sys|user"}[$__rate_interval]))',
                "{{instance}}",
            ),
            unit="percentunit",
            limits=steps((None, GREEN), (0.7, ORANGE), (0.9, RED)),
        ),
        graph(
            "Commands",
            "Per second, those inside scripts included.",
            ask(f"rate(redis_commands_processed_total{_SERVER}[$__rate_interval])", "{{instance}}"),
            unit="ops",
        ),
    ).line(
        7,
        graph(
            "Keys",
            "And how many of them never expire: policies and wanted sessions only.",
            ask(f"sum by (instance) (redis_db_keys{_SERVER})", "keys {{instance}}"),
            ask(
                f"sum by (instance) (redis_db_keys{_SERVER} - redis_db_expires{_SERVER})",
                "without end {{instance}}",
            ),
        ),
        graph(
            "Evicted keys",
            "Anything here means that state was lost: set maxmemory-policy noeviction.",
            ask(f"increase(redis_keys_evicted_total{_SERVER}[$__rate_interval])", "{{instance}}"),
            bars=True,
            limits=steps((None, GREEN), (1, RED)),
        ),
        graph(
            "Clients and replicas",
            "Trips and operators' changes are confirmed by the connected replicas.",
            ask(f"redis_clients_connected{_SERVER}", "clients {{instance}}"),
            ask(f"redis_slaves_connected{_SERVER}", "replicas {{instance}}"),
            colors={"clients": BLUE},
        ),
    )
