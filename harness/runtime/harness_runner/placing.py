"""Weights that are not in the artifact: found in a folder, or fetched from a socket, and put where load() looks.

Only artifacts that were built so have this file, and only then is it imported. ``HARNESS_WEIGHTS`` names the folder
or the socket, ``HARNESS_SCRATCH`` a folder that may be written to. What is fetched is held against the sizes and
digests that the artifact carries.
"""

import os
from pathlib import Path

from harness_runner.packaged import FILES, WEIGHTS

CHUNK_BYTES = 2**20


class WeightsError(Exception):
    """What was fetched is not what the artifact was built with."""


def placed(model_dir):
    """A folder in which the model is whole: links to its code and to its weights."""
    source, scratch = os.environ["HARNESS_WEIGHTS"], os.environ["HARNESS_SCRATCH"]
    weights = source if os.path.isdir(source) else fetched(source, os.path.join(scratch, "fetched"))
    whole = os.path.join(scratch, "model")
    join(str(model_dir), weights, whole, "")
    return Path(whole)


def fetched(address, folder):
    """``folder`` with every file of the weights, fetched from the socket at ``address`` one after the other."""
    import hashlib
    import json
    import socket

    from harness_runner import model

    near = model.address(address)
    for name, (digest, size) in FILES.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        total = hashlib.sha256()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, open(path, "wb") as file:
            connection.connect(near)
            connection.sendall(json.dumps(name).encode() + b"\n")
            while chunk := connection.recv(CHUNK_BYTES):
                total.update(chunk)
                file.write(chunk)
            found = file.tell()
        if (total.hexdigest(), found) != (digest, size):
            raise WeightsError(f"{name} was fetched with {found} bytes of {size}, or others than it was packaged with")
    return folder


def join(model_dir, weights, whole, below):
    """Make ``whole/below``: a link to each file or folder there, and folders where code and weights meet."""
    os.mkdir(os.path.join(whole, below))
    inner = os.path.join(model_dir, below)
    names = set(os.listdir(inner)) if os.path.isdir(inner) else set()
    names |= {place[len(below) :].split("/")[0] for place in WEIGHTS if place.startswith(below)}
    for name in sorted(names):
        place = below + name
        if place in WEIGHTS:
            os.symlink(os.path.join(weights, place), os.path.join(whole, place))
        elif any(other.startswith(place + "/") for other in WEIGHTS):
            join(model_dir, weights, whole, place + "/")
        else:
            os.symlink(os.path.join(model_dir, place), os.path.join(whole, place))
