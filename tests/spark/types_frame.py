"""A DataFrame with every type that has a JSON, and with the values at their edges."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

COLUMNS: dict[str, tuple[T.DataType, list[Any]]] = {
    "bool": (T.BooleanType(), [True, False]),
    "byte": (T.ByteType(), [-128, 127]),
    "short": (T.ShortType(), [-32768, 32767]),
    "int": (T.IntegerType(), [-(2**31), 2**31 - 1]),
    "long": (T.LongType(), [-(2**63), 2**63 - 1, 2**53 + 1]),
    "float": (T.FloatType(), [
        0.1, -0.0, 1e-5, 1.5e-6, 1e-7, 1e-45, 3.4028234663852886e38, 16777216.0, 1e13, 1e14, 1e16, 1e17,
        123456.789, float("nan"), float("inf"), -1 / 3,
    ]),
    "double": (T.DoubleType(), [
        0.1, -0.0, 1e-4, 1e-5, 1.5e-6, 1e-7, 5e-324, 1.7976931348623157e308, 1e15, 1e16, 1e17, 1e21, 1e22,
        123456789012345680.0, 2.0**53, float("nan"), float("-inf"), 1 / 3, 100.0,
    ]),
    "decimal": (T.DecimalType(7, 2), [Decimal("1.50"), Decimal("-0.05"), Decimal("0"), Decimal("99999.99")]),
    "wide_decimal": (T.DecimalType(38, 18), [Decimal("12345678901234567890.000000000000000001"), Decimal("-1")]),
    "whole_decimal": (T.DecimalType(20, 0), [Decimal(10**19), Decimal(-7)]),
    "text": (T.StringType(), ["", "quote \" slash / back \\", "tab\t line\n \r \b \f \x00 \x1f \x7f", "Ünïcödé 数 🌊"]),
    "binary": (T.BinaryType(), [b"", b"\x00\xff\xfe", b"abcd"]),
    "date": (T.DateType(), [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)]),
    # The hour that New York has twice, before and after; the epoch; every number of digits.
    "instant": (T.TimestampType(), [
        dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.timezone.utc),
        dt.datetime(2026, 11, 1, 6, 30, 0, 500_000, tzinfo=dt.timezone.utc),
        dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.timezone.utc),
        dt.datetime(1960, 7, 1, 12, 0, 0, 123_000, tzinfo=dt.timezone.utc),
    ]),
    "local": (T.TimestampNTZType(), [
        dt.datetime(2026, 3, 8, 2, 30), dt.datetime(1999, 12, 31, 23, 59, 59, 999_999),
        dt.datetime(2026, 1, 1, 0, 0, 0, 120_000),
    ]),
    "list": (T.ArrayType(T.DoubleType()), [[], [1.0, None, 0.25]]),
    "decimals": (T.ArrayType(T.DecimalType(5, 3)), [[Decimal("1.100"), None]]),
    # Spark's maps have no order: between its processes the same one comes in one order or another.
    "map": (T.MapType(T.StringType(), T.LongType()), [{}, {"b": 1}, {"a \"q\"": None}]),
    "by_number": (T.MapType(T.IntegerType(), T.BooleanType()), [{3: True}, {-1: False}]),
    "by_date": (T.MapType(T.DateType(), T.StringType()), [{dt.date(2026, 1, 2): "x"}]),
    "nested": (
        T.StructType([
            T.StructField("a \"b\"", T.ArrayType(T.StructType([
                T.StructField("at", T.TimestampType()), T.StructField("n", T.DecimalType(4, 1)),
            ]))),
            T.StructField("none", T.StringType()),
        ]),
        [([(dt.datetime(2026, 6, 1, tzinfo=dt.timezone.utc), Decimal("2.5")), None], None)],
    ),
}


def all_types(spark: SparkSession) -> DataFrame:
    """A row for each place in the longest list; null where a list has no more, and one row of nulls."""
    rows = 1 + max(len(values) for _, values in COLUMNS.values())
    schema = T.StructType([T.StructField("id", T.IntegerType(), False)])
    for name, (data_type, _) in COLUMNS.items():
        schema.add(name, data_type)
    data = [
        (at, *(values[at] if at < len(values) else None for _, values in COLUMNS.values()))
        for at in range(rows)
    ]
    return spark.createDataFrame(data, schema)
