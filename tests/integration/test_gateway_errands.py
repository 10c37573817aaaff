"""What people ask of sessions, through the service, of a real gateway with the scripted driver."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import GatewayProcess, phases, sessions, wish
from tests.liveness import courses, read
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

PHONE = "6281234567890"
SECRET = "a text that nobody else is to read"
QUICK = {"backoff": {"base_ms": 100, "factor": 1, "cap_ms": 100}, "failure_threshold": 3}

#: By the name of the session, what happens to it.
SCENARIO = """
[[rule]]
instances = "scanned"
[[rule.connect]]
steps = [{ do = "qr", code = "2@the-code", expires_in_ms = 60000 }, { do = "wait", ms = 2500 },
  { do = "pair", device = "628999:1@s.whatsapp.net" }, { do = "connect" }, { do = "stay" }]

[[rule]]
instances = "ran-out"
[[rule.connect]]
steps = [{ do = "qr", expires_in_ms = 300 }, { do = "wait", ms = 300 },
  { do = "fail", kind = "pairing", detail = "QR codes ran out" }]
[[rule.connect]]
steps = [{ do = "qr", code = "2@the-second", expires_in_ms = 60000 }, { do = "stay" }]

[[rule]]
instances = "tripped"
[[rule.connect]]
times = 3
steps = [{ do = "fail", kind = "proxy", detail = "bad gateway" }]
[[rule.connect]]
steps = [{ do = "connect" }, { do = "stay" }]

[[rule]]
instances = "out"
[[rule.connect]]
steps = [{ do = "connect" }, { do = "wait", ms = 300 },
  { do = "fail", protocol = "whatsmeow", code = 401, detail = "logged out" }]
[[rule.connect]]
steps = [{ do = "qr", code = "2@paired-anew", expires_in_ms = 60000 }, { do = "stay" }]
"""


class Scene:
    """A service and a gateway on it."""

    def __init__(self, service: ServiceProcess, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.url = service.url
        self.http = httpx.Client(base_url=service.url, timeout=40)

    def wait_for(self, instance: str, phase: str) -> None:
        wait_until(lambda: phases(self.url).get(instance) == phase, f"{instance} to be {phase}", 40)

    def connects(self, instance: str) -> int:
        return len(courses(read(self.gateway.folder / "connections.jsonl")).get(instance, []))

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)


@pytest.fixture(scope="module")
def scene(redis_process: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    (folder / "scenario.toml").write_text(SCENARIO)
    with redis_process.client() as client:
        client.flushall()
    with ServiceProcess(redis_process.url, lease_ttl_ms=6_000, qr_wait_ms=20_000) as service:
        httpx.put(f"{service.url}/v1/policy", json=QUICK).raise_for_status()
        with GatewayProcess("a", service.url, folder) as gateway:
            scene = Scene(service, gateway)
            yield scene
            scene.http.close()
        assert gateway.said("errand failed") == []


def test_a_qr_code_wishes_for_a_session_and_comes_from_its_gateway(scene: Scene) -> None:
    answer = scene.http.get("/get_qrcode", params={"instance_id": "scanned"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["base64"].startswith("data:image/png;base64,")
    assert phases(scene.url)["scanned"] == "pairing"
    # And then somebody scans it.
    scene.wait_for("scanned", "connected")
    assert sessions(scene.url)["scanned"]["device"] == "628999:1@s.whatsapp.net"


def test_whoever_asks_for_a_code_wakes_an_unpaired_session(scene: Scene) -> None:
    wish(scene.url, ["ran-out"])
    scene.wait_for("ran-out", "unpaired")
    time.sleep(1)
    assert scene.connects("ran-out") == 1

    answer = scene.http.get("/get_qrcode", params={"instance_id": "ran-out"})

    assert answer.status_code == 200, answer.text
    assert scene.connects("ran-out") == 2


def test_a_reset_is_heard_of_at_once(scene: Scene) -> None:
    wish(scene.url, ["tripped"])
    wait_until(
        lambda: "refuses" in (sessions(scene.url).get("tripped", {}).get("detail") or ""), "it"
    )
    began_s = time.monotonic()

    scene.post("/v1/instances/tripped/reset", reason="test").raise_for_status()

    scene.wait_for("tripped", "connected")
    # Not only when it asks by itself again, half a minute later.
    assert time.monotonic() - began_s < 20


def test_a_session_that_was_logged_out_pairs_anew_by_a_qr_code(scene: Scene) -> None:
    wish(scene.url, ["out"])
    wait_until(
        lambda: "logged_out" in (sessions(scene.url).get("out", {}).get("detail") or ""), "it", 40
    )

    answer = scene.http.get("/get_qrcode", params={"instance_id": "out"})

    assert answer.status_code == 200, answer.text
    assert phases(scene.url)["out"] == "pairing"


def test_a_phone_is_paired_by_a_code(scene: Scene) -> None:
    wish(scene.url, ["ran-out"])

    answer = scene.post("/v1/sessions/ran-out/pairing-code", phone=PHONE)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["code"]) == 9


def test_a_message_is_sent_and_its_text_is_nowhere_in_the_log(scene: Scene) -> None:
    wish(scene.url, ["plain"])
    scene.wait_for("plain", "connected")

    answer = scene.post("/v1/sessions/plain/messages", to=PHONE, text=SECRET)

    assert answer.status_code == 200, answer.text
    assert answer.json()["message_id"].startswith("3EB0")
    log = scene.gateway.log_text()
    assert SECRET not in log
    assert "2@the-code" not in log


def test_a_message_of_a_session_that_is_not_connected_is_refused_in_words(scene: Scene) -> None:
    wish(scene.url, ["ran-out"])

    answer = scene.post("/v1/sessions/ran-out/messages", to=PHONE, text=SECRET)

    assert answer.status_code in {409, 502}
    assert answer.json()["detail"]


def test_a_logout_ends_the_session_and_forgets_its_device(scene: Scene) -> None:
    wish(scene.url, ["leaving"])
    scene.wait_for("leaving", "connected")

    answer = scene.http.get("/logout", params={"instance_id": "leaving"})

    assert answer.status_code == 200, answer.text
    wait_until(lambda: "leaving" not in phases(scene.url), "it to be gone")
    found = scene.http.get("/v1/instances/leaving").json()
    assert (found["failures"], found["terminal"], found["connection"]) == (0, None, "")
    assert scene.connects("leaving") == 1
