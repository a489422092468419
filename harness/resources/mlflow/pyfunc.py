"""Any MLflow model, run by MLflow itself."""

import mlflow.pyfunc


def load(folder, settings):
    """The model's ``predict``, with the parameters that it was logged with."""
    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    params = settings["params"]
    return model.predict if params is None else lambda data: model.predict(data, params=params)
