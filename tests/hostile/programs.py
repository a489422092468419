"""Hostile programs: a payload with what it needs around it, as a script, a predictor, or a part of one."""

from __future__ import annotations

import inspect
import re

from hostile.payloads import Payload, Where

_PREAMBLE = '''
import os, sys
WHERE = {where!r}
FOUND = []

def say(what):
    """Tell that something worked that must not, by every way out that there may be."""
    line = "BROKE" + "-OUT as user %d: %s" % (os.getuid(), what)
    FOUND.append(line)
    for place in ("owner", "anybody"):
        try:
            with open(os.path.join(WHERE[place], "told-%d" % os.getpid()), "a") as file:
                file.write(line + "\\n")
            break
        except OSError:
            pass
    try:
        print(line, file=sys.stderr, flush=True)
    except Exception:
        pass

def say_who_runs():
    """Tell where this runs with rights, outside of any bounds: what no code of a model may do at all."""
    if os.getuid() == 0:
        say("runs as root")
    try:
        with open(os.path.join(WHERE["anybody"], "was-here"), "a") as file:
            file.write("written by user %d, process %s\\n" % (os.getuid(), sys.argv[:3]))
    except OSError:
        pass

'''

GOOD = """
def load(model_dir):
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""


def source(payload: Payload, where: Where) -> str:
    """A program that carries the payload out, and goes on as if nothing had been."""
    return f"{definitions(payload, where)}\n{payload.__name__}(WHERE)\n"


def definitions(payload: Payload, where: Where) -> str:
    """The payload as a function that is not called yet."""
    # Without its annotations: it stands wherever code can stand, alone.
    function = re.sub(r"\(where: [\w.]+\) -> None:", "(where):", inspect.getsource(payload), count=1)
    return f"{_PREAMBLE.format(where=dict(where))}{function}\n"


def at_load(payload: Payload, where: Where) -> str:
    """A predictor that carries it out when it is loaded, fails where something was found, and else answers right."""
    return f"""{definitions(payload, where)}
def load(model_dir):
    os.environ["MODEL_DIR"] = str(model_dir)
    {payload.__name__}(WHERE)
    if FOUND:
        raise RuntimeError("; ".join(FOUND))
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""


def at_predict(payload: Payload, where: Where) -> str:
    """The same, when it is asked."""
    return f"""{definitions(payload, where)}
def load(model_dir):
    return 2

def predict(model, inputs):
    {payload.__name__}(WHERE)
    if FOUND:
        raise RuntimeError("; ".join(FOUND))
    return [model * number for number in inputs]
"""
