"""Child of test_ledger_crash.py: releases until it is killed, and says each answer only after it is settled."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from node.ledger import Ledger

if __name__ == "__main__":
    ledger = Ledger(Path(sys.argv[1]), province="east", epsilon_total=1e6)
    for number in itertools.count():
        name = f"{sys.argv[2]}-{number}"
        ledger.reserve(name, epsilon=0.5)
        ledger.settle(name, name.encode())
        print(name, flush=True)
