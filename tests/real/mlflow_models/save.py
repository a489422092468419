"""Save a model of each kind as MLflow saves it, and what MLflow itself answers: save.py FOLDER REQUIREMENT..."""

import json
import sys
from pathlib import Path

import lightgbm
import mlflow.lightgbm
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER, REQUIREMENTS = Path(sys.argv[1]), sys.argv[2:]
FRAME, TARGET = load_iris(as_frame=True, return_X_y=True)
EXAMPLE = FRAME.iloc[[0, 60, 120]].reset_index(drop=True)
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET)


class Shares(mlflow.pyfunc.PythonModel):
    """Each number's share of its row, times what an artifact says; a column of texts, a missing number."""

    def load_context(self, context):
        """Read the artifact."""
        self.factor = json.loads(Path(context.artifacts["factor"]).read_text())["factor"]

    def predict(self, context, model_input, params=None):  # noqa: ARG002 -- as MLflow calls it
        """A frame, with what was given as a text in it."""
        numbers = model_input[["x", "y"]]
        shares = numbers.div(numbers.sum(axis=1), axis=0) * self.factor
        return shares.assign(name=model_input["name"].str.upper(), whole=model_input["n"] * 2)


def save_sklearn():
    """In MLflow's default format, skops; the classes it doesn't trust by itself are named."""
    mlflow.sklearn.save_model(
        PIPELINE,
        FOLDER / "sklearn",
        input_example=EXAMPLE,
        pip_requirements=REQUIREMENTS,
        pyfunc_predict_fn="predict_proba",
    )


def save_pickled():
    """By cloudpickle, asked with an array."""
    model = LogisticRegression(max_iter=1000).fit(FRAME.to_numpy(), TARGET)
    mlflow.sklearn.save_model(
        model,
        FOLDER / "pickled",
        input_example=EXAMPLE.to_numpy(),
        pip_requirements=REQUIREMENTS,
        serialization_format="cloudpickle",
    )


def save_python_model():
    """A class of this script's, so that it is pickled by value, with an artifact."""
    factor = FOLDER / "factor.json"
    factor.write_text('{"factor": 2.5}')
    # The fewest, since it is the one that is packaged afterwards.
    needed = [text for text in REQUIREMENTS if text.split("==")[0] in {"mlflow", "cloudpickle", "numpy", "pandas"}]
    frame = {"x": [1.0, 2.0, None], "y": [3.0, 0.5, 1.0], "name": ["a", "b", "c"], "n": [1, 2, 3]}
    mlflow.pyfunc.save_model(
        FOLDER / "python_model",
        python_model=Shares(),
        artifacts={"factor": str(factor)},
        input_example=pd.DataFrame(frame),
        pip_requirements=needed,
    )


def save_lightgbm():
    """A booster of three classes."""
    data = lightgbm.Dataset(FRAME.rename(columns=lambda name: name.split(" (")[0].replace(" ", "_")), TARGET)
    model = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}, data, 10)
    example = EXAMPLE.rename(columns=lambda name: name.split(" (")[0].replace(" ", "_"))
    mlflow.lightgbm.save_model(model, FOLDER / "lightgbm", input_example=example, pip_requirements=REQUIREMENTS)


def save_onnx():
    """A linear layer, written by hand."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.arange(12, dtype=np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["p"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 3])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    example = EXAMPLE.to_numpy(dtype=np.float32)
    mlflow.onnx.save_model(model, FOLDER / "onnx", input_example=example, pip_requirements=REQUIREMENTS)


def answered(name):
    """What MLflow answers to the example that it kept, as JSON has it."""
    model = mlflow.pyfunc.load_model(str(FOLDER / name))
    answer = model.predict(model.input_example)
    if isinstance(answer, pd.DataFrame):
        return json.loads(answer.to_json(orient="records", double_precision=15))
    if isinstance(answer, dict):
        return {key: value.tolist() for key, value in answer.items()}
    return answer.tolist()


KINDS = {
    "sklearn": save_sklearn,
    "pickled": save_pickled,
    "python_model": save_python_model,
    "lightgbm": save_lightgbm,
    "onnx": save_onnx,
}
for save in KINDS.values():
    save()
(FOLDER / "answers.json").write_text(json.dumps({name: answered(name) for name in KINDS}))
