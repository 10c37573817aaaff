"""The span of a script: a database client span, by OpenTelemetry's semantic conventions."""

from sekring.model import Admission, Verdict
from sekring.store.connection import Address
from sekring.store.contract import Made, Request
from sekring.telemetry.answers import told_of, transition
from sekring.telemetry.spans import Attribute, Kind, Span, Trace

__all__ = ["ScriptSpan"]


class ScriptSpan(Span):
    """From the call to its answer, waiting for its place in a pipeline included."""

    __slots__ = ("_key", "_request", "answer", "node")

    kind: Kind = "client"

    def __init__(self, script: str, key: str, request: Request, trace: Trace, parent: int) -> None:
        """Begin; `key` is one of its keys, which tells the partition."""
        super().__init__(script, trace, parent)
        self._key = key
        self._request = request
        #: What the script has answered.
        self.answer: object = None
        #: The node that has run it, if one has.
        self.node: Address | None = None

    @classmethod
    def begin(
        cls, script: str, key: str, request: Request, parent: Span | None
    ) -> "ScriptSpan | None":
        """Begin one below `parent`; `None` where there is none, or nothing is recorded."""
        if parent is None or not parent.trace.recording:
            return None
        return cls(script, key, request, parent.trace, parent.id)

    def note(self, made: Made) -> None:
        """Tell of a transition; the whole trace is exported for it.

        Where another trace has led to it (time alone makes it now, of what was reported then), the
        span is linked to that.
        """
        transition(self, made.instance_id, made)
        if made.trace and not made.trace.startswith(self.trace.hex_id):
            trace_id, _, span_id = made.trace.partition("-")
            self.link(int(trace_id, 16), int(span_id, 16))

    def describe(self) -> tuple[str, dict[str, Attribute]]:
        """Return `FCALL script`, where it ran, and what the breaker said; nothing else of it."""
        attributes: dict[str, Attribute] = {
            "db.system.name": "redis",
            "db.operation.name": "FCALL",
            "db.stored_procedure.name": self.name,
        }
        partition = self._key.partition("{")[2].partition("}")[0]
        if partition.isdigit():
            attributes["sekring.partition"] = int(partition)
        if self.node:
            attributes["server.address"] = self.node.host
            if self.node.port:
                attributes["server.port"] = self.node.port
        if isinstance(self.answer, Admission | Verdict):
            attributes |= told_of(self.answer, getattr(self._request, "kind", None))
        return f"FCALL {self.name}", attributes | (self.attributes or {})
