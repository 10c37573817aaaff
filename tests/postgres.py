"""A real PostgreSQL for tests, on a free loopback port in a folder of its own."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tests.servers import free_port, wait_until

__all__ = ["PostgresServer", "postgres_folder"]

#: Debian's packages keep the server's programs off PATH, one folder a version.
_DEBIAN = Path("/usr/lib/postgresql")


def postgres_folder() -> Path | None:
    """Return the folder of `initdb`, `postgres` and `psql`; `None`: they are not installed."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    if _DEBIAN.is_dir():
        versions = [entry for entry in _DEBIAN.iterdir() if entry.name.isdecimal()]
        places += [entry / "bin" for entry in sorted(versions, key=lambda v: -int(v.name))]
    for place in places:
        if all((place / name).exists() for name in ("initdb", "postgres", "psql")):
            return place
    return None


class PostgresServer:
    """One server; `with PostgresServer() as server: …`.

    It refuses to run as root, so root starts it as an ordinary user, who must be able to get to its
    folder: that is not pytest's, which is closed to all others.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Prepare a server; `settings` are lines of postgresql.conf."""
        found = postgres_folder()
        assert found, "PostgreSQL is not installed"
        self._programs = found
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # What a test writes need not outlive the machine.
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "16MB",
            "jit": "off",
        } | dict(settings or {})
        self.port = free_port()
        self.user = "owner"
        self.password = "pass:word@/?#%"
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The server's own folder; its data is in `data`."""
        assert self._folder
        return self._folder

    def start(self) -> None:
        """Make a new cluster, start it and wait until it answers."""
        self._folder = Path(tempfile.mkdtemp(prefix="sekring-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, _ordinary_user())
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self.run(
            *("initdb", "--pgdata", str(self._folder / "data"), "--username", self.user),
            *("--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8"),
            *("--locale", "C", "--no-sync", "--no-instructions"),
        )
        self.resume()

    def resume(self) -> None:
        """Start it on the data that it has."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        command += ["-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_ordinary_user(), *command], stdout=log, stderr=log, cwd="/"
            )
        wait_until(self._answers, f"PostgreSQL on port {self.port}")

    def stop(self) -> None:
        """Cut all connections and end it; its data stays."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
            self._process = None

    def url(self, database: str = "postgres", user: str = "", password: str = "") -> str:
        """Return the URL of a database, without TLS."""
        account = f"{user or self.user}:{quote(password or self.password, safe='')}"
        return f"postgresql://{account}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the cluster's owner; return its rows, columns separated by `|`."""
        return self.run(
            *("psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement),
            self.url(database),
        )

    def certificate(self, place: Path) -> None:
        """Write a self-signed certificate for 127.0.0.1, its key beside it."""
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-keyout", str(place.with_suffix(".key")), "-out", str(place)]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True)

    def use_tls(self) -> Path:
        """Start it again with TLS; return the certificate that clients are to trust."""
        place = self.folder / "tls.pem"
        self.certificate(place)
        key = place.with_suffix(".key")
        key.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(key, _ordinary_user())
        self._settings |= {"ssl": "on", "ssl_cert_file": str(place), "ssl_key_file": str(key)}
        self.stop()
        self.resume()
        return place

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; fail with what it says."""
        done = subprocess.run(
            [*_as_ordinary_user(), str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.sql("SELECT 1") == "1"
        except AssertionError:
            return False


def _ordinary_user() -> str:
    return _ordinary_account().pw_name


def _ordinary_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("PostgreSQL does not run as root, and there is no user nobody here")


def _as_ordinary_user() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    account = _ordinary_account()
    return ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
