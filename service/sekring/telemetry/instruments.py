"""What the service counts and times while it works; what is merely read is in `http/gauges.py`.

No label ever names an instance: the number of series is bounded by what the code can say.
"""

from typing import Literal

from sekring.model import Admission
from sekring.telemetry.meters import Meters

__all__ = ["Instruments", "Source"]

#: Who answered a permit: this replica's view, Redis, this replica while cut off from it (`alone`),
#: or a client's own view (`client`), which said so later.
Source = Literal["view", "redis", "alone", "client"]

#: Upper bounds in seconds. OpenTelemetry advises those from 5 ms on for HTTP; most answers here
#: take less than that.
_REQUEST_BOUNDS_S = (
    *(0.0005, 0.001, 0.0025),
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)

#: The same for one call to Redis, which has half a second by default.
_CALL_BOUNDS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

#: People scan within seconds, and requests wait for half a minute by default.
_QR_BOUNDS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)


class Instruments:
    """Made once a process, and handed to whoever does the work."""

    def __init__(self, meters: Meters) -> None:
        """Declare everything in `meters`."""
        self.permits = meters.counter(
            "sekring.permits",
            "Attempts that were permitted, by who answered.",
            ["source"],
            known=[("view",), ("redis",), ("alone",), ("client",)],
        )
        self.refusals = meters.counter(
            "sekring.refusals",
            "Attempts that were refused, by cause and by who answered.",
            ["cause", "source"],
        )
        self.outcomes = meters.counter(
            "sekring.outcomes",
            "Outcomes that were reported, by kind and by what became of the report.",
            ["kind", "why"],
        )
        self.transitions = meters.counter(
            "sekring.transitions",
            "Transitions of breakers, each counted by the replica whose call to Redis made it.",
            ["from", "to", "cause"],
            # Many trips at once after a start: an increase needs a value before them.
            known=[("closed", "open", "failures"), ("half_open", "open", "probe_failed")],
        )
        self.request_duration = meters.histogram(
            "http.server.request.duration",
            "Duration of HTTP requests, by route.",
            ["http.request.method", "http.route", "http.response.status_code"],
            bounds=_REQUEST_BOUNDS_S,
        )
        self.call_duration = meters.histogram(
            "db.client.operation.duration",
            "Duration of script calls to Redis, from the call to its answer, queueing included.",
            ["db.system.name", "db.operation.name", "db.stored_procedure.name", "error.type"],
            bounds=_CALL_BOUNDS_S,
        )
        self.qr_wait = meters.histogram(
            "sekring.qr.wait.duration",
            "How long requests waited for a QR code, by how that ended.",
            ["result"],
            bounds=_QR_BOUNDS_S,
        )
        self.event_streams = meters.level(
            "sekring.event.streams", "Clients that listen to the event stream now."
        )
        self.deliveries = meters.counter(
            "sekring.webhook.deliveries",
            "Attempts to deliver a webhook, by how they ended.",
            ["result"],
            known=[("delivered",), ("failed",)],
        )

    def note_admission(self, admission: Admission, source: Source) -> Admission:
        """Count the answer to a permit, and return it."""
        if admission.permitted:
            self.permits[source,] += 1
        else:
            self.refusals[admission.cause or "", source] += 1
        return admission
