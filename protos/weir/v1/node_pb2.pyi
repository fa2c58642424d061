from protos.weir.v1 import fragment_pb2 as _fragment_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("province", "catalog_digest", "planner_version")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    CATALOG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PLANNER_VERSION_FIELD_NUMBER: _ClassVar[int]
    province: str
    catalog_digest: str
    planner_version: int
    def __init__(self, province: _Optional[str] = ..., catalog_digest: _Optional[str] = ..., planner_version: _Optional[int] = ...) -> None: ...

class FragmentRequest(_message.Message):
    __slots__ = ("request", "fragment", "catalog_digest")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    CATALOG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    fragment: _fragment_pb2.Fragment
    catalog_digest: str
    def __init__(self, request: _Optional[bytes] = ..., fragment: _Optional[_Union[_fragment_pb2.Fragment, _Mapping]] = ..., catalog_digest: _Optional[str] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("engine_sql", "engine", "budget", "already_released")
    ENGINE_SQL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RELEASED_FIELD_NUMBER: _ClassVar[int]
    engine_sql: str
    engine: str
    budget: Budget
    already_released: bool
    def __init__(self, engine_sql: _Optional[str] = ..., engine: _Optional[str] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., already_released: _Optional[bool] = ...) -> None: ...

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
    __slots__ = ()
    def __init__(self) -> None: ...

class Budget(_message.Message):
    __slots__ = ("province", "epsilon_total", "epsilon_spent", "epsilon_left", "epsilon_per_query")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EPSILON_SPENT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_LEFT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_PER_QUERY_FIELD_NUMBER: _ClassVar[int]
    province: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    epsilon_per_query: float
    def __init__(self, province: _Optional[str] = ..., epsilon_total: _Optional[float] = ..., epsilon_spent: _Optional[float] = ..., epsilon_left: _Optional[float] = ..., epsilon_per_query: _Optional[float] = ...) -> None: ...
