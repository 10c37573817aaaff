"""What the OpenAPI description shows of errands, QR codes, and what people ask of sessions."""

from litestar.openapi.spec import Example

from sekring.guide import Instance, InstanceData, LoggedOut, MessageSentData, QrCode
from sekring.guide import MessageSent as GuideMessageSent
from sekring.wire import Errand, ErrandsAnswer, MessageSent, OutcomeTaken, PairingCode

__all__ = [
    "ANSWER",
    "ANSWERED",
    "GUIDE_INSTANCE",
    "GUIDE_LOGGED_OUT",
    "GUIDE_QR",
    "GUIDE_SEND",
    "GUIDE_SENT",
    "MESSAGE",
    "PAIRED",
    "PAIRING",
    "POLL",
    "POLLED",
    "QR",
    "SENT",
]

_ID = "6281234567890"
_TOKEN = 1_795_446_878_959
_ERRAND = "5f1c09d2ab7e5f1c09d2ab7e"
_MESSAGE = "3EB0C431C26A1916E07A"

POLLED = ErrandsAnswer(
    [
        Errand(
            id=_ERRAND,
            instance_id=_ID,
            kind="send",
            to="6289876543210",
            text="Hello",
            expires_in_ms=29_500,
        )
    ]
)
ANSWERED = OutcomeTaken(awaited=True)
PAIRED = PairingCode(code="ABCD-EFGH", expires_in_ms=160_000)
SENT = MessageSent(message_id=_MESSAGE)
GUIDE_QR = QrCode(
    status="success", message="Success", base64="data:image/png;base64,iVBORw0KGgoAAAANSUhEUg…"
)
GUIDE_INSTANCE = Instance(
    status="success",
    message="Success",
    data=InstanceData(
        id="6281234567890:7@s.whatsapp.net",
        name=_ID,
        instance_id=_ID,
        phase="connected",
        connected=True,
        gateway="gateway-2",
        detail=None,
    ),
)
GUIDE_LOGGED_OUT = LoggedOut(status="success", message=f"{_ID} is logged out.", instance_id=_ID)
GUIDE_SENT = GuideMessageSent(
    status="success", message="Success", data=MessageSentData(message_id=_MESSAGE)
)

QR = [
    Example(
        summary="A code of 20 seconds",
        value={
            "gateway": "gateway-2",
            "token": _TOKEN,
            "code": "2@Zm9v,YmFy,YmF6,cXV4",
            "expires_in_ms": 20_000,
        },
    )
]
POLL = [Example(summary="Half a minute at most", value={"wait_ms": 25_000})]
ANSWER = [
    Example(summary="Done", value={"instance_id": _ID, "result": _MESSAGE}),
    Example(summary="Not done", value={"instance_id": _ID, "error": "not on WhatsApp"}),
]
PAIRING = [Example(summary="A phone", value={"phone": _ID})]
MESSAGE = [Example(summary="A text", value={"to": "6289876543210", "text": "Hello"})]
GUIDE_SEND = [
    Example(
        summary="As waziper's clients send it",
        value={
            "instance_id": _ID,
            "number": "6289876543210",
            "type": "text",
            "message": "Hello",
        },
    )
]
