"""coordinator.toml: overrides, and faults that name the key and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator import config
from coordinator.config import load_config
from privacy.errors import ConfigError

CATALOG = Path("tests/federation/corpus_catalog.toml").resolve()
HEAD = f'catalog = "{CATALOG}"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "coordinator.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_as_documented(tmp_path: Path) -> None:
    text = HEAD + 'listen = "127.0.0.1:7000"\ndeadline_s = 5\n[nodes]\nanhui = "[::1]:1"\nshanghai = "localhost:2"\n'
    config = load_config(written(tmp_path, text))
    assert config.nodes == {"shanghai": "localhost:2", "anhui": "[::1]:1"}
    assert list(config.nodes) == ["shanghai", "anhui"]  # the catalog's order
    assert (config.listen, config.deadline_s) == ("127.0.0.1:7000", 5)
    assert config.catalog_toml == CATALOG.read_text(encoding="utf-8")
    assert config.catalog.region.provinces[0] == "shanghai"


def test_lines_are_looked_for_only_where_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # To find a line reads the file up to each line: for 500 nodes that took minutes.
    monkeypatch.setattr(config, "line_of", lambda *_: pytest.fail("there is no fault"))
    text = HEAD + 'listen = "127.0.0.1:7000"\n[nodes]\nanhui = "127.0.0.1:1"\nshanghai = "127.0.0.1:2"\n'
    assert len(load_config(written(tmp_path, text)).nodes) == 2


def test_the_catalog_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "catalog.toml").write_text(CATALOG.read_text(encoding="utf-8"), encoding="utf-8")
    config = load_config(written(tmp_path, 'catalog = "catalog.toml"\n[nodes]\nanhui = "127.0.0.1:1"\n'))
    assert (config.listen, config.deadline_s) == ("127.0.0.1:0", 60)


def test_arguments_override_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + '[nodes]\nanhui = "127.0.0.1:0"\n')
    overrides = {"anhui": "127.0.0.1:5", "jiangsu": "127.0.0.1:6"}
    config = load_config(path, listen="127.0.0.1:9", nodes=overrides)
    assert config.listen == "127.0.0.1:9"
    assert config.nodes == {"jiangsu": "127.0.0.1:6", "anhui": "127.0.0.1:5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[nodes]\nanhui = "127.0.0.1:1"\nbeijing = "127.0.0.1:2"\n',
            "line 4: `nodes.beijing`: 'beijing' is no province",
        ),
        ('[nodes]\nanhui = "10.0.0.1:1"\n', "line 3: `nodes.anhui`: '10.0.0.1:1' is not a loopback address"),
        ('[nodes]\nanhui = "example.org:1"\n', "line 3: `nodes.anhui`: 'example.org:1' is not a loopback"),
        ('[nodes]\nanhui = "127.0.0.1"\n', "line 3: `nodes.anhui`: '127.0.0.1' is no HOST:PORT"),
        ('[nodes]\nanhui = "127.0.0.1:0"\n', "line 3: `nodes.anhui`: '127.0.0.1:0' is no HOST:PORT"),
        ('listen = "0.0.0.0:1"\n[nodes]\nanhui = "127.0.0.1:1"\n', "line 2: `listen`: '0.0.0.0:1' is not a loopback"),
        ('listen = "127.0.0.1:70000"\n[nodes]\nanhui = "127.0.0.1:1"\n', "line 2: `listen`: .* is no HOST:PORT"),
        ("deadline_s = 0\n", "line 2: `deadline_s`"),
        ("timeout = 3\n", "line 2: `timeout`"),
        ("[nodes]\nanhui = 3\n", "line 3: `nodes.anhui`"),
        ("[nodes\n", "not valid TOML"),
        ("", "no node is configured"),
    ],
)
def test_faults_name_the_key_and_the_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, HEAD + text))


@pytest.mark.parametrize(
    ("listen", "nodes", "message"),
    [
        ("10.0.0.1:1", {}, "--listen"),
        (None, {"beijing": "127.0.0.1:1"}, "--node: 'beijing' is no province"),
        (None, {"anhui": "10.0.0.1:1"}, "--node: '10.0.0.1:1' is not a loopback"),
    ],
)
def test_faults_of_arguments_name_the_argument(
    listen: str | None, nodes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, HEAD + '[nodes]\nanhui = "127.0.0.1:1"\n'), listen=listen, nodes=nodes)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"coordinator\.toml cannot be read"):
        load_config(tmp_path / "coordinator.toml")
    with pytest.raises(ConfigError, match=r"no-catalog\.toml cannot be read"):
        load_config(written(tmp_path, 'catalog = "no-catalog.toml"\n'))
