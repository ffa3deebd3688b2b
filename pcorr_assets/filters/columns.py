"""What the columns of a pool become in the files of a selection.

Belongs here: the types that Parquet can hold, JSON text for everything else, and JSON values
of what Arrow and Python's JSON reader give. Does not belong here: which rows (`selected`), and
files (`writing`).
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Collection
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.text.cleaning import replace_invalid

JSON_TEXT = pa.large_string()
# pyarrow reads no deeper schema with its default settings; each list is three levels.
MOST_LEVELS = 8
MOST_FIELDS = 1000
EXACT_IN_FLOAT = 2**53


class JsonValues:
    """JSON values of a row's columns.

    NaN and infinite numbers, for which JSON has no word, become null and are counted in
    `non_finite`. Bytes are text in the columns `texts`, and base64 in all others. Times are
    ISO 8601; whatever else JSON does not know (decimals, durations, ...) is its string.
    """

    def __init__(self, texts: Collection[str]) -> None:
        self.non_finite = 0
        self._texts = texts

    def line(self, row: dict[str, Any]) -> bytes:
        """The row as one line of UTF-8; invalid Unicode is replaced by U+FFFD."""
        try:
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):  # something that JSON does not know
            values = {name: self._value(value, name in self._texts) for name, value in row.items()}
            text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return replace_invalid(text)[1] + b"\n"

    def _value(self, value: Any, is_text: bool) -> Any:
        if value is None or isinstance(value, (str, bool, int)):
            return value
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            self.non_finite += 1
            return None
        if isinstance(value, bytes):
            if is_text:
                return value.decode("utf-8", "replace")
            return base64.b64encode(value).decode()
        if isinstance(value, dict):
            return {self._key(key): self._value(inner, is_text) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(inner, is_text) for inner in value]
        return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)

    def _key(self, key: Any) -> str:
        value = self._value(key, True)
        return value if isinstance(value, str) else json.dumps(value)


def json_text(value: Any) -> str | None:
    """A value of a column that becomes JSON text; NULL stays NULL."""
    if value is None:
        return None
    return JsonValues(()).line({"": value}).decode()[len('{"": ') : -len("}\n")]


def common_type(values: list[Any], known: pa.DataType | None) -> pa.DataType:
    """An Arrow type for JSON values and those before them; `JSON_TEXT` if there is none.

    There is none for values of different kinds, for whole numbers beyond 64 bits or (where
    there are others with a fraction) beyond 2**53, and for what Parquet cannot hold.
    """
    if known == JSON_TEXT:
        return JSON_TEXT
    try:
        found = pa.array([clean(value) for value in values]).type
        if known is not None:
            schemas = [pa.schema([("x", kind)]) for kind in (known, found)]
            found = pa.unify_schemas(schemas, promote_options="permissive").field("x").type
        # Checked here, and not only where it is written: then it would be too late.
        pa.array([clean(value) for value in values], found)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return JSON_TEXT
    return found


def without_null(kind: pa.DataType) -> pa.DataType:
    """Columns that were NULL throughout are text; Parquet files of other shards may be."""
    if pa.types.is_null(kind):
        return pa.string()
    return kind if fits_parquet(kind) else JSON_TEXT


def fits_parquet(kind: pa.DataType) -> bool:
    """Can Parquet hold a column of that type, and pyarrow read it again?"""
    levels, fields = _size(kind)
    if levels > MOST_LEVELS or fields > MOST_FIELDS or _any_within(kind, _is_list_of_nothing):
        return False
    file = io.BytesIO()
    try:
        # A row, since some of what cannot be written passes as an empty column.
        pq.write_table(pa.table({"x": pa.nulls(1, kind)}), file)
        found = pq.read_schema(file).field("x").type
    except (pa.ArrowException, NotImplementedError):
        return False
    return found == kind or (pa.types.is_dictionary(kind) and found == kind.value_type)


def has_wide_int(value: Any) -> bool:
    """Is a whole number in it that a 64-bit float cannot hold exactly?"""
    if isinstance(value, dict):
        return any(has_wide_int(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_wide_int(inner) for inner in value)
    return isinstance(value, int) and abs(value) > EXACT_IN_FLOAT


def has_float(kind: pa.DataType) -> bool:
    """Is a floating-point number in values of that type?"""
    return _any_within(kind, pa.types.is_floating)


def _any_within(kind: pa.DataType, test: Callable[[pa.DataType], bool]) -> bool:
    """Does the test hold for the type, or for one inside of it?"""
    inner = (kind.field(index).type for index in range(kind.num_fields))
    return test(kind) or any(_any_within(each, test) for each in inner)


def _is_list_of_nothing(kind: pa.DataType) -> bool:
    """Lists of the length 0, which pyarrow writes, but cannot read."""
    return pa.types.is_fixed_size_list(kind) and kind.list_size == 0


def _size(kind: pa.DataType) -> tuple[int, int]:
    """Levels of nesting, and fields at all of them."""
    inner = [_size(kind.field(index).type) for index in range(kind.num_fields)]
    levels = 1 + max((levels for levels, _ in inner), default=0)
    return levels, 1 + sum(fields for _, fields in inner)


def clean(value: Any) -> Any:
    """The value with lone surrogates replaced, which Arrow cannot hold."""
    if isinstance(value, str):
        return replace_invalid(value)[0]
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {replace_invalid(key)[0]: clean(item) for key, item in value.items()}
    return value
