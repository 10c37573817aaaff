"""One instance: its traces and log lines.

Metrics never carry an instance's id, so what is here comes from Tempo and Loki; what the instance
is now, its window and its history are on the console's page, which the links lead to.
"""

from grafana_foundation_sdk.builders import logs, loki, table, tempo
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.tempo import SearchTableType

from deploy.grafana.board import Board, console, source, textbox
from deploy.grafana.panels import LOKI, TEMPO

__all__ = ["board"]

_THIS = 'span.sekring.instance_id = "$instance_id"'
#: A request that failed has no answer that would name the instance; its path does.
_NAMED = f'{{ {_THIS} || span.url.path =~ ".*/${{instance_id}}(/.*)?" }}'
_PAGE = "${console}/instances/${instance_id}"


def board() -> models.Dashboard:
    """Return the dashboard."""
    return (
        Board(
            "instance",
            "One instance",
            "What happened to one session, by its traces and log lines. Its state, its failures "
            "against the threshold, its history and the reset are on its page in the console.",
            [
                textbox("instance_id", "Instance", "", "Name of the WhatsApp session"),
                source("tempo", "Tempo", "tempo"),
                source("loki", "Loki", "loki"),
                console(),
            ],
            hours=24,
        )
        .link("State, history, reset", _PAGE, "The instance's page in the console")
        .link("Its policy", _PAGE + "/policy", "Where each value of its policy comes from")
        .line(
            8,
            _traces(
                "Transitions",
                "Every trip, recovery and reset: traces with a transition are always kept. The "
                "trace shows the report that caused it, from the gateway to the script.",
                '{ event:name = "sekring.transition"'
                ' && event.sekring.instance_id = "$instance_id" }'
                " | select(event.sekring.from, event.sekring.to, event.sekring.cause,"
                " event.sekring.epoch)",
            ),
            _traces(
                "Errors",
                "Requests about this instance in which something failed; always kept.",
                f"{_NAMED} && {{ status = error }}"
                " | select(span.http.response.status_code, span.error.type, statusMessage)",
            ),
        )
        .line(
            9,
            _traces(
                "Refusals",
                "Attempts that were refused, and why. Sampled: about one of a hundred.",
                f"{{ {_THIS} && span.sekring.permitted = false }}"
                " | select(span.sekring.cause, span.sekring.degraded)",
            ),
            _traces(
                "Reports",
                "Outcomes that gateways reported, with their kind and what became of them. "
                "Sampled likewise.",
                f"{{ {_THIS} && span.sekring.why != nil }}"
                " | select(span.sekring.kind, span.sekring.why, span.sekring.epoch)",
            ),
            _traces(
                "Connects",
                "What a gateway did to connect it, from the permit to the report. Those that "
                "failed are always kept.",
                f'{{ {_THIS} && name = "connect" }}'
                " | select(span.sekring.gateway, span.sekring.backoff_ms, status)",
            ),
        )
        .line(
            12,
            logs.Panel()
            .title("Log lines")
            .description("Of the service and the gateways; a line's trace_id leads to its trace.")
            .datasource(LOKI)
            .with_target(
                loki.Dataquery()
                .expr('{service_name=~".+"} |= "$instance_id" | json')
                .datasource(LOKI)
                .max_lines(500)
                .ref_id("A")
            )
            .show_time(show_time=True)
            .wrap_log_message(wrap_log_message=True)
            .enable_log_details(enable_log_details=True)
            .sort_order(common.LogsSortOrder.DESCENDING),
        )
        .build()
    )


def _traces(title: str, about: str, traceql: str) -> table.Panel:
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(TEMPO)
        .with_target(
            tempo.Dataquery()
            .datasource(TEMPO)
            .query_type("traceql")
            .query(traceql)
            .table_type(SearchTableType.SPANS)
            .limit(50)
            .ref_id("A")
        )
    )
