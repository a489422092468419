"""An MLflow model folder as a model folder of ours, without importing mlflow and without unpickling anything here.

``folder`` reads what MLflow wrote, ``requirements`` what it needs, ``question`` its input example; ``variants`` says
which variants there can be and writes them; ``importing`` runs them in bounds, compares them and puts them in place.
"""
