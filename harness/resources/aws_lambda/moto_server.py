"""moto's server, with the functions that it runs kept in bounds: run by the Python of moto's own environment.

moto unzips what was deployed and runs it in an image, without any bounds, on the default network, after pulling a
helper image. Here the container gets the bounds that every container of the harness has, nothing is pulled, and
the code is unzipped into moto's own folder, which goes when it goes. A function names the image it runs in, its
container and its count of processes in its environment: HARNESS_IMAGE, HARNESS_CONTAINER, HARNESS_PROCESSES.
"""

import io
import os
import sys
import tempfile
import zipfile

from docker.models.containers import ContainerCollection
from moto.awslambda import models
from moto.server import main
from moto.utilities.docker_utilities import DockerModel

INVOKE_ONCE = os.environ.get("HARNESS_INVOKE_ONCE", "")


class Unzipped:
    """In the place of the volume that moto keeps a function's code (or layers) in: a folder to be shown."""

    def __init__(self, function):
        self._function = function

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="function-")
        self.name = self._folder.name
        os.chmod(self.name, 0o755)
        self.fill()
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def fill(self):
        """Unzip the code; files are readable by all, as on Lambda."""
        with zipfile.ZipFile(io.BytesIO(self._function.code_bytes)) as archive:
            archive.extractall(self.name)
        for parent, folders, files in os.walk(self.name):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o755)
            for name in files:
                os.chmod(os.path.join(parent, name), 0o644)


class NoLayers(Unzipped):
    """The harness deploys no layers."""

    def fill(self):
        """Nothing."""


run_unbounded = ContainerCollection.run


def run_in_bounds(self, image, command=None, **settings):
    """What moto starts, bounded; only what the bounds leave open is taken from moto."""
    environment = settings["environment"]
    shown = {place: {**how, "mode": "ro"} for place, how in settings["volumes"].items()}
    hidden = ("HARNESS_IMAGE", "HARNESS_CONTAINER", "HARNESS_PROCESSES", "MOTO_HOST", "MOTO_PORT", "MOTO_HTTP_ENDPOINT")
    return run_unbounded(
        self,
        environment["HARNESS_IMAGE"],
        command,
        name=environment["HARNESS_CONTAINER"],
        entrypoint=["python3", INVOKE_ONCE],
        environment={**{k: v for k, v in environment.items() if k not in hidden}, "HOME": "/tmp"},  # noqa: S108 -- inside
        volumes=shown,
        mem_limit=settings["mem_limit"],
        memswap_limit=settings["mem_limit"],
        pids_limit=int(environment["HARNESS_PROCESSES"]),
        network_mode="none",
        read_only=True,
        tmpfs={"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=268435456"},  # noqa: S108 -- inside
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        ipc_mode="private",
        user="65532:65532",
        labels={"ml-packaging-harness": "1"},
        log_config=settings["log_config"],
        detach=True,
        remove=False,
    )


models._DockerDataVolumeContext = Unzipped  # noqa: SLF001 -- moto offers no other way
models._DockerDataVolumeLayerContext = NoLayers  # noqa: SLF001
ContainerCollection.run = run_in_bounds
DockerModel.ensure_image_exists = lambda *_: None

if __name__ == "__main__":
    main(sys.argv[1:])
