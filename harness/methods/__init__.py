"""The packaging methods: one module each, and the table of all of them.

A new method is one new module and one line in ``METHODS``.
"""

from harness.methods import (
    azureml,
    cloud_functions,
    conda,
    container,
    lambda_image,
    lambda_zip,
    pex,
    pex_scie,
    pyinstaller,
    pyinstaller_onefile,
    rest_api,
    sagemaker,
    venv,
    vertex,
)
from harness.methods.contract import Method

#: By family, in the order in which they are shown.
METHODS: dict[str, Method] = {
    module.ID: module
    for module in (
        *(container, venv, conda),
        *(lambda_zip, lambda_image, cloud_functions),
        *(pex, pex_scie, pyinstaller, pyinstaller_onefile),
        *(sagemaker, vertex, azureml),
        rest_api,
    )
}
