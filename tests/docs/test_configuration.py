"""docs/configuration.md names every key that a file may have, and its examples are valid."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from coordinator import config as coordinator_config
from node import config as node_config
from privacy import catalog
from privacy.catalog import parse_catalog
from privacy.located_toml import parse_toml

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
COORDINATOR = vars(coordinator_config)["_File"]
NODE = vars(node_config)["_NodeFile"]


def _sections() -> dict[str, str]:
    """The text below each `## ` heading."""
    return dict(re.findall(r"^## (\S+)$(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def _models(module: Any) -> list[type[BaseModel]]:
    """The models that `module` defines."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    return [model for model in found if model.__module__ == module.__name__]


@pytest.mark.parametrize(
    ("page", "module"),
    [("catalog.toml", catalog), ("node.toml", node_config), ("coordinator.toml", coordinator_config)],
)
def test_every_key_is_named(page: str, module: Any) -> None:
    text = _sections()[page]
    # The top levels of catalog.toml and node.toml are the headings of tables.
    keys = {key for model in _models(module) for key in model.model_fields} - {
        "region",
        "engine",
        "budget",
        "snapshots",
    }
    shown = {key: (f"`{key}`", f"`[{key}.NAME]`", f".NAME.{key}`") for key in keys}
    missing = {key for key, forms in shown.items() if not any(form in text for form in forms)}
    assert keys
    assert missing == set()


@pytest.mark.parametrize("page", ["catalog.toml", "node.toml", "coordinator.toml"])
def test_examples_are_valid(page: str) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", _sections()[page], re.M | re.S)
    if page == "catalog.toml":
        assert parse_catalog(example, source=page).private_tables
    elif page == "node.toml":
        assert parse_toml(example.replace("…64 hexadecimal digits…", "0" * 64), NODE, source=page)
    else:
        assert parse_toml(example, COORDINATOR, source=page)


def test_defaults_are_those_of_the_code() -> None:
    node = _sections()["node.toml"]
    for key, field in node_config.EngineSettings.model_fields.items():
        if field.default is not None:
            shown = f'"{field.default}"' if isinstance(field.default, str) else f"{field.default:g}"
            shown = str(field.default).lower() if isinstance(field.default, bool) else shown
            assert re.search(rf"^\| `{key}` \| `?{re.escape(shown)}`? \|", node, re.M), key
    coordinator = COORDINATOR.model_fields
    assert f"| `deadline_s` | {coordinator['deadline_s'].default:g} |" in _sections()["coordinator.toml"]
    assert f'| `listen` | `"{coordinator["listen"].default}"` |' in _sections()["coordinator.toml"]
