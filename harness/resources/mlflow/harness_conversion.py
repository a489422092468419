"""Between JSON and what the model takes and gives. Written by 'harness import-mlflow'; the same in every variant."""

import base64
import math


def built(value, form):
    """What the model is given for one input; ``form`` says how it is made."""
    kind = form["kind"]
    if kind == "records":
        return _of_records(value, form)
    if kind == "rows":
        import pandas as pd

        frame = pd.DataFrame(value, columns=form["columns"])
        kinds = dict(zip(range(frame.shape[1]), form["types"], strict=False))
        return _typed(frame, kinds)
    if kind == "array":
        return _array(value, form["dtype"])
    if kind == "arrays":
        return {name: _array(part, form["dtypes"].get(name)) for name, part in value.items()}
    if kind in ("csr", "csc"):
        from scipy import sparse

        made = sparse.csr_matrix if kind == "csr" else sparse.csc_matrix
        parts = (_array(value["data"], form["dtype"]), value["indices"], value["indptr"])
        return made(parts, shape=tuple(value["shape"]))
    return value


def plain(answer):
    """What the model answered, as plain JSON values; a missing number is null, as MLflow's own server writes it."""
    if answer is None or isinstance(answer, (bool, int, str)):
        return answer
    if isinstance(answer, float):
        return None if math.isnan(answer) else float(answer)
    if isinstance(answer, dict):
        return {str(key): plain(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [plain(value) for value in answer]
    if isinstance(answer, (bytes, bytearray)):
        return base64.b64encode(answer).decode()
    if type(answer).__name__ in ("NaTType", "NAType"):
        return None
    if hasattr(answer, "toarray"):  # a sparse matrix
        return plain(answer.toarray())
    if hasattr(answer, "columns") and hasattr(answer, "to_dict"):  # a DataFrame
        return plain(answer.to_dict(orient="records"))
    if hasattr(answer, "tolist"):  # an array, a Series, a number of numpy's
        return plain(answer.tolist())
    if hasattr(answer, "model_dump"):  # of pydantic
        return plain(answer.model_dump())
    if hasattr(answer, "isoformat"):
        return answer.isoformat()
    raise TypeError(f"the model answered a {type(answer).__name__}, which has no form in JSON")


def _of_records(records, form):
    import pandas as pd

    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("an input is a list of records: [{column: value, ...}, ...]")
    lacking = [name for name in form["required"] if any(name not in record for record in records)]
    if lacking:
        raise ValueError(f"records lack the columns {', '.join(lacking)}")
    columns = [name for name in form["columns"] if any(name in record for record in records)]
    frame = pd.DataFrame(records, columns=columns)
    kinds = {place: form["types"].get(name) for place, name in enumerate(columns)}
    return _typed(frame, kinds)


def _typed(frame, kinds):
    """The frame with each column (by place) as the signature says; missing values keep what pandas made of them."""
    parts = {}
    for place, kind in kinds.items():
        column = frame.iloc[:, place]
        if kind is not None:
            parts[place] = _column(column, kind)
    if not parts:
        return frame
    import pandas as pd

    whole = pd.concat([parts.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])], axis=1)
    whole.columns = frame.columns
    return whole


def _column(column, kind):
    import pandas as pd

    if kind == "binary":
        return column.map(lambda text: base64.b64decode(text) if isinstance(text, str) else text)
    if kind == "datetime":
        return pd.to_datetime(column).astype("datetime64[ns]")
    if kind == "string":
        return column
    if kind in ("boolean", "integer", "long") and column.isna().any():
        return column
    dtypes = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
    return column.astype(dtypes[kind])


def _array(value, dtype):
    import numpy as np

    # A tensor of texts is "str" in a signature, whatever their length.
    return np.array(value, dtype=dtype or None)
