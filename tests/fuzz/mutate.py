"""What is done to an input: a value of its JSON replaced, a line of its text, some of its bytes.

Bytes alone seldom make JSON of another shape, which is what readers stumble over; so JSON is taken apart and put
together again. Everything follows from the ``chance`` that is given: hypothesis can shrink it, libFuzzer repeat it.
"""

from __future__ import annotations

import json
import math
import re
from random import Random
from typing import Any

from fuzz import bundles

_DEEP = "\ue000deep\ue000"
_NESTED = "\ue000nested\ue000"
_LONG = "\ue000long\ue000"
#: Texts in the place of which JSON gets what its writer can't write.
_RAW = {_DEEP: "[" * 3000 + "]" * 3000, _NESTED: "[" * 600 + "]" * 600, _LONG: "9" * 5000}

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *("", " ", "x", "0", "\0", "\n", "\ud800", "\u202e", "\x1b[31m", "<script>", "=1+1", "../..", "/etc/passwd"),
    *("nan", "2026-01-01", "1" * 300, "a/b", "%s", "{0}", "\\", "'", '"', ".", "..", "-", "~"),
    *([], {}, [[]], [None], [{}], {"": None}, {"a": []}, [1, "a"], _DEEP, _NESTED, _LONG),
)
_WORDS = (
    *(b"", b"=", b"true", b"nan", b"inf", b"-0", b"1e999", b"9" * 5000, b"[", b"[[", b"{", b"}", b'"', b'"""', b"'"),
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b"\\", b"..", b"../x", b"/", b"~x", b"#", b";", b"@", b"-r x", b"-e ."),
    *(b"1979-05-27", b"07:32:00", b"0x_1", b"&a", b"*a", b"!!python/object:os.system", b"<<: *a", b"? [a]", b"- - -"),
    *(b'x; extra == "y"', b"x @ https://h/x.whl", b"x===a b", b"x[a,b]>1!0", b"--hash=sha256:" + b"0" * 64, b"["),
    *(b"[" * 3000, b"{" * 400, b"a." * 400 + b"a=1"),
)


def mutated(data: bytes, chance: Random) -> bytes:
    """``data`` with one thing changed."""
    found = bundles.parts(data)
    if len(found) > 1:
        if chance.random() < 0.1:
            return _without_or_twice(found, chance)
        place = chance.randrange(len(found))
        name, text = found[place]
        found[place] = (name, _mutated_part(text, chance))
        return bundles.joined(found)
    return _mutated_part(data, chance)


def _without_or_twice(found: list[tuple[bytes, bytes]], chance: Random) -> bytes:
    place = chance.randrange(len(found))
    if chance.random() < 0.5:
        del found[place]
    else:
        name, text = chance.choice(found)
        found.insert(place, (name, text))
    return bundles.joined(found)


def _mutated_part(text: bytes, chance: Random) -> bytes:
    if chance.random() < 0.85:
        lines = text.split(b"\n")
        if len(lines) > 2 and lines[0].startswith(b"{") and lines[0].endswith(b"}"):
            place = chance.randrange(len(lines))
            lines[place] = _of_json(lines[place], chance) or _of_text(lines[place], chance)
            return b"\n".join(lines)
        changed = _of_json(text, chance)
        if changed is not None:
            return changed
    return _of_text(text, chance) if chance.random() < 0.7 else _of_bytes(text, chance)


def _of_json(text: bytes, chance: Random) -> bytes | None:
    """``text`` with a value replaced, left out or added; None where it is not JSON."""
    try:
        value = json.loads(text)
        value = _changed(value, chance)
        written = json.dumps(value)
    except (ValueError, RecursionError):
        return None
    for known, raw in _RAW.items():
        written = written.replace(json.dumps(known), raw)
    return written.encode()


def _changed(value: Any, chance: Random) -> Any:
    """Walk down to some value, and change that."""
    inner = isinstance(value, dict | list) and bool(value)
    if not inner or chance.random() < 0.12:
        return _other(value, chance)
    if isinstance(value, dict):
        key = chance.choice(list(value))
        what = chance.random()
        if what < 0.06:
            return {name: one for name, one in value.items() if name != key}
        if what < 0.12:
            return {**value, chance.choice((str(_odd(chance)), key + "x")): value[key]}
        return {**value, key: _changed(value[key], chance)}
    place, what = chance.randrange(len(value)), chance.random()
    if what < 0.06:
        return value[:place] + value[place + 1 :]
    if what < 0.12:
        return [*value, value[place]]
    return [*value[:place], _changed(value[place], chance), *value[place + 1 :]]


def _other(value: Any, chance: Random) -> Any:
    what = chance.random()
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63 and what < 0.3:
        return chance.choice((-value, value * 10, value + 1, value / 3, str(value), float(value), [value]))
    if isinstance(value, str) and what < 0.3:
        return chance.choice((value + "x", value * 2, value[1:], value.upper(), [value], {"a": value}))
    return _odd(chance)


def _odd(chance: Random) -> Any:
    return chance.choice(ODD)


def _of_text(text: bytes, chance: Random) -> bytes:
    """A line left out or doubled, or a word of it replaced."""
    lines = text.split(b"\n")
    place, what = chance.randrange(len(lines)), chance.random()
    if what < 0.1:
        del lines[place]
    elif what < 0.2:
        lines.insert(chance.randrange(len(lines) + 1), lines[place])
    elif what < 0.3:
        lines.insert(place, chance.choice(_WORDS))
    else:
        words = re.split(rb"([\w.+-]+)", lines[place])
        spot = chance.randrange(len(words))
        words[spot] = chance.choice(_WORDS)
        lines[place] = b"".join(words)
    return b"\n".join(lines)


def _of_bytes(text: bytes, chance: Random) -> bytes:
    place, length = chance.randrange(len(text) + 1), chance.choice((0, 1, 1, 2, 4, 8, 64))
    put = bytes(chance.randrange(256) for _ in range(chance.choice((0, 1, 1, 2, 4, 8))))
    return text[:place] + put + text[place + length :]
