"""From a failed call to weir's own errors: nobody who asks a question should read a gRPC traceback."""

from __future__ import annotations

import grpc

from privacy.errors import ERROR_KEY, InternalError, UnavailableError, WeirError

_UNAVAILABLE = {
    grpc.StatusCode.UNAVAILABLE: (
        "Nothing answers at {address}.",
        "Check the address, and that the coordinator runs (`weir up DIR`, or `weir coordinator serve`).",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        "No answer from {address} in time.",
        "Try again; ask the regional steward if it stays so.",
    ),
    grpc.StatusCode.CANCELLED: ("The call to {address} was cancelled.", "Ask again."),
    grpc.StatusCode.UNIMPLEMENTED: (
        "What answers at {address} is no weir coordinator of this version.",
        "Check the address: nodes and coordinators have different ports.",
    ),
}


def weir_error(fault: grpc.RpcError, address: str) -> WeirError:
    """The typed error that the daemon sent; else one that says what happened to the call."""
    assert isinstance(fault, grpc.Call)
    for key, value in fault.trailing_metadata() or ():
        if key == ERROR_KEY:
            return _decoded(value)
    code = fault.code()
    if code in _UNAVAILABLE:
        message, remedy = _UNAVAILABLE[code]
        return UnavailableError(message.format(address=address), remedy=remedy)
    return InternalError(f"The call to {address} failed ({code.name}).", remedy="The daemon's log says more.")


def _decoded(value: str | bytes) -> WeirError:
    try:
        return WeirError.from_json(value.decode() if isinstance(value, bytes) else value)
    except (ValueError, KeyError, TypeError):
        return InternalError("The daemon sent an error that this version cannot read.", remedy="Use equal versions.")
