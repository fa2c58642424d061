from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fragment(_message.Message):
    __slots__ = ("province", "tables", "unit", "relation", "keys", "measures", "bounding", "epsilon", "cell_count", "cells_digest", "threshold")
    PROVINCE_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    BOUNDING_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    CELL_COUNT_FIELD_NUMBER: _ClassVar[int]
    CELLS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    province: str
    tables: _containers.RepeatedScalarFieldContainer[str]
    unit: str
    relation: str
    keys: _containers.RepeatedCompositeFieldContainer[Key]
    measures: _containers.RepeatedCompositeFieldContainer[Measure]
    bounding: Bounding
    epsilon: float
    cell_count: int
    cells_digest: str
    threshold: Threshold
    def __init__(self, province: _Optional[str] = ..., tables: _Optional[_Iterable[str]] = ..., unit: _Optional[str] = ..., relation: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[Key, _Mapping]]] = ..., measures: _Optional[_Iterable[_Union[Measure, _Mapping]]] = ..., bounding: _Optional[_Union[Bounding, _Mapping]] = ..., epsilon: _Optional[float] = ..., cell_count: _Optional[int] = ..., cells_digest: _Optional[str] = ..., threshold: _Optional[_Union[Threshold, _Mapping]] = ...) -> None: ...

class Threshold(_message.Message):
    __slots__ = ("measure", "above", "least", "delta", "most_groups")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    MOST_GROUPS_FIELD_NUMBER: _ClassVar[int]
    measure: str
    above: int
    least: int
    delta: float
    most_groups: int
    def __init__(self, measure: _Optional[str] = ..., above: _Optional[int] = ..., least: _Optional[int] = ..., delta: _Optional[float] = ..., most_groups: _Optional[int] = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ("name", "type", "label")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    label: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("name", "label", "kind", "input", "low", "high", "weight", "grid", "centre", "sensitivity", "epsilon", "scale", "mechanism", "sensitivity_l2", "rho", "tree", "total", "level")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Measure.Kind]
        KIND_COUNT: _ClassVar[Measure.Kind]
        KIND_SUM: _ClassVar[Measure.Kind]
        KIND_TREE: _ClassVar[Measure.Kind]
        KIND_UNITS: _ClassVar[Measure.Kind]
    KIND_UNSPECIFIED: Measure.Kind
    KIND_COUNT: Measure.Kind
    KIND_SUM: Measure.Kind
    KIND_TREE: Measure.Kind
    KIND_UNITS: Measure.Kind
    class Mechanism(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MECHANISM_UNSPECIFIED: _ClassVar[Measure.Mechanism]
        MECHANISM_LAPLACE: _ClassVar[Measure.Mechanism]
        MECHANISM_GAUSSIAN: _ClassVar[Measure.Mechanism]
        MECHANISM_LAPLACE_PAIR: _ClassVar[Measure.Mechanism]
    MECHANISM_UNSPECIFIED: Measure.Mechanism
    MECHANISM_LAPLACE: Measure.Mechanism
    MECHANISM_GAUSSIAN: Measure.Mechanism
    MECHANISM_LAPLACE_PAIR: Measure.Mechanism
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    CENTRE_FIELD_NUMBER: _ClassVar[int]
    SENSITIVITY_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    SENSITIVITY_L2_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    label: str
    kind: Measure.Kind
    input: str
    low: int
    high: int
    weight: str
    grid: float
    centre: int
    sensitivity: int
    epsilon: float
    scale: float
    mechanism: Measure.Mechanism
    sensitivity_l2: float
    rho: float
    tree: Tree
    total: str
    level: Level
    def __init__(self, name: _Optional[str] = ..., label: _Optional[str] = ..., kind: _Optional[_Union[Measure.Kind, str]] = ..., input: _Optional[str] = ..., low: _Optional[int] = ..., high: _Optional[int] = ..., weight: _Optional[str] = ..., grid: _Optional[float] = ..., centre: _Optional[int] = ..., sensitivity: _Optional[int] = ..., epsilon: _Optional[float] = ..., scale: _Optional[float] = ..., mechanism: _Optional[_Union[Measure.Mechanism, str]] = ..., sensitivity_l2: _Optional[float] = ..., rho: _Optional[float] = ..., tree: _Optional[_Union[Tree, _Mapping]] = ..., total: _Optional[str] = ..., level: _Optional[_Union[Level, _Mapping]] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("of", "keys", "most_cells")
    OF_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MOST_CELLS_FIELD_NUMBER: _ClassVar[int]
    of: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    most_cells: int
    def __init__(self, of: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., most_cells: _Optional[int] = ...) -> None: ...

class Tree(_message.Message):
    __slots__ = ("low", "width", "leaves", "whole", "flat")
    LOW_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    FLAT_FIELD_NUMBER: _ClassVar[int]
    low: float
    width: float
    leaves: int
    whole: bool
    flat: bool
    def __init__(self, low: _Optional[float] = ..., width: _Optional[float] = ..., leaves: _Optional[int] = ..., whole: _Optional[bool] = ..., flat: _Optional[bool] = ...) -> None: ...

class Bounding(_message.Message):
    __slots__ = ("form", "max_rows", "max_groups", "reason")
    class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORM_UNSPECIFIED: _ClassVar[Bounding.Form]
        FORM_NONE: _ClassVar[Bounding.Form]
        FORM_CLIP: _ClassVar[Bounding.Form]
        FORM_CLIP_AND_LIMIT: _ClassVar[Bounding.Form]
    FORM_UNSPECIFIED: Bounding.Form
    FORM_NONE: Bounding.Form
    FORM_CLIP: Bounding.Form
    FORM_CLIP_AND_LIMIT: Bounding.Form
    FORM_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_GROUPS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    form: Bounding.Form
    max_rows: int
    max_groups: int
    reason: str
    def __init__(self, form: _Optional[_Union[Bounding.Form, str]] = ..., max_rows: _Optional[int] = ..., max_groups: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
