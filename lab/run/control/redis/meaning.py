"""What a Redis command touches: its keys, what it does to them, and whether it waits.

A server runs one command at a time, so a command is one step, on the keys that it names. That two
commands on different keys do not meet is worth knowing: without it every order of all commands of
all clients would be another run. But a key that is overlooked would be a bug that no search finds.
So only what stands in the table below is believed. Every other command, and every script, whatever
keys it declares, touches all that the server has.

What a command does to its own connection alone (HELLO, CLIENT SETINFO) is nobody else's business,
and no step at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.trace import Action


@dataclass(frozen=True)
class Meaning:
    """What one command, or several that were sent at once, are to others."""

    name: str
    action: Action = Action.CALL
    keys: tuple[bytes, ...] = ()
    everything: bool = False
    """It may touch any key."""
    local: bool = False
    """It has to do with its own connection only."""
    value: bytes | None = None
    """What it writes, where it says so."""
    timed: bool = False
    """It may give a key a time to live."""
    lives: tuple[tuple[bytes, int], ...] = ()
    """For keys, the milliseconds that it gives them, where it says so."""
    dated: bool = False
    """It gives a key a time of the calendar to end at."""
    waits: bool = False
    """It may be answered only when others have done something."""
    limit: int = 0
    """Which word is the time limit of its wait."""
    several: bool = False
    """It is more than one command, so that no reply speaks for the step."""
    may_fail: bool = False
    """If it replies nothing, or none, it has done nothing."""

    @property
    def changes(self) -> bool:
        """Whether it may leave something else behind than it found."""
        return not self.local and (self.everything or self.action is not Action.READ)


def meaning(words: tuple[bytes, ...]) -> Meaning:
    """What a command means."""
    name = words[0].upper().decode(errors="replace") if words else ""
    if name in _LOCAL or (name == "CLIENT" and words[1:2] and words[1].upper() in _LOCAL_OF_CLIENT):
        return Meaning(name, local=True)
    if name not in _TABLE:
        return Meaning(name, Action.UPDATE, _declared(name, words), everything=True)
    action, first, last, step = _TABLE[name]
    stop = last + 1 if last >= 0 else len(words) + last + 1
    means = Meaning(
        name,
        action,
        words[first:stop:step],
        timed=name in _TIMED,
        may_fail=name in _MAY_FAIL or action is Action.RECEIVE,
        lives=_lives(name, words),
        dated=_dated(name, words),
        value=words[2] if action in _TELLS and len(words) > 2 else None,  # noqa: PLR2004  # SET key value
    )
    if name in _WAITING:
        limit = _WAITING[name] % len(words)
        return replace(means, waits=True, limit=limit)
    if name == "SET":
        return _set(means, words)
    return means


def _set(means: Meaning, words: tuple[bytes, ...]) -> Meaning:
    options = {word.upper() for word in words[3:]}
    return replace(
        means,
        action=Action.UPDATE if options & {b"NX", b"XX", b"GET", b"IFEQ"} else Action.WRITE,
        may_fail=b"GET" not in options,  # then it replies what was there before
        timed=bool(means.lives) or means.dated,
    )


def _declared(name: str, words: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The keys that a script says it uses: it may use others too, but is called by these."""
    if name not in _SCRIPTS or len(words) < _FIRST_OF_SCRIPT or not words[2].isdigit():
        return ()
    return words[_FIRST_OF_SCRIPT : _FIRST_OF_SCRIPT + int(words[2])]


def _lives(name: str, words: tuple[bytes, ...]) -> tuple[tuple[bytes, int], ...]:
    """The time to live that a command states."""
    place, unit = _STATED.get(name, (0, 0))
    if name in _WITH_OPTIONS:
        for index, word in enumerate(words[:-1]):
            if index > 1 and word.upper() in _UNITS:
                place, unit = index + 1, _UNITS[word.upper()]
    try:
        return ((words[1], int(words[place]) * unit),) if place else ()
    except (IndexError, ValueError):
        return ()  # the server will say so


def _dated(name: str, words: tuple[bytes, ...]) -> bool:
    options = {word.upper() for word in words[2:]} if name in _WITH_OPTIONS else set()
    return name in _AT or bool(options & {b"EXAT", b"PXAT"})


