"""One typed wrapper per script of sessions; `sekring.store.session_contract` has what they take."""

from sekring.store.calling import ScriptCalls
from sekring.store.session_contract import (
    ClaimedLeases,
    ClaimLeasesRequest,
    DropSessionRequest,
    JoinGatewaysRequest,
    ListGatewaysRequest,
    LiveGateways,
    PartitionVacancies,
    ReadSessionsRequest,
    ReleasedLeases,
    ReleaseLeasesRequest,
    RenewedLeases,
    RenewLeasesRequest,
    SessionsRead,
    SetPhaseRequest,
    VacanciesRequest,
    WantSessionRequest,
)

__all__ = ["SessionScripts"]


class SessionScripts(ScriptCalls):
    """The scripts of sessions, leases and gateways, by name.

    What changes something is run by the first runner; `confirm` has to be asked of the same.
    """

    async def want_session(self, request: WantSessionRequest) -> bool:
        """Have a session connected from now on; false if it was wanted already."""
        partition = self._keyspace.partition_of(request.instance_id)
        keys = [
            self._keyspace.sessions(partition),
            self._keyspace.leases(partition),
            self._keyspace.events(partition),
            self._keyspace.history(request.instance_id),
        ]
        return await self._flag("want_session", keys, request)

    async def drop_session(self, request: DropSessionRequest) -> bool:
        """Have a session connected no more; false if it was not wanted."""
        partition = self._keyspace.partition_of(request.instance_id)
        keys = [
            *self._leases(partition),
            self._keyspace.events(partition),
            self._keyspace.history(request.instance_id),
        ]
        return await self._flag("drop_session", keys, request)

    async def claim_leases(self, partition: int, request: ClaimLeasesRequest) -> ClaimedLeases:
        """Own sessions of a partition that nobody owns."""
        keys = [
            *self._leases(partition),
            self._keyspace.claims(partition),
            self._keyspace.events(partition),
            self._keyspace.waiting(partition),
        ]
        return await self._run("claim_leases", keys, request, ClaimedLeases)

    async def renew_leases(self, partition: int, request: RenewLeasesRequest) -> RenewedLeases:
        """Prolong leases of a partition."""
        keys = [*self._leases(partition), *self._errands(partition)]
        return await self._run("renew_leases", keys, request, RenewedLeases)

    async def release_leases(self, partition: int, request: ReleaseLeasesRequest) -> ReleasedLeases:
        """Give sessions of a partition back."""
        keys = self._leases(partition)
        return await self._run("release_leases", keys, request, ReleasedLeases)

    async def set_phase(self, request: SetPhaseRequest) -> bool:
        """Say where a session stands; false if the lease is not the caller's."""
        partition = self._keyspace.partition_of(request.instance_id)
        keys = [*self._leases(partition)[1:], *self._errands(partition)]
        return await self._flag("set_phase", keys, request)

    async def join_gateways(self, request: JoinGatewaysRequest) -> LiveGateways:
        """Say that a gateway lives; return all that do."""
        return await self._run("join_gateways", [self._keyspace.gateways()], request, LiveGateways)

    async def list_gateways(self, request: ListGatewaysRequest) -> LiveGateways:
        """Return the gateways that live; nothing is written."""
        keys = [self._keyspace.gateways()]
        return await self._run("list_gateways", keys, request, LiveGateways, self._bulk)

    async def read_sessions(self, partition: int, request: ReadSessionsRequest) -> SessionsRead:
        """Read sessions of a partition; nothing is written."""
        keys = self._leases(partition)
        return await self._run("read_sessions", keys, request, SessionsRead, self._bulk)

    async def vacancies(self, partition: int, request: VacanciesRequest) -> PartitionVacancies:
        """Count what there is to claim in a partition; nothing is written."""
        keys = self._leases(partition)[:2]
        return await self._run("vacancies", keys, request, PartitionVacancies, self._bulk)

    def _leases(self, partition: int) -> list[str]:
        return [
            self._keyspace.sessions(partition),
            self._keyspace.leases(partition),
            self._keyspace.owners(partition),
        ]

    def _errands(self, partition: int) -> list[str]:
        return [
            self._keyspace.waiting(partition),
            self._keyspace.totals(partition),
            self._keyspace.view(partition),
        ]
