from io import StringIO

from rich.console import Console
from rich.progress import Progress

from weir.budget import Missing
from weir.cli.progress import ProvinceLines
from weir.progress import NodeDone, Started


def test_each_province_has_one_line() -> None:
    lines = Progress(console=Console(file=StringIO()))
    hear = ProvinceLines(lines)
    hear(Missing("anhui", "is down [since today]"))
    hear(Started(("shanghai", "jiangsu")))
    hear(NodeDone("jiangsu", 0.123))
    assert [(task.description, task.finished) for task in lines.tasks] == [
        ("[red]anhui missing: is down \\[since today]", True),
        ("shanghai", False),
        ("jiangsu answered in 0.12 s", True),
    ]
