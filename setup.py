"""Which packages a wheel holds: `workbench` alone, with `app` and `studies` inside it; see pyproject.toml.

In a checkout both lie beside the package, where one edits them. In everybody's site-packages the names would
be those of anybody's `app` and `studies`, so that there they lie in `workbench/shipped`.
"""

from setuptools import find_namespace_packages, setup

CACHES = ["*__pycache__*"]
beside = find_namespace_packages(include=["app*", "studies*"], exclude=CACHES)

setup(
    packages=find_namespace_packages(include=["workbench*"], exclude=CACHES)
    + [f"workbench.shipped.{name}" for name in beside],
    package_dir={f"workbench.shipped.{name}": name.replace(".", "/") for name in beside},
    package_data={"workbench.shipped.app": [".streamlit/config.toml"]},
)
