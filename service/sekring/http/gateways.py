"""`/v1/gateways`: who runs the sessions."""

from litestar import Controller, get

from sekring.http.examples import documented
from sekring.http.options import NEEDS
from sekring.http.runtime import Runtime
from sekring.http.session_examples import GATEWAYS
from sekring.tokens import Permission
from sekring.wire import GatewayList

__all__ = ["GatewayRoutes"]


class GatewayRoutes(Controller):
    """Gateways are known by what they claim and renew."""

    path = "/v1/gateways"
    tags = ["gateways"]
    opt = {NEEDS: Permission.READ}

    @get(
        operation_id="listGateways",
        summary="Gateways that live",
        responses=documented(GatewayList, GATEWAYS, 401, 403, 503),
    )
    async def list_them(self, runtime: Runtime) -> GatewayList:
        """Return those that have claimed or renewed within the time of a lease, by their names."""
        return GatewayList(await runtime.gateways.list_all())
