"""The daemon as a process: what it prints, how it stops, when it refuses to start."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.node.makers import RESIDENTS, Folder, make_folder

ROOT = Path(__file__).parents[2]
START = "import sys; from pathlib import Path; from node.serve import serve; serve(Path(sys.argv[1]))"


@contextlib.contextmanager
def started(folder: Folder) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (sys.executable, "-c", START, str(folder.config)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_serves_answers_health_and_reflection_and_stops_cleanly(folder: Folder) -> None:
    with started(folder) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert (said["serving"], said["province"]) == ("node", "east")
        with grpc.insecure_channel(said["address"]) as channel:
            for service in ("", "weir.v1.Node"):
                request = health_pb2.HealthCheckRequest(service=service)
                reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=30)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            listed = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked])))
            assert "weir.v1.Node" in {service.name for service in listed.list_services_response.service}
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
        assert (rest, process.returncode) == ("", 0)


def test_a_second_daemon_on_the_ledger_is_refused(folder: Folder) -> None:
    with started(folder) as first, started(folder) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        said = [first.stdout.readline(), second.stdout.readline()]
        assert sorted(bool(line) for line in said) == [False, True]
        loser = (first, second)[said.index("")]
        _, text = loser.communicate(timeout=60)
        assert loser.returncode != 0
        assert "another daemon has east.ledger open" in text


def test_a_taken_port_is_a_config_error(folder: Folder, tmp_path: Path) -> None:
    with started(folder) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        other = make_folder(tmp_path / "other")
        other.edit("127.0.0.1:0", address)
        with started(other) as second:
            _, text = second.communicate(timeout=60)
            assert "cannot be bound" in text


@pytest.mark.parametrize("residents", [f"{RESIDENTS} UNION ALL SELECT 5, true"])
def test_data_that_break_a_promise_are_not_served(tmp_path: Path, residents: str) -> None:
    with started(make_folder(tmp_path / "broken", residents=residents)) as process:
        said, text = process.communicate(timeout=60)
        assert said == ""
        assert process.returncode != 0
        assert "`person_id` of table `residents` does not meet the regional standard" in text
