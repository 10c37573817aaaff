"""A gateway as the service sees it: calls of leases and errands, and no session behind them."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import httpx

__all__ = ["BusyGateway", "GatewayDouble"]

Body = dict[str, Any]

#: A QR code's content that looks like WhatsApp's; nothing of it may be in a log or readable.
QR_CODE = "2@" + "QrSecret/" * 24 + "=,Key=,Key="

#: How long an answer may take, in seconds; polls come on top.
_PATIENCE_S = 20


class GatewayDouble:
    """One gateway; every method is one call. What is not answered with 200 fails the test."""

    def __init__(self, url: str, name: str = "gateway-1", token: str | None = None) -> None:
        """Call the replica at `url`."""
        self.name = name
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, timeout=_PATIENCE_S, headers=headers)
        #: Fencing tokens by session, as claimed.
        self.tokens: dict[str, int] = {}

    def claim(self, limit: int = 100) -> list[Body]:
        """Claim what is vacant."""
        body = {"capacity": 1_000, "held": len(self.tokens), "limit": limit}
        leases: list[Body] = self._ask("POST", "/v1/leases/claim", body)["leases"]
        self.tokens |= {lease["instance_id"]: lease["token"] for lease in leases}
        return leases

    def own(self, instance_id: str) -> None:
        """Claim until this session is ours."""
        for _ in range(200):
            self.claim()
            if instance_id in self.tokens:
                return
            time.sleep(0.05)
        raise AssertionError(f"{instance_id} could not be claimed")

    def own_again(self, instance_id: str) -> None:
        """Claim a session anew whose lease has run out, or is about to."""
        self.tokens.pop(instance_id)
        self.own(instance_id)

    def renew(self) -> list[Body]:
        """Renew all leases."""
        held = [{"instance_id": name, "token": token} for name, token in self.tokens.items()]
        body = {"capacity": 1_000, "leases": held}
        leases: list[Body] = self._ask("POST", "/v1/leases/renew", body)["leases"]
        return leases

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew in a thread, several times a second."""
        stop = threading.Event()

        def renew() -> None:
            while not stop.wait(0.3):
                self.renew()

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def release(self, instance_id: str) -> None:
        """Give a session back."""
        lease = {"instance_id": instance_id, "token": self.tokens.pop(instance_id)}
        self._ask("POST", "/v1/leases/release", {"leases": [lease]})

    def phase(self, instance_id: str, phase: str, **more: object) -> bool:
        """Say where a session stands; whether it is ours."""
        body = {"token": self.tokens[instance_id], "phase": phase, **more}
        return bool(self._ask("PUT", f"/v1/leases/{instance_id}/phase", body)["held"])

    def show_qr(
        self, instance_id: str, code: str = QR_CODE, expires_in_ms: int = 20_000, **more: object
    ) -> bool:
        """Show a QR code; whether the session is ours."""
        body = {
            "token": self.tokens[instance_id],
            "code": code,
            "expires_in_ms": expires_in_ms,
            **more,
        }
        return bool(self._ask("PUT", f"/v1/leases/{instance_id}/qr", body)["held"])

    def errands(self, wait_ms: int = 0) -> list[Body]:
        """Take what there is to do."""
        path = f"/v1/gateways/{self.name}/errands"
        answer = self._http.post(path, json={"wait_ms": wait_ms})
        assert answer.status_code == 200, answer.text
        errands: list[Body] = answer.json()["errands"]
        return errands

    def next_errand(self, kind: str, seconds: float = 20) -> Body:
        """Poll until an errand of that kind comes; others are passed over."""
        for _ in range(round(seconds)):
            for errand in self.errands(1_000):
                if errand["kind"] == kind:
                    return errand
        raise AssertionError(f"no errand {kind} within {seconds} s")

    def answer(self, errand: Body, **outcome: object) -> bool:
        """Say what came of an errand; whether somebody waited for it."""
        body = {"instance_id": errand["instance_id"], **outcome}
        answer = self._http.post(f"/v1/errands/{errand['id']}", json=body)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["awaited"])

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.close()

    def _ask(self, method: str, path: str, body: Body) -> Body:
        answer = self._http.request(method, path, json={"gateway": self.name, **body})
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Body = answer.json()
        return found


class BusyGateway(GatewayDouble):
    """Claims all sessions and does whatever it is asked, in a thread: `with BusyGateway(url):`."""

    def __init__(self, url: str, name: str = "gateway-1", token: str | None = None) -> None:
        """Prepare; it begins with `with`."""
        super().__init__(url, name, token)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it; fail with what it has failed of."""
        self._stop.set()
        self._thread.join()
        self.close()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for lease in self.claim():
                    self.phase(lease["instance_id"], "connecting")
                self.renew()
                for errand in self.errands(200):
                    self._do(errand)
        except BaseException as error:  # noqa: BLE001 - told at the end
            self.error = error

    def _do(self, errand: Body) -> None:
        name = errand["instance_id"]
        if errand["kind"] == "qr":
            self.show_qr(name)
        elif errand["kind"] == "pair":
            self.answer(errand, result="ABCD-EFGH")
        elif errand["kind"] == "send":
            self.answer(errand, result=f"message to {errand['to']}")
        elif errand["kind"] == "log_out":
            self.answer(errand)
