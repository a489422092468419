"""From a model's short profile to what each way of packaging it would measure, with intervals.

The coefficients come from runs over reference models; every value that comes out is ``modelled``.
"""
