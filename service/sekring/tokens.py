"""API tokens: who may do what. Stored hashed, compared in constant time.

A token is ``skr_<id>_<secret>``: the id finds the entry, the SHA-256 of the whole token proves it.
The secret has 256 random bits, so a plain hash cannot be guessed back.
"""

import hashlib
import hmac
import re
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from sekring.errors import SettingsError

__all__ = [
    "ANYONE",
    "Caller",
    "NewToken",
    "Permission",
    "Role",
    "TokenBook",
    "TokenEntry",
    "token_id_of",
]

_TOKEN = re.compile(r"skr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_HASH = re.compile(r"[0-9a-f]{8}:[0-9a-f]{64}")


class Permission(StrEnum):
    """What a route asks for."""

    READ = "read"
    REPORT = "report"
    OPERATE = "operate"


class Role(StrEnum):
    """What a token is for."""

    VIEWER = "viewer"
    GATEWAY = "gateway"
    OPERATOR = "operator"

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role may do; an operator may do everything."""
        return _PERMISSIONS[self]


_PERMISSIONS = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.GATEWAY: frozenset({Permission.READ, Permission.REPORT}),
    Role.OPERATOR: frozenset(Permission),
}


class Caller(Struct, frozen=True):
    """Who sends a request."""

    name: str
    role: Role


#: Who calls where no token is configured: only this machine can then reach the service.
ANYONE = Caller("anonymous", Role.OPERATOR)


class TokenEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A token as the file has it: a name for the audit trail, the role, `id:sha256`."""

    name: str
    role: Role
    hash: str


class NewToken(Struct, frozen=True):
    """A fresh token: the secret itself, shown once, and the entry to store."""

    token: str
    entry: TokenEntry

    @classmethod
    def make(cls, name: str, role: Role) -> "NewToken":
        """Make one from the system's random source."""
        token_id = secrets.token_hex(4)
        token = f"skr_{token_id}_{secrets.token_urlsafe(32)}"
        return cls(token, TokenEntry(name, role, f"{token_id}:{_digest(token)}"))


class _File(Struct, forbid_unknown_fields=True):
    token: list[TokenEntry] = []


class TokenBook:
    """All tokens that this service knows; an empty one lets anybody in as `ANYONE`."""

    def __init__(self, entries: Iterable[TokenEntry] = ()) -> None:
        """Index `entries` by the id in their hash.

        Raises:
            SettingsError: a hash is malformed, or two entries have the same id or name.
        """
        self._entries: dict[str, TokenEntry] = {}
        names: set[str] = set()
        for entry in entries:
            if not _HASH.fullmatch(entry.hash):
                raise SettingsError(
                    f"The hash of token '{entry.name}' is not one that `sekring token new` prints."
                )
            token_id = entry.hash.partition(":")[0]
            if token_id in self._entries or entry.name in names:
                raise SettingsError(f"There are two tokens of the name or id of '{entry.name}'.")
            self._entries[token_id] = entry
            names.add(entry.name)

    def __bool__(self) -> bool:
        """Whether any token is configured."""
        return bool(self._entries)

    def count_by_role(self) -> dict[Role, int]:
        """Count the tokens of each role that has any."""
        return dict(Counter(entry.role for entry in self._entries.values()))

    @classmethod
    def load(cls, file: Path | None, inline: str | None) -> "TokenBook":
        """Read the tokens of a TOML file and those of the environment.

        The file has a table ``[[token]]`` with `name`, `role` and `hash` for each; `inline` has
        ``name=role:hash`` for each, separated by commas, spaces or lines.

        Raises:
            SettingsError: one of them cannot be read; says where.
        """
        entries = list(_from_file(file)) if file else []
        if file and not entries:
            raise SettingsError(
                f"SEKRING_TOKENS_FILE: {file} has no token, which would let everybody in; "
                "`sekring token new --role operator` prints an entry."
            )
        if inline:
            entries += [_from_words(words) for words in re.split(r"[\s,]+", inline.strip())]
        return cls(entries)

    def caller_of(self, token: str) -> Caller | None:
        """Return whose token this is; `None` if nobody's."""
        entry = self._entries.get(token_id_of(token) or "")
        # Hashing and comparing in every case: the time tells nothing about which ids exist.
        known = entry.hash.partition(":")[2] if entry else "0" * 64
        if not hmac.compare_digest(_digest(token), known) or entry is None:
            return None
        return Caller(entry.name, entry.role)

    def caller_with_id(self, token_id: str) -> Caller | None:
        """Return the caller whose token has that id, if such a token (still) exists."""
        entry = self._entries.get(token_id)
        return Caller(entry.name, entry.role) if entry else None


def token_id_of(token: str) -> str | None:
    """Return the id in a token, which is no secret; `None` if it is no token."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _from_file(file: Path) -> list[TokenEntry]:
    try:
        parsed = tomllib.loads(file.read_text(encoding="utf-8"))
        return msgspec.convert(parsed, _File).token
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"SEKRING_TOKENS_FILE: {file} cannot be read: {error}.") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(
            f"SEKRING_TOKENS_FILE: {file} is not a token file: {error}. "
            "`sekring token new --role operator` prints an entry."
        ) from None


def _from_words(words: str) -> TokenEntry:
    name, _, rest = words.partition("=")
    role, _, digest = rest.partition(":")
    if not name or role not in set(Role) or not _HASH.fullmatch(digest):
        raise SettingsError(
            f"SEKRING_TOKENS: the entry '{name[:20]}…' is not name=role:hash with a role of "
            f"{', '.join(Role)} and a hash that `sekring token new` prints."
        )
    return TokenEntry(name, Role(role), digest)
