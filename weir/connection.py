"""A researcher's connection to a coordinator."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from privacy.catalog import parse_catalog
from privacy.errors import InternalError, MismatchRefused
from privacy.request import LIFETIME_S
from protos.weir.v1 import coordinator_pb2 as messages
from protos.weir.v1.coordinator_pb2_grpc import CoordinatorStub
from weir import wire
from weir.answer import Answer
from weir.asking import PROJECT, new_request
from weir.budget import Budgets
from weir.catalog_view import CatalogView
from weir.channel import open_channel
from weir.explanation import Explanation
from weir.health import await_serving
from weir.rpc_errors import weir_error

if TYPE_CHECKING:
    from privacy.request import Request
    from weir.federation import Federation
    from weir.progress import OnProgress

CONNECT_S = 10.0  # until the coordinator says that it serves
CALL_S = 60.0  # for everything but a query
QUERY_S = float(LIFETIME_S)  # nodes refuse the request afterwards

ReplyT = TypeVar("ReplyT")


def connect(address: str) -> Connection:
    """Connect to the coordinator at `address`, for example `localhost:50050`.

    >>> con = weir.connect("localhost:50050")
    >>> con.sql("SELECT sex, COUNT(*) AS n FROM visits GROUP BY sex", epsilon=0.5).df()

    Raises:
        ConfigError: `address` is not HOST:PORT.
        UnavailableError: no coordinator serves there.
    """
    return Connection(address)


class Connection:
    """Asks one coordinator; a context manager that closes itself.

    Attributes:
        address: of the coordinator.
        federation: the daemons that `weir.up` started for this connection; None for others.
    """

    def __init__(self, address: str, *, federation: Federation | None = None) -> None:
        self.address = address
        self.federation = federation
        self._channel = open_channel(address)
        try:
            await_serving(self._channel, address, timeout_s=CONNECT_S, wait_for_ready=False)
        except BaseException:
            self._channel.close()
            raise
        self._stub = CoordinatorStub(self._channel)

    def sql(
        self,
        sql: str,
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        project: str = PROJECT,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> Answer | Explanation:
        """Ask a question and pay for it; for an EXPLAIN, what `explain` gives, which costs nothing.

        Args:
            sql: one SELECT over the tables of `catalog()`, or EXPLAIN and one.
            epsilon: the most that any one person may lose, over all nodes; smaller is more private and noisier. It may
                stand in the SQL instead, OPTIONS(epsilon = …); of both the smaller holds.
            delta: the probability with which that may fail, by default 1e-9; 0 allows only mechanisms that never fail.
            project: whose budget pays, as the nodes' operators name it.
            on_progress: called with `weir.progress` events while nodes work.
            options: `require_all=True` refuses rather than answers without some province; `max_rows` and
                `max_groups` lower the catalog's limits (less noise, but units above the limit count less);
                `max_standard_error`, a number or one for each of some columns, {"n": 50}, spends no more of ε than that
                accuracy needs, and so does `max_relative_error` of counts of `expected_rows`. Averages and ratios need
                `expected_rows`, in a group, too.

        Raises:
            RequestRefused: ε, an option or the text itself is wrong; nothing was sent.
            QueryRefused: the SQL, with the position and what to write instead.
            BudgetRefused: a node's budget does not cover it; says what is left.
            UnavailableError: no coordinator, or too few nodes; asking the same again charges nobody twice.
        """
        request = new_request(sql, epsilon=epsilon, delta=delta, project=project, **options)
        if request.explains:
            return self._explained(request)
        call = self._stub.Query(_message(request, quiet=on_progress is None), timeout=QUERY_S)
        answer: Answer | None = None
        try:
            for event in call:
                progress = wire.progress_from(event)
                if progress is not None and on_progress is not None:
                    on_progress(progress)
                if event.HasField("answer"):
                    answer = wire.answer_from(event.answer, sql)
        except grpc.RpcError as fault:
            raise weir_error(fault, self.address) from None
        finally:
            call.cancel()  # no effect once it has ended; an interrupted one must not go on
        if answer is None:
            raise InternalError("The coordinator ended without an answer.", remedy="Its log says more.")
        return answer

    def explain(
        self,
        sql: str,
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        project: str = PROJECT,
        **options: Any,
    ) -> Explanation:
        """What `sql` would run, cost and err, free of charge.

        Arguments and errors as those of `sql`; with an ε of 1 where none is named.
        """
        request = new_request(sql, epsilon=epsilon, delta=delta, project=project, explains=True, **options)
        return self._explained(request)

    def catalog(self) -> CatalogView:
        """Tables and columns with their bounds, domains and limits.

        Raises:
            MismatchRefused: this version of weir reads the catalog otherwise than the coordinator.
        """
        reply = self._call(self._stub.GetCatalog, messages.CatalogRequest())
        catalog = parse_catalog(reply.toml, source="the coordinator's catalog")
        if catalog.digest != reply.digest:
            raise MismatchRefused("The catalog does not have the digest that it claims.", remedy="Use equal versions.")
        return CatalogView(catalog, tuple(catalog.tables))

    def budget(self, *, project: str = PROJECT) -> Budgets:
        """What each province has left to spend; for `project` too where it has a budget of its own."""
        return wire.budgets_from(self._call(self._stub.GetBudgets, messages.BudgetsRequest(project=project)))

    def close(self) -> None:
        """Close the connection; stop the federation if `weir.up` started it."""
        self._channel.close()
        if self.federation is not None:
            self.federation.stop()

    def _explained(self, request: Request) -> Explanation:
        return wire.explanation_from(self._call(self._stub.Explain, _message(request)), request.sql)

    def _call(self, method: Callable[..., ReplyT], request: object) -> ReplyT:
        try:
            return method(request, timeout=CALL_S)
        except grpc.RpcError as fault:
            raise weir_error(fault, self.address) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<weir.Connection to {self.address}>"


def _message(request: Request, *, quiet: bool = False) -> messages.QueryRequest:
    return messages.QueryRequest(request=request.encode(), quiet=quiet)
