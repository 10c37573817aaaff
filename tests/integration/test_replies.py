"""What a script answers is what people said, whatever words that has."""

from sekring.model import Origin
from sekring.store.contract import PermitRequest, TripRequest
from sekring.store.scripts import Scripts


async def test_a_reason_may_have_the_name_of_a_field(scripts: Scripts) -> None:
    said = Origin(actor="operator", reason="too many transitions")
    await scripts.trip(TripRequest(instance_id="a", origin=said))
    admission = await scripts.permit(PermitRequest(instance_id="a"))
    assert (admission.permitted, admission.reason) == (False, said.reason)
