"""What the columns of DataFrames and Arrow tables may be. Each is skipped without its library."""

import datetime
import decimal
import json
import unittest
from collections.abc import Iterator
from typing import Any, Optional
from unittest import mock

from tidetable import InvalidArgument, PushOptions, rows

from .test_rows import KEY, have, lines, parts


def paths() -> Iterator[Any]:
    """With PyArrow, if it is there, and without."""
    if have("pyarrow"):
        yield mock.patch.object(rows, "_pyarrow", rows._pyarrow)
    yield mock.patch.object(rows, "_pyarrow", lambda: None)


@unittest.skipUnless(have("pandas"), "pandas is not there")
class Pandas(unittest.TestCase):
    def refused(self, frame: Any, *told: str, options: PushOptions = KEY) -> None:
        for path in paths():
            with path, self.subTest(told=told), self.assertRaises(InvalidArgument) as raised:
                parts(frame, options)
            for text in told:
                self.assertIn(text, str(raised.exception))

    def test_a_name_that_is_no_text_is_refused_with_what_to_do(self) -> None:
        import pandas

        for names, told in (
            (["k", 1], "column 2 has the name 1"),
            ([None, "k"], "column 1 has the name "),
            ([float("nan"), "k"], "column 1 has the name nan"),
            (pandas.MultiIndex.from_tuples([("a", "b"), ("a", "c")]), "column 1 has the name ('a', 'b')"),
        ):
            self.refused(pandas.DataFrame([[1, 2]], columns=names), told, "frame.columns")

    def test_a_name_that_is_there_twice_is_refused(self) -> None:
        import pandas

        self.refused(pandas.DataFrame([[1, 2]], columns=["k", "k"]), "two columns have the same name 'k'")
        frame = pandas.DataFrame({"k": [1]}, index=pandas.Index([1], name="k"))
        self.refused(frame, "'k' is a column and names the index too")

    def test_of_an_index_only_what_is_in_the_key_becomes_a_column(self) -> None:
        import pandas

        index = pandas.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["k", "other"])
        with mock.patch.object(rows, "_pyarrow", lambda: None):
            made = lines(pandas.DataFrame({"v": [5, 6]}, index=index))
        self.assertEqual(made, ['{"k":1,"v":5}', '{"k":2,"v":6}'])

    def test_types_that_are_nothing_in_json_are_refused_by_column_and_type(self) -> None:
        import numpy
        import pandas

        periods = pandas.period_range("2026-01", periods=2, freq="M")
        for values, told in (
            (periods, "period[M]"),
            (pandas.Categorical(periods), "period[M]"),
            (pandas.interval_range(0, 2), "interval"),
            (pandas.to_timedelta([1, 2], unit="s"), "timedelta64"),
            ([1j, 2j], "complex128"),
            (numpy.array([1, 2], dtype=numpy.longdouble), str(numpy.dtype(numpy.longdouble))),
            (pandas.arrays.SparseArray([0, 1]), "Sparse"),
        ):
            if told != "float64":  # Of some machines a long double is a double.
                self.refused(pandas.DataFrame({"k": [1, 2], "x": values}), "column 'x'", told)

    def test_objects_that_are_nothing_in_json_are_refused_by_column_and_row(self) -> None:
        import numpy
        import pandas

        for value, told in (
            (b"x", "bytes"),
            (bytearray(b"x"), "bytes"),
            ([b"x"], "bytes"),
            ({"a": b"x"}, "bytes"),
            (2**80, "64 bits"),
            (-(2**63) - 1, "64 bits"),
            (datetime.timedelta(1), "timedelta"),
            (pandas.Timedelta(1, unit="s"), "Timedelta"),
            (pandas.Period("2026-01"), "Period"),
            (numpy.timedelta64(1, "s"), "timedelta64"),
            (numpy.array([1j]), "complex128"),
            (1j, "complex"),
            ({1}, "set"),
            (object(), "object"),
        ):
            column = pandas.Series([None, value], dtype=object)
            self.refused(pandas.DataFrame({"k": [1, 2], "x": column}), "column 'x', row 2", told)

    @unittest.skipUnless(have("pyarrow"), "PyArrow is not there")
    def test_types_of_arrow_in_a_frame_are_refused_too(self) -> None:
        import pandas
        import pyarrow

        for kind, value in (
            (pyarrow.binary(), b"a"),
            (pyarrow.duration("s"), 1),
            (pyarrow.list_(pyarrow.binary()), [b""]),
        ):
            column = pandas.Series([value], dtype=pandas.ArrowDtype(kind))
            self.refused(pandas.DataFrame({"k": [1], "x": column}), "column 'x'", str(kind))

    def test_infinities_are_refused_by_column_and_row(self) -> None:
        import numpy
        import pandas

        inf = float("inf")
        for values in (
            [1.0, float("nan"), -inf],
            numpy.array([1, 2, inf], dtype="float32"),
            pandas.Series([1.0, None, inf], dtype="Float64"),
            pandas.Series([1.0, None, inf], dtype=object),
            pandas.Series([[1.0], None, [[inf]]], dtype=object),
            pandas.Series([None, None, {"a": {"b": inf}}], dtype=object),
            pandas.Series([None, None, numpy.array([0.5, inf])], dtype=object),
            [decimal.Decimal(1), None, decimal.Decimal("Infinity")],
            pandas.Categorical([1.0, 2.0, inf]),
        ):
            self.refused(
                pandas.DataFrame({"k": [1, 2, 3], "x": values}), "column 'x', row 3: an infinity", "nan='null'"
            )

    def test_infinities_are_null_where_that_was_asked_for(self) -> None:
        import pandas

        frame = pandas.DataFrame({"k": [1.0, float("inf")]})
        options = PushOptions(key="k", nan="null")
        with mock.patch.object(rows, "_pyarrow", lambda: None):
            self.assertEqual(lines(frame, options), ['{"k":1.0}', '{"k":null}'])
        if have("pyarrow"):
            # There the server does it.
            self.assertEqual(len(parts(frame, options)), 1)

    def test_nan_is_null(self) -> None:
        import pandas

        nan = float("nan")
        nested = pandas.Series([[1.0, nan], None], dtype=object)
        frame = pandas.DataFrame({"k": [1.0, nan], "n": nested, "t": ["a", None]})
        wanted = [{"k": 1.0, "n": [1.0, None], "t": "a"}, {"k": None, "n": None, "t": None}]
        for path in paths():
            with path:
                self.assertEqual(read(parts(frame)), wanted)

    def test_an_empty_frame_has_no_parts(self) -> None:
        import pandas

        for path in paths():
            with path:
                self.assertEqual(parts(pandas.DataFrame({"k": [], "x": []})), [])

    @unittest.skipUnless(have("pyarrow"), "PyArrow is not there")
    def test_what_pyarrow_cannot_convert_is_named_by_its_column(self) -> None:
        import pandas

        late = pandas.Series([1, 2, "a"], dtype=object)
        with self.assertRaises(InvalidArgument) as raised:
            parts(pandas.DataFrame({"k": [1, 2, 3], "x": late}))
        self.assertIn("column 'x' cannot be written", str(raised.exception))
        self.assertIsNotNone(raised.exception.__cause__)