def together(meanings: list[Meaning]) -> Meaning:
    """Several commands as one step, since nobody can come between them, or it makes no difference.

    (A server may run another's command between those of a pipeline. But they are here before the
    lab lets anybody else send one.)
    """
    shared = [means for means in meanings if not means.local]
    if not shared:
        return meanings[0] if meanings else Meaning("", local=True)
    if len(shared) == 1:
        return shared[0]
    return Meaning(
        ", ".join(dict.fromkeys(means.name for means in shared)),
        Action.UPDATE if any(means.changes for means in shared) else Action.READ,
        tuple(dict.fromkeys(key for means in shared for key in means.keys)),
        everything=any(means.everything for means in shared),
        timed=any(means.timed for means in shared),
        lives=tuple(life for means in shared for life in means.lives),
        dated=any(means.dated for means in shared),
        waits=any(means.waits for means in shared),
        several=True,
    )


def _keyed(action: Action, names: str, keys: tuple[int, int, int] = (1, 1, 1)) -> dict[str, _Row]:
    return dict.fromkeys(names.split(), (action, *keys))


_Row = tuple[Action, int, int, int]
"""What it does; the first and the last word that is a key (negative: from the end), and the step
between two of them. As COMMAND INFO has it."""
_ALL, _TWO, _BUT_THE_LAST = (1, -1, 1), (1, 2, 1), (1, -2, 1)

_TABLE: dict[str, _Row] = {
    **_keyed(
        Action.READ,
        """
        GET STRLEN GETRANGE GETBIT BITCOUNT TYPE TTL PTTL EXPIRETIME PEXPIRETIME DUMP
        LLEN LRANGE LINDEX LPOS HGET HMGET HGETALL HLEN HEXISTS HKEYS HVALS
        SCARD SMEMBERS SISMEMBER SMISMEMBER ZCARD ZSCORE ZRANGE ZRANK ZREVRANGE ZCOUNT
        ZRANGEBYSCORE XLEN XRANGE
        """,
    ),
    **_keyed(Action.READ, "EXISTS MGET SINTER SUNION SDIFF WATCH", _ALL),
    **_keyed(Action.WRITE, "SET SETEX PSETEX"),
    **_keyed(Action.WRITE, "MSET", (1, -1, 2)),
    **_keyed(Action.REMOVE, "DEL UNLINK", _ALL),
    **_keyed(
        Action.UPDATE,
        """
        INCR DECR INCRBY DECRBY INCRBYFLOAT APPEND SETNX GETSET GETDEL GETEX SETRANGE SETBIT
        EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST LSET LTRIM LREM LINSERT
        HSET HMSET HSETNX HDEL HINCRBY HINCRBYFLOAT SADD SREM SPOP
        ZADD ZREM ZINCRBY ZPOPMIN ZPOPMAX XADD XDEL XTRIM
        """,
    ),
    **_keyed(Action.UPDATE, "MSETNX", (1, -1, 2)),
    **_keyed(Action.UPDATE, "RENAME RENAMENX SMOVE", _TWO),
    **_keyed(Action.SEND, "LPUSH RPUSH LPUSHX RPUSHX"),
    **_keyed(Action.RECEIVE, "LPOP RPOP"),
    **_keyed(Action.RECEIVE, "LMOVE RPOPLPUSH BLMOVE BRPOPLPUSH", _TWO),
    **_keyed(Action.RECEIVE, "BLPOP BRPOP BZPOPMIN BZPOPMAX", _BUT_THE_LAST),
}
_MAY_FAIL = frozenset(
    """
    SETNX MSETNX DEL UNLINK GETDEL EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST LREM LPUSHX RPUSHX
    SADD SREM HDEL HSETNX ZREM RENAMENX SMOVE
    """.split()  # noqa: SIM905  # to be read
)
_WAITING = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "BRPOPLPUSH"), -1),
    "BLMOVE": -1,
}
"""Commands that wait, and which word is their time limit."""
_TELLS = frozenset({Action.WRITE, Action.SEND})
_TIMED = frozenset("SETEX PSETEX GETEX EXPIRE PEXPIRE EXPIREAT PEXPIREAT".split())  # noqa: SIM905  # to be read
_STATED = {"SETEX": (2, 1000), "PSETEX": (2, 1), "EXPIRE": (2, 1000), "PEXPIRE": (2, 1)}
"""Which word is a time to live, and its unit in milliseconds."""
_WITH_OPTIONS = frozenset({"SET", "GETEX"})
_UNITS = {b"EX": 1000, b"PX": 1}
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"})
_FIRST_OF_SCRIPT = 3
"""Which word is the first key of a script; the one before it says how many there are."""
_AT = frozenset({"EXPIREAT", "PEXPIREAT"})
_LOCAL = frozenset("PING ECHO HELLO AUTH SELECT QUIT MULTI DISCARD UNWATCH COMMAND".split())  # noqa: SIM905  # the same
_LOCAL_OF_CLIENT = frozenset({b"SETINFO", b"SETNAME", b"GETNAME", b"ID", b"INFO"})
