"""Every way of building: a model, a wheel and a build hook that look around while each makes its artifact."""

from __future__ import annotations

from hostile import payloads, programs
from hostile.campaign import Case, Need, package
from hostile.cases.models import LOOKED_AT
from hostile.ground import Ground
from hostile.making import loading, pth, with_wheel
from hostile.payloads import say, say_who_runs

#: The methods that need no engine, and those that do; how long one may take.
ON_THE_HOST = ("venv", "pex", "pyinstaller", "pyinstaller-onefile", "rest-api", "cloud-functions", "conda")
IN_ENGINE = ("container", "lambda-zip", "lambda-image", "sagemaker", "vertex", "azureml")
#: What these add to the model's requirements comes from an index.
_FETCH = {"rest-api", "cloud-functions", "sagemaker", "vertex", "azureml", "lambda-zip", "lambda-image", "conda"}
_TIMEOUT_S = 240.0


def _needs(method: str) -> tuple[Need, ...]:
    engine: tuple[Need, ...] = ("engine",) if method in IN_ENGINE else ()
    root: tuple[Need, ...] = ("root",) if method == "cloud-functions" else ()  # as `doctor` says of it
    return (*root, *engine, "network") if method in _FETCH else (*root, *engine)


def looks_around(where: payloads.Where) -> None:
    """The heart of what others try one by one, for where each try takes long."""
    import socket

    say_who_runs()
    for path in where["secrets"]:
        try:
            with open(path) as file:
                say(f"read {path}: {file.read(60)!r}")
        except OSError:
            pass
    for address in (("127.0.0.1", where["port"]), where["socket"]):
        try:
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as one:
                one.settimeout(2)
                one.connect(address)
            say(f"connected to {address}")
        except OSError:
            pass


def _by_wheel(method: str) -> Case:
    """A wheel whose ``.pth`` runs wherever an interpreter sees it: in the build, if that starts one."""
    return Case(
        name=f"build-{method}-pth",
        kind="build",
        make=with_wheel(lambda place: pth(looks_around, place)),
        commands=(package(method),),
        exits=(0, 1),
        needs=_needs(method),
        timeout_s=_TIMEOUT_S,
        disk_mb=1500,
        memory_mb=600,
    )


def _by_model(method: str, payload: payloads.Payload, *, exits: tuple[int, ...] = (0,)) -> Case:
    """The model itself, as it is rehearsed, asked and started by each method."""
    return Case(
        name=f"build-{method}-{payload.__name__.replace('_', '-')}",
        kind="build",
        make=loading(payload),
        commands=(package(method),),
        exits=exits,
        needs=_needs(method),
        timeout_s=_TIMEOUT_S,
        disk_mb=1500,
        memory_mb=600,
        without_root="told",
    )


# --- PyInstaller ---------------------------------------------------------------------------------

_HOOKS = "[pyinstaller40]\nhook-dirs = hostile_pkg:hooks\n"
_PACKAGE = "import os\ndef hooks():\n    return [os.path.dirname(__file__)]\n"


def _hook(body: str) -> dict[str, str | bytes]:
    return {
        "hostile_pkg/__init__.py": _PACKAGE,
        "hostile_pkg/hook-hostile_pkg.py": body,
        "hostile_pkg-1.0.dist-info/entry_points.txt": _HOOKS,
    }


def _swapping(place: Ground, target: str) -> str:
    """A hook that, when PyInstaller has ended, replaces what it made by a link to the target."""
    return f"""
import atexit, os, shutil
{programs.source(looks_around, place.where)}
def swap():
    dist = os.path.join(os.path.dirname(os.getcwd()), "dist")
    for name in os.listdir(dist):
        path = os.path.join(dist, name)
        os.rename(path, path + ".was")
        os.symlink({target!r}, path)
atexit.register(swap)
"""


def _pyinstaller(name: str, method: str, target: str) -> Case:
    predictor = "import hostile_pkg\n" + programs.GOOD
    return Case(
        name=f"build-{method}-{name}",
        kind="build",
        make=with_wheel(lambda place: _hook(_swapping(place, str(place.where[target]))), predictor=predictor),
        commands=(package(method),),
        exits=(1, 2),
        timeout_s=_TIMEOUT_S,
        disk_mb=600,
    )


CASES = [
    *(_by_wheel(method) for method in (*ON_THE_HOST, *IN_ENGINE)),
    *(_by_model(method, looks_around) for method in (*ON_THE_HOST, *IN_ENGINE)),
    *(_by_model(method, payloads.outlives) for method in ("pex", "pyinstaller", "container")),
    *(_by_model(method, payloads.nests) for method in ("pex", "pyinstaller", "rest-api")),
    *(_by_model(method, payloads.prints_endlessly, exits=(0, 1)) for method in ("pex", "pyinstaller", "container")),
    _pyinstaller("output-a-link-to-secrets", "pyinstaller", "home"),
    _pyinstaller("output-a-link-to-a-key", "pyinstaller-onefile", "secret"),
    Case(
        name="build-pyinstaller-hook-outlives",
        kind="build",
        make=with_wheel(
            lambda place: _hook(programs.source(payloads.outlives, place.where)),
            predictor="import hostile_pkg\n" + programs.GOOD,
        ),
        commands=(package("pyinstaller"),),
        exits=(0, 1),
        timeout_s=90.0,
        disk_mb=600,
    ),
    Case(
        name="build-rehearsal-fills-the-disk",
        kind="build",
        make=loading(payloads.fills_many_files),
        commands=(package("pyinstaller"),),
        exits=(1,),
        says=(r"disk_mb|No space|quota",),
        timeout_s=_TIMEOUT_S,
        disk_mb=150,
        **LOOKED_AT,
    ),
    Case(
        name="build-container-rehearsal-fills-the-disk",
        kind="build",
        make=loading(payloads.fills_many_files),
        commands=(package("container"),),
        exits=(1,),
        says=(r"disk_mb|memory_mb|No space|quota",),
        needs=("engine",),
        timeout_s=_TIMEOUT_S,
        disk_mb=150,
    ),
]
