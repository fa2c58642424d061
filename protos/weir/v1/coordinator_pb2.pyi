from protos.weir.v1 import fragment_pb2 as _fragment_pb2
from protos.weir.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CatalogRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CatalogReply(_message.Message):
    __slots__ = ("toml", "digest")
    TOML_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    toml: str
    digest: str
    def __init__(self, toml: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("request", "quiet")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    QUIET_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    quiet: bool
    def __init__(self, request: _Optional[bytes] = ..., quiet: _Optional[bool] = ...) -> None: ...

class QueryEvent(_message.Message):
    __slots__ = ("started", "node_done", "node_missing", "answer")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    NODE_DONE_FIELD_NUMBER: _ClassVar[int]
    NODE_MISSING_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    started: Started
    node_done: NodeDone
    node_missing: NodeMissing
    answer: Answer
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., node_done: _Optional[_Union[NodeDone, _Mapping]] = ..., node_missing: _Optional[_Union[NodeMissing, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("provinces",)
    PROVINCES_FIELD_NUMBER: _ClassVar[int]
    provinces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, provinces: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeDone(_message.Message):
    __slots__ = ("province", "seconds")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    province: str
    seconds: float
    def __init__(self, province: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class NodeMissing(_message.Message):
    __slots__ = ("province", "reason")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    province: str
    reason: str
    def __init__(self, province: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("rows", "standard_errors", "charges", "missing", "epsilon", "span", "notes", "delta", "epsilon_per_node", "low", "high")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    EPSILON_PER_NODE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    rows: bytes
    standard_errors: bytes
    charges: _containers.RepeatedCompositeFieldContainer[Charge]
    missing: _containers.RepeatedCompositeFieldContainer[NodeMissing]
    epsilon: float
    span: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    delta: float
    epsilon_per_node: float
    low: bytes
    high: bytes
    def __init__(self, rows: _Optional[bytes] = ..., standard_errors: _Optional[bytes] = ..., charges: _Optional[_Iterable[_Union[Charge, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[NodeMissing, _Mapping]]] = ..., epsilon: _Optional[float] = ..., span: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ..., delta: _Optional[float] = ..., epsilon_per_node: _Optional[float] = ..., low: _Optional[bytes] = ..., high: _Optional[bytes] = ...) -> None: ...

class Charge(_message.Message):
    __slots__ = ("province", "epsilon_charged", "already_released", "snapshot", "budget")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_CHARGED_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RELEASED_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    province: str
    epsilon_charged: float
    already_released: bool
    snapshot: str
    budget: _node_pb2.Budget
    def __init__(self, province: _Optional[str] = ..., epsilon_charged: _Optional[float] = ..., already_released: _Optional[bool] = ..., snapshot: _Optional[str] = ..., budget: _Optional[_Union[_node_pb2.Budget, _Mapping]] = ...) -> None: ...

class ExplainReply(_message.Message):
    __slots__ = ("nodes", "rest_sql", "epsilon", "span", "notes", "missing", "delta", "epsilon_per_node")
    NODES_FIELD_NUMBER: _ClassVar[int]
    REST_SQL_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    EPSILON_PER_NODE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodePlan]
    rest_sql: str
    epsilon: float
    span: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    missing: _containers.RepeatedCompositeFieldContainer[NodeMissing]
    delta: float
    epsilon_per_node: float
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodePlan, _Mapping]]] = ..., rest_sql: _Optional[str] = ..., epsilon: _Optional[float] = ..., span: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ..., missing: _Optional[_Iterable[_Union[NodeMissing, _Mapping]]] = ..., delta: _Optional[float] = ..., epsilon_per_node: _Optional[float] = ...) -> None: ...

class NodePlan(_message.Message):
    __slots__ = ("fragment", "prepared", "block")
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    fragment: _fragment_pb2.Fragment
    prepared: _node_pb2.PrepareReply
    block: str
    def __init__(self, fragment: _Optional[_Union[_fragment_pb2.Fragment, _Mapping]] = ..., prepared: _Optional[_Union[_node_pb2.PrepareReply, _Mapping]] = ..., block: _Optional[str] = ...) -> None: ...

class BudgetsRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class BudgetsReply(_message.Message):
    __slots__ = ("budgets", "missing")
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[_node_pb2.Budget]
    missing: _containers.RepeatedCompositeFieldContainer[NodeMissing]
    def __init__(self, budgets: _Optional[_Iterable[_Union[_node_pb2.Budget, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[NodeMissing, _Mapping]]] = ...) -> None: ...
