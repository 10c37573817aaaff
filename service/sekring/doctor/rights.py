"""Whether the Redis user may do what Sekring does, and no more.

Nothing is tried: `redis.acl_check_cmd`, which any script may call, says what its caller may do.
"""

from collections.abc import Sequence
from typing import Final, cast

from sekring.doctor.finding import Finding, failure, merged, ok, unchecked, warning
from sekring.doctor.nodes import Deployment, Holding, Node, ask
from sekring.store.connection import Command, ConnectionLost
from sekring.store.rights import RIGHTS, patterns

__all__ = ["examine_rights", "may"]

#: ARGV: commands, each as how many words follow and the words. A command that the server does not
#: know is nobody's right.
_ASK: Final = """#!lua flags=no-writes,allow-stale
local place, allowed = 1, {}
while place <= #ARGV do
  local words = {}
  for i = 1, ARGV[place] do words[i] = ARGV[place + i] end
  local known, may = pcall(redis.acl_check_cmd, unpack(words))
  allowed[#allowed + 1] = known and may and 1 or 0
  place = place + #words + 1
end
return allowed
"""

#: What only an administrator should be able to do.
_TOO_MUCH: Final = (
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "SET", "maxmemory", "0"),
    ("ACL", "SETUSER", "x"),
    ("SHUTDOWN",),
    ("GET", "a-key-of-somebody-else"),
)


async def may(
    deployment: Deployment, node: Node, key: str, commands: Sequence[Sequence[str]]
) -> list[bool]:
    """Return for each command whether the user may run it on `node`, which holds `key`.

    Raises:
        ConnectionLost: the node does not answer, or the user may not even ask.
    """
    words = [str(word) for command in commands for word in (len(command), *command)]
    question: Command = ("EVAL", _ASK, 1, key, *words)
    (answer,) = await ask(deployment.connector, node.address, [question])
    if isinstance(answer, Exception):
        raise ConnectionLost(str(answer))
    return [bool(one) for one in cast("list[int]", answer)]


async def examine_rights(
    deployment: Deployment, holdings: Sequence[Holding], prefix: str
) -> list[Finding]:
    """Examine the user on each primary; `holdings` says by which key."""
    return merged(
        [
            (str(node.address), finding)
            for node, key in holdings
            for finding in [await _examine(deployment, node, key, prefix)]
        ]
    )


async def _examine(deployment: Deployment, node: Node, key: str, prefix: str) -> Finding:
    needed = [right.example(key, key) for right in RIGHTS]
    try:
        allowed = await may(deployment, node, key, [*needed, *_TOO_MUCH])
    except ConnectionLost as error:
        words = str(error).rstrip(".")
        if "permission" not in words.lower():
            return unchecked("rights", f"the user's rights could not be asked for: {words}")
        return failure("rights", words, _give(["+eval"], prefix))
    missing = [f"+{right.rule}" for right, one in zip(RIGHTS, allowed, strict=False) if not one]
    if missing:
        return failure("rights", f"missing: {' '.join(missing)}", _give(missing, prefix))
    too_much = [
        command[0] for command, one in zip(_TOO_MUCH, allowed[len(RIGHTS) :], strict=True) if one
    ]
    own_machine = deployment.connector.first.port == 0
    if too_much and not own_machine:
        return warning(
            "rights",
            f"the user may do all that is needed, and more: {', '.join(too_much)} …",
            "Give the service a user of its own with the rights in deploy/redis/users.acl.",
        )
    return ok("rights", f"all {len(RIGHTS)} commands that are needed, on keys and channels")


def _give(rules: Sequence[str], prefix: str) -> str:
    keys, channels = patterns(prefix)
    return (
        f"As an administrator: ACL SETUSER USER {keys} {channels} {' '.join(rules)}, and the same"
        " in its ACL file (deploy/redis/users.acl has all rules)."
    )
