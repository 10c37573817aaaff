"""Sending a text through a session that is connected."""

from sekring.errors import GatewayFailed, Refused, TimedOut
from sekring.sessions.errands import Details, Errands
from sekring.sessions.wishes import Wishes
from sekring.wire import Phase

__all__ = ["Messaging"]


class Messaging:
    """Hands texts to the gateways that own the sessions."""

    def __init__(self, wishes: Wishes, errands: Errands) -> None:
        """Find the owner by `wishes`, ask it by `errands`."""
        self._wishes = wishes
        self._errands = errands

    async def send(self, instance_id: str, to: str, text: str, wait_s: float) -> str:
        """Send a text; return WhatsApp's id of the message.

        It is handed to the gateway once, so it is never sent twice.

        Raises:
            Refused: the session is not connected.
            GatewayFailed: WhatsApp did not take it; in the words of the gateway's library.
            TimedOut: no answer came within `wait_s`; it may have been sent.
        """
        session = await self._wishes.one(instance_id)
        if session.phase is not Phase.CONNECTED:
            raise Refused(
                f"{instance_id} is not connected (it is {session.phase}): nothing was sent.",
                "not_connected",
            )
        answer = await self._errands.ask(instance_id, "send", wait_s, Details(to=to, text=text))
        if answer is None:
            raise TimedOut(
                f"The gateway {session.gateway} did not say within {wait_s:g} s whether it was "
                "sent: it may have been."
            )
        if answer.error is not None:
            raise GatewayFailed(f"It was not sent: {answer.error}")
        return answer.result or ""
