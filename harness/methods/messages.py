"""What an instance says, taken apart: every field of every message is typed and capped before anybody uses it.

An instance runs other people's code, the runner in it included: any message may be any JSON value, or none at all.
What is not what it has to be is a ModelFailure. Stamps that are numbers and cannot be true are another matter: the
total of a start is the harness's own and stays, only the phases between are not believed (:func:`stamped`).
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.errors import ModelFailure, one_line
from harness.methods.contract import LONGEST_BYTES, Limits, Stamps
from harness.spec.model import Json

#: What a message may have besides its answers: errors, facts, a page of a server's own.
_SLACK_BYTES = 64 * 2**10

_MESSAGE_CHARS, _FIELD_CHARS, _LINES, _LINE_CHARS = 2000, 200, 20, 300
_FACTS, _FACT_CHARS = 64, 1000
_PHASES = ("interpreter", "imports", "weights")


class TooLong(ValueError):
    """A message that is longer than any that is waited for."""


def longest_bytes(limits: Limits, inputs: int) -> int:
    """How long the answer to so many inputs may be; see :attr:`Limits.answer_bytes`."""
    return min(LONGEST_BYTES, _SLACK_BYTES + inputs * limits.answer_bytes)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# Made once. Python's own bound on digits and its depth of recursion hold here: ValueError and RecursionError.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def decoded(message: bytes | bytearray) -> Any:
    """The JSON value in it. ValueError or RecursionError where there is none, or one that is nested too deeply."""
    return _DECODER.decode(message.decode())


def outputs(answer: Any, inputs: int) -> list[Json]:
    """The answers to so many inputs, of ``{"outputs": [...]}``; ModelFailure where that is not what was said."""
    hold(answer)
    found = answer.get("outputs")
    if not isinstance(found, list):
        raise ModelFailure(f"the model answered rubbish: {shown(answer)}")
    if len(found) != inputs:
        raise ModelFailure(f"the model answered rubbish: {len(found)} answers to {inputs} inputs")
    return found


def hold(answer: Any) -> None:
    """ModelFailure where the message is no object, or tells an error."""
    if not isinstance(answer, dict):
        raise ModelFailure(f"the model answered rubbish: {shown(answer)}")
    if "error" in answer:
        raise ModelFailure(worded(answer["error"]), remedy=Raised.read(answer["error"]).remedy)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a runner tells of itself: facts as short printable texts, and when its phases ended by its own word."""

    facts: Mapping[str, str]
    stamps: Mapping[str, float]

    @classmethod
    def read(cls, answer: Any, *more_stamps: str) -> Told:
        """Of ``{"facts": {...}, "stamps": {...}}``; ModelFailure where something is missing, or of another type."""
        hold(answer)
        facts, stamps = answer.get("facts"), answer.get("stamps")
        if not isinstance(facts, dict) or len(facts) > _FACTS or not isinstance(stamps, dict):
            raise ModelFailure(f"the runner told rubbish about itself: {shown(answer)}")
        return cls(
            facts={_fact(name): _fact(value) for name, value in facts.items()},
            stamps={name: _stamp(name, stamps.get(name)) for name in (*_PHASES, *more_stamps)},
        )


def _fact(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float | None) else None
    if text is None or len(text) > _FACT_CHARS:
        raise ModelFailure(f"the runner told rubbish about itself: {shown(value)} is no fact")
    return one_line(text)


def _stamp(name: str, value: Any) -> float:
    if not isinstance(value, float):
        raise ModelFailure(f"the runner's stamps are rubbish: '{name}' is {shown(value)}, not a number of seconds")
    return value


