"""The garbage collector of a server process: off while it starts, on when it has started."""

import subprocess
import sys


def test_a_server_process_that_has_started_looks_for_garbage_again() -> None:
    code = "import gc; gc.disable(); from sekring.http.garbage import settle_garbage as settle"
    subprocess.run([sys.executable, "-c", f"{code}; settle(); assert gc.isenabled()"], check=True)
