"""``rest-api``: the model behind FastAPI and uvicorn, with OpenAPI and a form page, in a virtual environment.

The wrapper is :mod:`harness.resources.rest_api`; it is the same runner inside, spoken to over HTTP.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness import paths, tools, tree
from harness.methods import hosted, layout, placement, platform_server, variants
from harness.methods.contract import Artifact, BuildOptions, Installed, Layers, Limit, Limits, Mends, Sizes
from harness.methods.serving import REST, Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "rest-api"
FAMILY = "api"
LAYERS = Layers(environment="virtual environment", interface="HTTP API, form page", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
#: The newest for each Python: a model may run under an older one than these are made for now.
REQUIREMENTS: tuple[str, ...] = (
    "fastapi==0.165.0; python_version >= '3.11'",
    "fastapi==0.162.5; python_version == '3.10'",
    "fastapi==0.128.8; python_version < '3.10'",
    *platform_server.UVICORN,
)
REQUIRES = frozenset({"python"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset()

_WRAPPER = paths.PACKAGE / "resources" / "rest_api" / "harness_rest"

#: As with every artifact that lies on the target.
check, present, remove = hosted.check, hosted.present, hosted.remove


def prepare(model: Model) -> None:
    """Nothing is needed besides uv, which comes with the harness."""


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """A folder ``rest-api/``: a virtual environment with FastAPI, uvicorn, the wrapper and the model."""
    variants.require(ID, options, locked.model)
    folder = layout.fresh_folder(workdir, "rest-api")
    layout.install_packages(locked, folder, options)
    packages = environments.site_packages(folder, locked.lock.python)
    layout.write_sources(locked, packages, bytecode=options.bytecode, weights=options.weights)
    placement.kept_apart(locked, options, workdir)
    for package in (_WRAPPER, platform_server.BOUNDS):
        tree.copy(package, packages / package.name, keep=lambda relative: "__pycache__" not in relative.parts)
    layout.write_examples(locked, packages / _WRAPPER.name)
    for package in (_WRAPPER, platform_server.BOUNDS):
        layout.compile_bytecode(packages / package.name, python=locked.lock.python, bytecode=options.bytecode)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.digest(folder),
        path=folder,
        python=locked.lock.python.path,
        facts={
            "uv": tools.uv_version(),
            "interpreter": locked.lock.python.version,
            **{name: version for name, version in locked.lock.packages if name in {"fastapi", "uvicorn"}},
            **placement.facts(locked, options),
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the tar.gz. Unpacked: the environment, without the interpreter that the target has."""
    return hosted.folder_sizes(artifact)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the archive and unpack it on the target."""
    return hosted.install_archive(artifact, target, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``bin/python -m harness_rest --socket PATH``, in bounds."""
    python = str(installed.root) + "/bin/python"
    return hosted.serving(
        installed, limits, lambda socket: [python, "-m", "harness_rest", "--socket", str(socket)], http=REST
    )
