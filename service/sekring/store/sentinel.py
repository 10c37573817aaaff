"""The server that sentinels name, followed through its failovers."""

import time
import urllib.parse

import msgspec
import structlog

from sekring.redisurl import RedisUrl
from sekring.store.connection import Address, ConnectionLost, Connector, Dialogue
from sekring.store.survey import Survey

__all__ = ["Sentinel", "sentinels_own"]

#: How often to ask without any suspicion, and how soon again with one, in seconds.
_PERIOD_S = 0.5
_GAP_S = 0.02

_log = structlog.get_logger(__name__)


class Sentinel(Survey):
    """The topology of one server at a time: the master that the sentinels agree on."""

    def __init__(self, url: RedisUrl, connector: Connector) -> None:
        """Know the sentinels of the URL; nothing is sent yet."""
        guides = Connector(sentinels_own(url), timeout_s=connector.timeout_s)
        super().__init__(connector, guides=guides, period_s=_PERIOD_S, gap_s=_GAP_S)
        self._service = url.service
        self._sentinels = [Address(*node) for node in url.nodes]
        self._master: Address | None = None
        self._since_s = 0.0
        self._vouched_s = 0.0

    def slot_of(self, key: str) -> int:  # noqa: ARG002
        """Return 0: there is one server at a time."""
        return 0

    def owner(self, slot: int) -> Address | None:  # noqa: ARG002
        """Return the master."""
        return self._master

    def owned_since_s(self, slot: int) -> float:  # noqa: ARG002
        """Return when the last failover was noticed."""
        return self._since_s

    def owners(self) -> set[Address]:
        """Return the master."""
        return {self._master} if self._master else set()

    def vouch(self) -> float:
        """Return when the sentinels were last asked and all named this master."""
        self.suspect()
        return self._vouched_s

    def learn(self, slot: int, owner: Address) -> None:
        """Do nothing: only sentinels are asked."""

    async def look(self) -> None:
        """Ask the sentinels for the master, and the master whether it is one."""
        asked_s = time.monotonic()
        questions = ("MASTER", "GET-MASTER-ADDR-BY-NAME")
        answers = await self.ask(
            self._sentinels, [("SENTINEL", question, self._service) for question in questions]
        )
        # The highest epoch is the latest failover's; a sentinel that was cut off has an older one.
        claims = [_claim(*answer) for answer in answers.values()]
        epoch, _, master = max(claims)
        if master == self._master:
            # While a failover is under way, a replica may be in charge already.
            if self.heard_all and not any(under_way for _, under_way, _ in claims):
                self._vouched_s = asked_s
            return
        if not await self._is_master(master):
            raise ConnectionLost(f"{master}, which the sentinels name, is no master yet")
        _log.info("sentinels name a master", node=str(master), epoch=epoch)
        if self._master is not None:
            self._since_s = time.monotonic()
        self._master = master
        self.tell()

    async def _is_master(self, address: Address) -> bool:
        dialogue = Dialogue(self.connector, address)
        try:
            (role,) = await dialogue.exchange([("ROLE",)], self.connector.timeout_s)
        finally:
            await dialogue.close()
        return isinstance(role, list) and role[0] == b"master"


def _claim(described: object, named: object) -> tuple[int, bool, Address]:
    """Read a sentinel's word: the epoch of the last failover, whether one is under way, the master.

    The sentinel that leads a failover names the new master some time before it describes it.
    """
    pairs = described
    if isinstance(described, list):  # as pairs in one row
        pairs = dict(zip(described[::2], described[1::2], strict=True))
    fields = msgspec.convert(pairs, dict[bytes, bytes])
    host, port = msgspec.convert(named, tuple[bytes, bytes])
    # It knows of the failover that it leads, before it names another master and while it does.
    under_way = b"failover_in_progress" in fields[b"flags"]
    return int(fields[b"config-epoch"]), under_way, Address(host.decode(), int(port))


def sentinels_own(url: RedisUrl) -> RedisUrl:
    """Return the URL with the sentinels' credentials in place of the servers'."""
    userinfo = ""
    if url.sentinel_password is not None:
        name = urllib.parse.quote(url.sentinel_username or "", safe="")
        userinfo = f"{name}:{urllib.parse.quote(url.sentinel_password, safe='')}"
    servers_own = {"username", "password", "db"}
    kept = [pair for pair in url.query.split("&") if pair.partition("=")[0] not in servers_own]
    return msgspec.structs.replace(url, userinfo=userinfo, database=0, query="&".join(kept))
