from protos.weir.v1 import fragment_pb2 as _fragment_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("province", "catalog_digest", "planner_version", "public_key")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    CATALOG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PLANNER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    province: str
    catalog_digest: str
    planner_version: int
    public_key: str
    def __init__(self, province: _Optional[str] = ..., catalog_digest: _Optional[str] = ..., planner_version: _Optional[int] = ..., public_key: _Optional[str] = ...) -> None: ...

class FragmentRequest(_message.Message):
    __slots__ = ("request", "fragment", "catalog_digest", "block")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    CATALOG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    fragment: _fragment_pb2.Fragment
    catalog_digest: str
    block: str
    def __init__(self, request: _Optional[bytes] = ..., fragment: _Optional[_Union[_fragment_pb2.Fragment, _Mapping]] = ..., catalog_digest: _Optional[str] = ..., block: _Optional[str] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("engine_sql", "engine", "budget", "already_released", "stored")
    ENGINE_SQL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RELEASED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    engine_sql: str
    engine: str
    budget: Budget
    already_released: bool
    stored: ReleaseReply
    def __init__(self, engine_sql: _Optional[str] = ..., engine: _Optional[str] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., already_released: _Optional[bool] = ..., stored: _Optional[_Union[ReleaseReply, _Mapping]] = ...) -> None: ...

class ReleaseReply(_message.Message):
    __slots__ = ("release", "epsilon_charged", "already_released", "snapshot", "budget")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_CHARGED_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RELEASED_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    release: bytes
    epsilon_charged: float
    already_released: bool
    snapshot: str
    budget: Budget
    def __init__(self, release: _Optional[bytes] = ..., epsilon_charged: _Optional[float] = ..., already_released: _Optional[bool] = ..., snapshot: _Optional[str] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ...) -> None: ...

class BudgetRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("province", "epsilon_total", "epsilon_spent", "epsilon_left", "epsilon_per_query", "delta_total", "delta_spent", "rho_spent", "frozen", "shares")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EPSILON_SPENT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_LEFT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_PER_QUERY_FIELD_NUMBER: _ClassVar[int]
    DELTA_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DELTA_SPENT_FIELD_NUMBER: _ClassVar[int]
    RHO_SPENT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    province: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    epsilon_per_query: float
    delta_total: float
    delta_spent: float
    rho_spent: float
    frozen: bool
    shares: _containers.RepeatedCompositeFieldContainer[BudgetShare]
    def __init__(self, province: _Optional[str] = ..., epsilon_total: _Optional[float] = ..., epsilon_spent: _Optional[float] = ..., epsilon_left: _Optional[float] = ..., epsilon_per_query: _Optional[float] = ..., delta_total: _Optional[float] = ..., delta_spent: _Optional[float] = ..., rho_spent: _Optional[float] = ..., frozen: _Optional[bool] = ..., shares: _Optional[_Iterable[_Union[BudgetShare, _Mapping]]] = ...) -> None: ...

class BudgetShare(_message.Message):
    __slots__ = ("kind", "name", "epsilon_total", "epsilon_spent", "epsilon_left", "end")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EPSILON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EPSILON_SPENT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_LEFT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    end: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., epsilon_total: _Optional[float] = ..., epsilon_spent: _Optional[float] = ..., epsilon_left: _Optional[float] = ..., end: _Optional[str] = ...) -> None: ...
