"""Save the forest as an MLflow model: save_mlflow.py FOREST REQUIREMENTS TARGET."""

import sys

import joblib
import mlflow

forest, requirements, target = sys.argv[1:]
# Its default format, skops, refuses some scikit-learn models.
mlflow.sklearn.save_model(
    joblib.load(forest),
    target,
    serialization_format="cloudpickle",
    pip_requirements=requirements,
    pyfunc_predict_fn="predict_proba",
)
