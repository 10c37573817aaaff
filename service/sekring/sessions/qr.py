"""QR codes: shown by the gateway that owns a session, scanned by whoever asks at any replica."""

import structlog

from sekring.sessions.sealing import Seal
from sekring.store.errand_contract import PutQrRequest
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.postbox import Postbox
from sekring.wire import Phase, QrBody, Session

__all__ = ["QrCodes"]

#: A code that is good for less is not shown any more, in ms: nobody could scan it in time.
_LEFT_MIN_MS = 2_000

_log = structlog.get_logger(__name__)


class QrCodes:
    """Keeps the present code of each session that is pairing. A code is in no log."""

    def __init__(self, scripts: ErrandScripts, postbox: Postbox, seal: Seal) -> None:
        """Store through `scripts`, sealed."""
        self._scripts = scripts
        self._postbox = postbox
        self._seal = seal

    async def put(self, instance_id: str, body: QrBody) -> bool:
        """Show a code, in place of the one before; false if the caller does not own the session.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        request = PutQrRequest(
            instance_id=instance_id,
            gateway=body.gateway,
            token=body.token,
            code=self._seal.seal(body.code, _purpose(instance_id)),
            expires_in_ms=body.expires_in_ms,
        )
        held = await self._scripts.put_qr(request)
        _log.debug("qr code shown", instance_id=instance_id, gateway=body.gateway, held=held)
        return held

    async def shown(self, session: Session) -> str | None:
        """Return the code that the session's owner shows now, if it shows one.

        Raises:
            SealBroken: it was sealed with another key than this replica's.
            StoreUnavailable: Redis does not answer.
        """
        if session.phase is not Phase.PAIRING:
            return None
        stored = await self._postbox.qr(session.instance_id)
        if stored is None or stored.token != session.token or stored.left_ms < _LEFT_MIN_MS:
            return None
        return self._seal.open(stored.sealed, _purpose(session.instance_id))


def _purpose(instance_id: str) -> str:
    return f"qr {instance_id}"
