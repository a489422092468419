"""A ``PythonModel`` that MLflow pickled, without MLflow: the few names of its that such a pickle needs stand here."""

import bz2
import gzip
import inspect
import lzma
import pickle
import sys

_OPEN = {"gzip": gzip.open, "bzip2": bz2.open, "lzma": lzma.open}


class PythonModel:
    """The base of the pickled class."""

    def load_context(self, context):
        """Nothing is loaded unless the class says so."""


class PythonModelContext:
    """The paths of artifacts, and the configuration."""

    def __init__(self, artifacts, model_config):
        self.artifacts = artifacts
        self.model_config = model_config


class _TypeHints:
    """Remembered by an instance that MLflow has asked for its type hints."""


_STAND_INS = {
    ("mlflow.pyfunc", "PythonModel"): PythonModel,
    ("mlflow.pyfunc.model", "PythonModel"): PythonModel,
    ("mlflow.pyfunc.model", "PythonModelContext"): PythonModelContext,
    ("mlflow.models.signature", "_TypeHints"): _TypeHints,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module.split(".")[0] == "mlflow":
            if (module, name) not in _STAND_INS:
                raise ModuleNotFoundError(f"the pickle needs {module}.{name}, which only MLflow has", name=module)
            return _STAND_INS[module, name]
        return super().find_class(module, name)


def load(folder, settings):
    """A function that calls the model's ``predict`` as MLflow does."""
    if settings["code"]:
        sys.path.insert(0, str(folder / settings["code"]))
    with _OPEN.get(settings["compression"], open)(folder / settings["file"], "rb") as stream:
        model = _Unpickler(stream).load()
    artifacts = {name: str(folder / path) for name, path in settings["artifacts"].items()}
    context = PythonModelContext(artifacts, settings["config"])
    model.load_context(context)
    parameters = inspect.signature(model.predict).parameters
    more = {"params": None} if "params" in parameters else {}
    given = [name for name in parameters if name not in ("self", "params")]
    if "context" in parameters or len(given) == 2:  # noqa: PLR2004 -- whatever the first is called
        return lambda data: model.predict(context, data, **more)
    return lambda data: model.predict(data, **more)
