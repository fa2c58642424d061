"""Child of test_ledger_crash.py: releases until it is killed, and says each answer only after it is settled."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from privacy.accounting import Charge
from tests.node.makers import PURPOSE, open_ledger, policy

if __name__ == "__main__":
    ledger = open_ledger(Path(sys.argv[1]), policy=policy(1e6, delta=0.0))
    for number in itertools.count():
        name = f"{sys.argv[2]}-{number}"
        ledger.reserve(name, charge=Charge(epsilon=0.5), purpose=PURPOSE)
        ledger.settle(name, name.encode())
        print(name, flush=True)
