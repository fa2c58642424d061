import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import weir
from weir.daemon import Daemon

ROOT = Path(__file__).resolve().parents[2]
FAKE = (sys.executable, "-P", "-m", "tests.weir.fake_weir")
DEADLINE_S = 60.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "nodes").mkdir()
    (tmp_path / "catalog.toml").write_text("")
    (tmp_path / "coordinator.toml").write_text("")
    for province in ("anhui", "jiangsu"):
        _node(tmp_path, province)
    return tmp_path


def _node(folder: Path, province: str, *, behave: str = "serve", file: str = "") -> None:
    (folder / "nodes" / f"{file or province}.toml").write_text(f'province = "{province}"\nbehave = "{behave}"\n')


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")  # an orphan may stay as a zombie where nobody reaps it
    try:
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _eventually(holds: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while time.monotonic() < deadline_s:
        if holds():
            return True
        pause.wait(0.02)
    return False


def test_a_federation_serves_and_leaves_nothing_behind(folder: Path) -> None:
    with weir.Federation(folder, program=FAKE) as federation:
        assert list(federation.nodes) == ["anhui", "jiangsu"]
        pids = federation.process_ids
        assert list(pids) == ["coordinator", "node of anhui.toml", "node of jiangsu.toml"]
        with weir.connect(federation.address) as con:
            assert con.sql("SELECT 1", epsilon=0.5).epsilon == 0.5
    assert all(map(_gone, pids.values()))
    assert federation.address == ""
    federation.stop()  # twice is harmless


def test_up_gives_a_connection_that_stops_the_federation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        weir.Federation.__init__, "__kwdefaults__", weir.Federation.__init__.__kwdefaults__ | {"program": FAKE}
    )
    with weir.up(folder) as con:
        assert con.federation is not None
        pids = con.federation.process_ids
        assert con.budget().nodes[0].province == "shanghai"
    assert all(map(_gone, pids.values()))


def test_an_exception_inside_stops_the_daemons_too(folder: Path) -> None:
    federation = weir.Federation(folder, program=FAKE)
    pids: dict[str, int] = {}
    with suppress(KeyboardInterrupt), federation:
        pids.update(federation.process_ids)
        raise KeyboardInterrupt
    assert len(pids) == 3
    assert all(map(_gone, pids.values()))


def test_a_province_can_go_and_come_back_at_its_address(folder: Path) -> None:
    with weir.Federation(folder, program=FAKE) as federation:
        address, pid = federation.nodes["jiangsu"], federation.process_ids["node of jiangsu.toml"]
        federation.stop_node("jiangsu")
        assert _gone(pid)
        assert list(federation.dead()) == ["node of jiangsu.toml"]
        federation.start_node("jiangsu")
        federation.start_node("jiangsu")  # twice is harmless
        assert federation.nodes["jiangsu"] == address
        assert federation.dead() == {}
        with pytest.raises(weir.RequestRefused, match="no province `hunan`"):
            federation.stop_node("hunan")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Process ids of every daemon that is started."""
    pids: list[int] = []
    init = Daemon.__init__

    def noting(self: Daemon, name: str, command: tuple[str, ...]) -> None:
        init(self, name, command)
        pids.append(self.pid)

    monkeypatch.setattr(Daemon, "__init__", noting)
    return pids


def test_a_typed_error_at_start_up_arrives_whole(folder: Path, started: list[int]) -> None:
    _node(folder, "jiangsu", behave="refuse")
    with pytest.raises(weir.DataError, match=r"node of jiangsu\.toml did not start: Column `cost`") as refused:
        weir.Federation(folder, program=FAKE).start()
    assert refused.value.remedy == "Correct the mapping."
    assert len(started) == 2
    assert all(map(_gone, started))


def test_a_crash_at_start_up_shows_the_last_words(folder: Path, started: list[int]) -> None:
    (folder / "coordinator.toml").write_text('behave = "crash"')
    with pytest.raises(weir.UnavailableError, match="coordinator stopped") as failed:
        weir.Federation(folder, program=FAKE).start()
    assert "first words\n    last words" in failed.value.remedy
    assert len(started) == 3
    assert all(map(_gone, started))


def test_a_program_that_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(weir.UnavailableError, match="cannot be started"):
        weir.Federation(folder, program=("/nowhere/weir",)).start()


def test_a_silent_daemon_is_given_up(folder: Path, started: list[int]) -> None:
    _node(folder, "anhui", behave="silent")
    with pytest.raises(weir.UnavailableError, match="did not serve within"):
        weir.Federation(folder, program=FAKE, start_timeout_s=3.0).start()
    assert all(map(_gone, started))


def test_a_daemon_that_does_not_listen_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.federation.STOP_S", 0.5)
    _node(folder, "anhui", behave="deaf")
    with weir.Federation(folder, program=FAKE) as federation:
        pids = federation.process_ids
    assert all(map(_gone, pids.values()))


def test_two_nodes_of_one_province_are_a_configuration_error(folder: Path, started: list[int]) -> None:
    _node(folder, "anhui", file="copy")
    with pytest.raises(weir.ConfigError, match="both name the province `anhui`"):
        weir.Federation(folder, program=FAKE).start()
    assert all(map(_gone, started))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(weir.ConfigError, match="no folder") as missing:
        weir.up(tmp_path / "nowhere")
    assert "weir demo-data" in missing.value.remedy
    (tmp_path / "catalog.toml").write_text("")
    with pytest.raises(weir.ConfigError, match=r"lacks coordinator\.toml and nodes/\*\.toml"):
        weir.up(tmp_path)


PARENT = """
import sys, time, weir
federation = weir.Federation(sys.argv[1], program=tuple(sys.argv[3:]))
federation.start()
print(*federation.process_ids.values(), flush=True)
while sys.argv[2] == "wait":
    time.sleep(0.1)  # not signal.pause, which would miss a signal that came just before it
"""


def _parent(folder: Path, then: str) -> tuple[subprocess.Popen[str], list[int]]:
    command = [sys.executable, "-c", PARENT, str(folder), then, *FAKE]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 3
    return parent, pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_daemons_do_not_outlive_a_killed_parent(folder: Path, number: signal.Signals) -> None:
    parent, pids = _parent(folder, "wait")
    with parent:
        parent.send_signal(number)
        parent.wait(DEADLINE_S)
    assert _eventually(lambda: all(map(_gone, pids)))


def test_daemons_do_not_outlive_a_program_that_forgot_them(folder: Path) -> None:
    parent, pids = _parent(folder, "end")
    with parent:
        assert parent.wait(DEADLINE_S) == 0
    assert all(map(_gone, pids))
