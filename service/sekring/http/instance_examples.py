"""What the OpenAPI description shows of an instance in detail."""

from sekring.http.examples import IN_FORCE, SNAPSHOT
from sekring.http.session_examples import SESSIONS
from sekring.wire import InstanceDetail

__all__ = ["DETAIL"]

DETAIL = InstanceDetail(
    snapshot=SNAPSHOT, attempts_in_flight=0, policy=IN_FORCE, session=SESSIONS.sessions[0]
)
