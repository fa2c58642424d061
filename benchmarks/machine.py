"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("duckdb", "grpcio", "opendp", "pyarrow", "sqlglot")


def described() -> dict[str, object]:
    """Processor, cores, memory and the versions of what does the work."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core, averaged over the last minute."""
    return os.getloadavg()[0]


def resident_bytes(process_ids: list[int]) -> int:
    """Memory of the processes together; pages that they share count for each."""
    return sum(_resident_bytes(number) for number in process_ids)


def processor_s(process_ids: list[int]) -> float:
    """Processor time that the processes have used so far, all their threads together."""
    return sum(time.clock_gettime(_clock_of(number)) for number in process_ids)


def _clock_of(process_id: int) -> int:
    """The clock of clock_getcpuclockid(3), which Python has for threads only: complement, and CPUCLOCK_SCHED."""
    return ~process_id << 3 | 2


def _resident_bytes(process_id: int) -> int:
    try:
        fields = Path(f"/proc/{process_id}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
