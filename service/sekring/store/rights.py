"""What a Redis user needs so that Sekring can work as it: commands, keys and channels.

The one list of them. `deploy/redis/users.acl` says the same in Redis' words, and a test holds both
against what `lua/` and this package really call: a command inside a script is checked against the
rights of whoever runs the script. `AUTH` and `HELLO` are open to every user.
"""

from collections.abc import Iterator

from msgspec import Struct

__all__ = ["RIGHTS", "SENTINEL_RIGHTS", "Right", "patterns"]


class Right(Struct, frozen=True):
    """One command, and an example of its use that `redis.acl_check_cmd` can judge.

    In the example `KEY` stands for a key of the keyspace and `CHANNEL` for a push channel.
    """

    #: As in an ACL rule, behind its `+`: `hset`, `xinfo|stream`.
    rule: str
    #: What follows the command, words between blanks.
    arguments: str = ""
    #: Why it is needed, where neither a script nor a read of the state says so.
    why: str = ""

    def example(self, key: str, channel: str) -> list[str]:
        """Return the command as it would be sent."""
        places = {"KEY": key, "CHANNEL": channel}
        words = self.arguments.split()
        return [*self.rule.upper().split("|"), *(places.get(word, word) for word in words)]


def patterns(prefix: str) -> tuple[str, str]:
    """Return what the rules say of keys and of channels; channels are named like keys."""
    return f"~{prefix}:*", f"&{prefix}:*"


def _on_keys() -> Iterator[Right]:
    for rule in (
        *("del", "exists", "pexpire", "pttl"),
        *("get", "set"),
        *("hdel", "hexists", "hget", "hgetall", "hincrby", "hkeys", "hlen", "hmget", "hset"),
        "hsetnx",
        *("llen", "lrange", "lrem", "ltrim", "rpush"),
        *("xadd", "xinfo|stream", "xrange", "xrevrange"),
        *("zadd", "zcard", "zcount", "zlexcount", "zmscore", "zrange", "zrem"),
        *("zremrangebyrank", "zremrangebyscore", "zscore"),
    ):
        yield Right(rule, "KEY")
    yield Right("zunionstore", "KEY 1 KEY")


#: On the servers.
RIGHTS: tuple[Right, ...] = (
    *_on_keys(),
    Right("time", why="all time is the server's"),
    Right("spublish", "CHANNEL message", "push: what a replica must know at once"),
    Right("ssubscribe", "CHANNEL", "push"),
    Right("sunsubscribe", "CHANNEL", "push"),
    Right("fcall", "name 1 KEY", "the scripts"),
    Right("function|load", "text", "the scripts"),
    Right("function|list", "LIBRARYNAME sekring_*", "are there scripts of too many versions?"),
    Right("function|delete", "name", "then the others go"),
    # It gives nothing that the first two do not: a script has no rights of its own.
    Right("eval", "text 1 KEY", "the guard: does this node take writes for this slot?"),
    Right("ping", why="does the node answer?"),
    Right("wait", "1 1", "has a replica what was written?"),
    Right("info", "server", "was the node restarted? And `sekring doctor`"),
    Right("role", why="is the server that sentinels name a master yet?"),
    Right("cluster|slots", why="which node has which slot?"),
    Right("cluster|info", why="does the node see a working cluster?"),
    Right("asking", why="a slot that is being moved"),
    Right("select", "0", "a database other than 0"),
)

#: On the sentinels.
SENTINEL_RIGHTS: tuple[Right, ...] = (
    Right("sentinel|master", "SERVICE"),
    Right("sentinel|get-master-addr-by-name", "SERVICE"),
)
