"""Reads the compose file as Docker does: merge keys expanded, variables filled in."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:-|:\?)([^}]*))?\}|\$(\w+)")


class MissingVariable(Exception):
    """A variable without a default is not set."""


def example_environment() -> dict[str, str]:
    """Names and values of deploy/env.example."""
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def variables(text: str) -> set[str]:
    """Names of the variables that a compose file asks for."""
    return {found.group(1) or found.group(4) for found in _VARIABLE.finditer(text)} - {None}


def fill(text: str, environment: dict[str, str]) -> str:
    """`text` with its variables filled in; raises MissingVariable."""

    def value(found: re.Match[str]) -> str:
        if found.group(0) == "$$":
            return "$"
        name = found.group(1) or found.group(4)
        if environment.get(name):
            return environment[name]
        if found.group(2) == ":-":
            return found.group(3)
        raise MissingVariable(name)

    return _VARIABLE.sub(value, text)


def load(name: str = "compose.yaml", environment: dict[str, str] | None = None) -> dict[str, Any]:
    """A compose file with the example's variables filled in, or with those given."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    # Comments are prose; what stands in them is not a variable.
    bare = "\n".join(re.sub(r"(^|\s)#.*$", "", line) for line in text.splitlines())
    loaded: dict[str, Any] = yaml.safe_load(fill(bare, example_environment() if environment is None else environment))
    return loaded


def manage() -> ModuleType:
    """deploy/manage.py as a module: it is a script that stands alone."""
    name = "deploy_manage"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, DEPLOY / "manage.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
