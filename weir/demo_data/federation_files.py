"""The TOML files that make a folder of Parquet files a federation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from weir.demo_data.totals import PROVINCES

COORDINATOR_PORT = 50060  # for daemons started by hand; `weir up` lets the kernel choose

# Each province calls its columns by its own names; the node's TOML maps them onto the standard.
LOCAL_NAMES: Mapping[str, Mapping[str, str]] = {
    "shanghai": {},
    "jiangsu": {"kind": "visit_type", "cost": "total_fee", "insurance_paid": "fund_pay"},
    "zhejiang": {"kind": "jslb", "cost": "zfy", "insurance_paid": "jjzf", "settle_days": "jsts"},
    "anhui": {"hospital": "hosp_code", "visit_date": "settle_for", "kind": "category"},
}


def write_federation_files(folder: Path, *, large: bool = False) -> None:
    """Write `catalog.toml`, `coordinator.toml` and `nodes/*.toml` into `folder`.

    Args:
        large: what the nodes are told of their tables; then they prepare snapshots, too.
    """
    (folder / "nodes").mkdir(exist_ok=True)
    for number, province in enumerate(PROVINCES, start=1):
        text = _node_toml(province, port=COORDINATOR_PORT + number, large=large)
        (folder / "nodes" / f"{province}.toml").write_text(text, encoding="utf-8")
    (folder / "coordinator.toml").write_text(_coordinator_toml(), encoding="utf-8")
    (folder / "catalog.toml").write_text(catalog_text(), encoding="utf-8")


def catalog_text() -> str:
    """The regional standard of the generated federation."""
    return resources.files("weir.demo_data").joinpath("catalog.toml").read_text(encoding="utf-8")


def _coordinator_toml() -> str:
    nodes = "\n".join(f'{name} = "127.0.0.1:{COORDINATOR_PORT + n}"' for n, name in enumerate(PROVINCES, start=1))
    return f"""catalog = "catalog.toml"
listen = "127.0.0.1:{COORDINATOR_PORT}"
deadline_s = 300

[nodes]
{nodes}
"""


def _node_toml(province: str, *, port: int, large: bool) -> str:
    names = ", ".join(f'{standard} = "{local}"' for standard, local in LOCAL_NAMES[province].items())
    columns = f"columns = {{ {names} }}  # standard name = local name\n" if names else ""
    snapshots = _SNAPSHOTS.format(province=province) if large else ""
    return f"""province = "{province}"
catalog = "../catalog.toml"
listen = "127.0.0.1:{port}"
ledger = "../state/{province}.ledger"

[engine]
memory_limit = "4GB"
temp_directory = "../state/{province}.tmp"
large_tables = {str(large).lower()}

[budget]
epsilon_total = 20.0
epsilon_per_query = 2.0
{snapshots}
[tables.residents]
files = ["../data/{province}/residents-*.parquet"]

[tables.visits]
files = ["../data/{province}/visits-*.parquet"]
{columns}
[tables.firms]
files = ["../data/{province}/firms-*.parquet"]
"""


_SNAPSHOTS = """
[snapshots]
folder = "../state/{province}.snapshots"

[snapshots.sums.visits]
keys = [["kind"], ["hospital"], ["DATE_TRUNC('month', visit_date)", "kind"]]
"""
