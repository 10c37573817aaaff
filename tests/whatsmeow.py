"""The real WhatsApp library in a process of its own, and devices that no phone has paired."""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Mapping

import pytest

__all__ = ["device_row", "needs_neonize", "run_client", "start_client"]

#: For tests of the real library, whose wheels exist for Linux only.
needs_neonize = pytest.mark.skipif(
    importlib.util.find_spec("neonize") is None, reason="neonize is not installed"
)

#: Connects through a proxy port that nobody listens on: the dial fails, after the library has
#: looked the device up in its store.
_PROGRAM = """
import asyncio, sys
from neonize._binder import ProxySettings
from neonize.aioze.client import NewAClient
from neonize.exc import NeonizeError
from neonize.utils.jid import build_jid

async def main(place, device, wait):
    phone, number = device.partition("@")[0].split(":")
    jid = build_jid(phone)
    jid.Device = int(number)
    client = NewAClient(place, jid=jid)
    client._stop_finalizer.detach()
    task = await client.connect(ProxySettings("http://127.0.0.1:1"))
    try:
        await task
    except NeonizeError as error:
        print("FAILED", str(error).splitlines()[-1], flush=True)
    if wait:
        sys.stdin.readline()

place, device, wait = (sys.stdin.readline().rstrip("\\n") for _ in range(3))
asyncio.run(main(place, device, wait == "wait"))
"""


def start_client(place: str, device: str, *, wait: bool = False) -> subprocess.Popen[str]:
    """Start a client that connects once as `device`; `wait`: its process stays until a line comes.

    It prints `FAILED` and why. An unknown device ends the process (exit code -6).
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(f"{place}\n{device}\n{'wait' if wait else 'go'}\n")
    process.stdin.flush()
    return process


def run_client(place: str, device: str) -> tuple[int, str]:
    """Connect once as `device`; return the exit code and what was printed."""
    process = start_client(place, device)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def device_row(device: str) -> Mapping[str, str | int | bytes]:
    """Return a row of whatsmeow_device: every column that has to be there, as long as it has to."""

    def of_bytes(what: str, size: int) -> bytes:
        return hashlib.shake_128(f"{what} {device}".encode()).digest(size)

    return {
        "jid": device,
        "registration_id": 4_711,
        "noise_key": of_bytes("noise", 32),
        "identity_key": of_bytes("identity", 32),
        "signed_pre_key": of_bytes("pre-key", 32),
        "signed_pre_key_id": 1,
        "signed_pre_key_sig": of_bytes("signature", 64),
        "adv_key": of_bytes("adv", 32),
        "adv_details": b"",
        "adv_account_sig": of_bytes("account", 64),
        "adv_account_sig_key": of_bytes("account key", 32),
        "adv_device_sig": of_bytes("device", 64),
        # The library's own listing of devices breaks on it.
        "push_name": "Doe, Jane",
    }