def stamped(
    said: Mapping[str, float],
    *,
    spawned_s: float,
    sandbox_s: float,
    answered_s: float,
    listening_s: float = math.inf,
) -> Stamps:
    """The stamps of a start: those that the instance ``said``, between those that the harness took itself.

    They have to be finite and in order: after ``spawned_s``, the runner's first line before ``listening_s`` (since then
    somebody listens), the last before ``answered_s``. Where they are not, ``doubt`` says so. Within these bounds an
    instance can move the borders between its phases unseen, and nothing else: the total is between two stamps of ours.
    """
    interpreter_s, imports_s, weights_s = (said[phase] for phase in _PHASES)
    moments = [
        ("it was asked for", spawned_s),
        *((f"'{phase}'", said[phase]) for phase in _PHASES),
        ("its answer arrived", answered_s),
    ]
    doubt = next((f"'{phase}' is {said[phase]}" for phase in _PHASES if not math.isfinite(said[phase])), "")
    for (before, earlier_s), (after, later_s) in pairwise(moments):
        if not doubt and later_s < earlier_s:
            doubt = f"{after} before {before}"
    if not doubt and interpreter_s > listening_s:
        doubt = "it listened before 'interpreter'"
    return Stamps(
        spawned_s=spawned_s,
        # An engine learns of the process a little after it runs; its first line can come before.
        sandbox_s=min(sandbox_s, interpreter_s),
        interpreter_s=interpreter_s,
        imports_s=imports_s,
        weights_s=weights_s,
        doubt=f"what the instance says of its phases cannot be true: {doubt}" if doubt else "",
    )


# --- what was raised -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception in the runner's words; every field is a text, empty where there was none."""

    stage: str = ""
    kind: str = ""
    message: str = ""
    where: str = ""

    @classmethod
    def read(cls, error: Any) -> Raised:
        """Of whatever was said; a message alone where it is no object."""
        if not isinstance(error, dict):
            return cls(message=brief(error, _MESSAGE_CHARS))
        return cls(
            stage=brief(error.get("stage", ""), _FIELD_CHARS),
            kind=brief(error.get("type", ""), _FIELD_CHARS),
            message=brief(error.get("message", ""), _MESSAGE_CHARS),
            where=brief(error.get("where", ""), _FIELD_CHARS),
        )

    @property
    def disk_full(self) -> bool:
        """Whether it says that there was no room left."""
        return any(sign in self.message for sign in ("No space left on device", "Disk quota exceeded"))

    @property
    def remedy(self) -> str:
        """What to do about the failures of a first start that the author can't read from the message."""
        if self.kind == "ModuleNotFoundError":
            return "add the package that has this module to 'requirements' in model.toml"
        if self.kind in {"ImportError", "OSError"} and "cannot open shared object file" in self.message:
            return (
                "name the Debian package that has this library in 'system_packages' in model.toml; "
                "a method that carries no system libraries needs it on the target"
            )
        if self.disk_full or (self.kind == "OSError" and "File too large" in self.message):
            return "raise resources.disk_mb in model.toml"
        return ""


def worded(error: Any) -> str:
    """What the runner says of an exception, as part of a sentence."""
    found = Raised.read(error)
    if not isinstance(error, dict):
        return f"failed: {found.message}"
    where = f" ({found.where})" if found.where else ""
    doing = {"load": "loading the model", "predict": "predicting"}.get(found.stage, "it")
    return f"{doing} raised {found.kind or 'something'}: {found.message}{where}"


# --- for people ----------------------------------------------------------------------------------

_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxdict, _short.maxtuple = 4, 12, 12, 12
_short.maxstring = _short.maxlong = _short.maxother = _FIELD_CHARS


def shown(value: Any, most: int = _FIELD_CHARS) -> str:
    """A value in at most so many characters; however large or deep it is, little of it is looked at."""
    return _cut(_short.repr(value), most)


def brief(value: Any, most: int) -> str:
    """A text, or another value shown, in so many characters; further lines are indented, so that none poses as ours."""
    if not isinstance(value, str):
        return shown(value)
    lines = _cut(value, most).splitlines()
    return "\n    ".join([*lines[:_LINES], *(["…"] if len(lines) > _LINES else [])])


def printed(output: str, lines: int = 8) -> str:
    """The last lines of what was printed, as the end of a sentence; nothing where there are none."""
    last: Sequence[str] = output.strip().splitlines()[-lines:]
    return "; it printed:\n" + "\n".join(f"    {_cut(line, _LINE_CHARS)}" for line in last) if last else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
