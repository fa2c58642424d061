"""A daemon killed at any moment has charged at least what left it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.node.makers import PURPOSE, open_ledger, policy, pure

CHILD = Path(__file__).with_name("crashing_releases.py")
ROOT = Path(__file__).parents[2]
ROUNDS = 12


def _killed(path: Path, name: str, *, after: int) -> list[str]:
    """Releases received from a child that is killed after `after` of them, somewhere within the next ones."""
    command = (
        sys.executable,
        "-c",
        f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path(sys.argv.pop(1), run_name='__main__')",
    )
    child = subprocess.Popen((*command, str(CHILD), str(path), name), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    received = [child.stdout.readline() for _ in range(after)]
    child.kill()
    rest, _ = child.communicate()
    lines = "".join(received) + rest
    return [line for line in lines.splitlines(keepends=True) if line.endswith("\n")]


def test_the_ledger_holds_at_least_what_was_received(tmp_path: Path) -> None:
    path, received = tmp_path / "east.ledger", []
    for number in range(ROUNDS):
        received += [line.strip() for line in _killed(path, f"round{number}", after=number % 6)]
        ledger = open_ledger(path, policy=policy(1e6, delta=0.0))  # the kernel dropped the dead one's lock
        assert ledger.balance().total.epsilon_spent >= 0.5 * len(received)
        for name in received:
            reservation = ledger.reserve(name, charge=pure(0.5), purpose=PURPOSE)
            assert (reservation.fresh, reservation.answer) == (False, name.encode())
        ledger.close()
    assert len(received) > ROUNDS