def read(made: list[bytes]) -> list[Any]:
    if made[0][:4] != b"PAR1":
        return [json.loads(line) for line in b"".join(made).splitlines()]
    import io

    import pyarrow
    import pyarrow.parquet

    tables = [pyarrow.parquet.read_table(io.BytesIO(part)) for part in made]
    told: list[Any] = pyarrow.concat_tables(tables).to_pylist()
    return told


@unittest.skipUnless(have("pyarrow"), "PyArrow is not there")
class Arrow(unittest.TestCase):
    def refused(self, table: Any) -> str:
        with self.assertRaises(InvalidArgument) as raised:
            parts(table)
        return str(raised.exception)

    def test_types_that_would_be_bare_numbers_are_refused(self) -> None:
        import pyarrow

        for kind in (
            pyarrow.duration("s"),
            pyarrow.list_(pyarrow.duration("us")),
            pyarrow.struct([("a", pyarrow.duration("ns"))]),
            pyarrow.map_(pyarrow.string(), pyarrow.duration("s")),
            pyarrow.dictionary(pyarrow.int8(), pyarrow.duration("s")),
            pyarrow.month_day_nano_interval(),
        ):
            schema = pyarrow.schema([("k", pyarrow.int64()), ("x", kind)])
            told = self.refused(pyarrow.RecordBatchReader.from_batches(schema, []))
            self.assertIn("column 'x' is of type " + str(kind), told)

    def test_bytes_go_as_they_are(self) -> None:
        import pyarrow

        self.assertEqual(read(parts(pyarrow.table({"k": [b"\xff"]}))), [{"k": b"\xff"}])

    def test_a_name_that_is_there_twice_is_refused(self) -> None:
        import pyarrow

        table = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["k", "k"])
        self.assertIn("two columns have the same name 'k'", self.refused(table))

    def test_what_cannot_be_written_is_named_by_its_column(self) -> None:
        import pyarrow

        table = pyarrow.table({"k": [1], "x": pyarrow.array([[1]], pyarrow.list_view(pyarrow.int8()))})
        with mock.patch("pyarrow.parquet.ParquetWriter.write_table", _unwilling):
            self.assertIn("column 'x' cannot be written as Parquet: not x", self.refused(table))


def _unwilling(writer: Any, table: Any, *more: Optional[int]) -> None:
    """Writes no table with the column x."""
    if "x" in table.column_names:
        raise TypeError("not x")


@unittest.skipUnless(have("polars"), "Polars is not there")
class Polars(unittest.TestCase):
    def test_types_that_would_be_bare_numbers_or_bytes_are_refused(self) -> None:
        import polars

        for kind in (polars.Duration("us"), polars.Int128(), polars.UInt128(), polars.Object()):
            nested = [polars.List(kind), polars.Struct({"a": kind})] if kind != polars.Object else []
            for one in [kind, *nested]:
                with self.subTest(kind=one), self.assertRaises(InvalidArgument) as raised:
                    parts(polars.DataFrame({"k": [1]}).clear().with_columns(polars.Series("x", [], dtype=one)))
                self.assertIn(f"column 'x' is of type {one}", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
