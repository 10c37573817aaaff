"""The Lua scripts as Redis keeps them: one library of functions (`FUNCTION LOAD`).

A script's text is run once, at its first call. Its functions stay, with whatever they remember, so
a call makes no closures and decodes no policy again. All names carry a digest of the text: replicas
of two versions call each their own, and a library that is there is the right one.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import Final, cast

from msgspec import Struct

from sekring.store.assemble import assemble, script_names

__all__ = ["KEPT", "LIBRARIES", "Library", "Script"]

#: Versions that a server may hold. A rolling update needs two.
KEPT: Final = 4

_PREFIX: Final = "sekring_"
#: How `FUNCTION LIST` finds all versions.
LIBRARIES: Final = _PREFIX + "*"
_FLAGS: Final = re.compile(r"^#!lua(?: flags=(\S+))?\n")
_COMMENT_LINES: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)

# While a library is loaded, Redis lends it hardly more than `redis`: a script's text is run at its
# first call.
_FUNCTION: Final = """
do
local script
local function load()
{text}
end
local function callback(KEYS, ARGV)
  script = script or load()
  return script(KEYS, ARGV)
end
redis.register_function{{
  function_name = '{function}', callback = callback, flags = {{{flags}}},
}}
end
"""


class Script(Struct, frozen=True):
    """A script's name, and that of its function in Redis."""

    name: str
    function: str


class Library(Struct, frozen=True):
    """All scripts of this version."""

    name: str
    #: What `FUNCTION LOAD` takes.
    text: str
    scripts: dict[str, Script]

    @classmethod
    @functools.cache
    def build(cls) -> "Library":
        """Put the library together."""
        texts = {name: assemble(name) for name in script_names()}
        whole = "\n".join(texts.values()).encode()
        digest = hashlib.sha1(whole, usedforsecurity=False).hexdigest()[:12]
        scripts = {name: Script(name, f"{_PREFIX}{name}_{digest}") for name in texts}
        name = _PREFIX + digest
        functions = (_function(scripts[name], text) for name, text in texts.items())
        return cls(name, f"#!lua name={name}\n" + "".join(functions), scripts)

    def superfluous(self, listed: Sequence[dict[bytes, object]]) -> list[str]:
        """Return which libraries may go, of those that `FUNCTION LIST` names.

        Nothing says which are still called, so all others go once there are too many: a replica
        that misses its own loads it again.
        """
        names = [cast("bytes", library[b"library_name"]).decode() for library in listed]
        others = [name for name in names if name.startswith(_PREFIX) and name != self.name]
        return others if len(others) >= KEPT else []


def _function(script: Script, text: str) -> str:
    head = _FLAGS.match(text)
    if head is None:
        message = f"lua/{script.name}.lua must begin with #!lua."
        raise ValueError(message)
    flags = ", ".join(f"'{flag}'" for flag in (head[1] or "").split(",") if flag)
    body = _COMMENT_LINES.sub("", text[head.end() :])
    return _FUNCTION.format(function=script.function, flags=flags, text=body)
