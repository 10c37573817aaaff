"""One typed wrapper per Lua script about errands and QR codes (`sekring.store.errand_contract`)."""

from sekring.store.calling import ScriptCalls
from sekring.store.errand_contract import (
    AnswerErrandRequest,
    ErrandPosted,
    ErrandsTaken,
    PostErrandRequest,
    PutQrRequest,
    TakeErrandsRequest,
)

__all__ = ["ErrandScripts"]


class ErrandScripts(ScriptCalls):
    """The scripts between those who want something of a session and the gateway that owns it."""

    async def post_errand(self, request: PostErrandRequest) -> ErrandPosted:
        """Ask a session's owner to do something."""
        name = request.instance_id
        partition = self._keyspace.partition_of(name)
        keys = [
            self._keyspace.leases(partition),
            self._keyspace.owners(partition),
            self._keyspace.errands(name),
            self._keyspace.waiting(partition),
            self._keyspace.answer(name, request.id),
            self._keyspace.totals(partition),
            self._keyspace.view(partition),
        ]
        return await self._run("post_errand", keys, request, ErrandPosted)

    async def take_errands(self, request: TakeErrandsRequest) -> ErrandsTaken:
        """Hand a session's errands to the gateway that owns it."""
        name = request.instance_id
        partition = self._keyspace.partition_of(name)
        keys = [
            self._keyspace.leases(partition),
            self._keyspace.owners(partition),
            self._keyspace.errands(name),
            self._keyspace.waiting(partition),
            self._keyspace.taken(name),
        ]
        return await self._run("take_errands", keys, request, ErrandsTaken)

    async def answer_errand(self, instance_id: str, request: AnswerErrandRequest) -> bool:
        """Tell what came of an errand; false if nobody waits for it any longer."""
        partition = self._keyspace.partition_of(instance_id)
        keys = [
            self._keyspace.answer(instance_id, request.id),
            self._keyspace.totals(partition),
            self._keyspace.view(partition),
        ]
        return await self._flag("answer_errand", keys, request)

    async def put_qr(self, request: PutQrRequest) -> bool:
        """Show a session's QR code; false if the lease is not the caller's."""
        partition = self._keyspace.partition_of(request.instance_id)
        keys = [
            self._keyspace.leases(partition),
            self._keyspace.owners(partition),
            self._keyspace.qr(request.instance_id),
            self._keyspace.totals(partition),
            self._keyspace.view(partition),
        ]
        return await self._flag("put_qr", keys, request)
