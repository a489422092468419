"""An ONNX graph, run by ONNX Runtime on the processor."""

import numpy as np
import onnxruntime


def load(folder, settings):
    """A function from a frame, an array or arrays by name to the outputs by name, as MLflow answers them."""
    session = onnxruntime.InferenceSession(str(folder / settings["file"]), providers=["CPUExecutionProvider"])
    inputs = [(one.name, one.type) for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]

    def predict(data):
        framed = hasattr(data, "columns")
        if isinstance(data, dict):
            feeds = dict(data)
        elif framed and len(inputs) > 1:
            feeds = {name: data[name].to_numpy() for name, _ in inputs}
        elif len(inputs) > 1:
            raise ValueError(f"the graph has several inputs: give arrays by name, {[name for name, _ in inputs]}")
        else:
            feeds = {inputs[0][0]: data.to_numpy() if framed else data}
        for name, kind in inputs:
            if kind == "tensor(float)" and name in feeds and feeds[name].dtype == np.float64:
                feeds[name] = feeds[name].astype(np.float32)
        answers = dict(zip(outputs, session.run(outputs, feeds), strict=True))
        if not framed:
            return answers
        columns = {name: np.asarray(answer).reshape(-1).tolist() for name, answer in answers.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    return predict
