"""A scikit-learn model, or one with its interface, that MLflow pickled or saved by skops."""

import pickle
import sys


def load(folder, settings):
    """The method of the model that MLflow would call."""
    if settings["code"]:
        sys.path.insert(0, str(folder / settings["code"]))
    file = folder / settings["file"]
    if settings["format"] == "skops":
        import skops.io

        model = skops.io.load(file, trusted=settings["trusted"])
    else:
        # cloudpickle's files are read by pickle; what they name of cloudpickle's is imported then.
        with file.open("rb") as stream:
            model = pickle.load(stream)  # noqa: S301 -- the model itself; it runs in bounds
    return getattr(model, settings["predict"])
