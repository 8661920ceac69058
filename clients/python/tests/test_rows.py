"""Data of any kind as parts of a push. What needs pandas, Polars or PyArrow is skipped without it."""

import datetime
import decimal
import importlib.util
import json
import pathlib
import tempfile
import unittest
import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tidetable import InvalidArgument, PushOptions, ndjson, rows
from tidetable.ndjson import ndjson_parts

KEY = PushOptions(key="k")


def have(*libraries: str) -> bool:
    return all(importlib.util.find_spec(library) is not None for library in libraries)


def parts(data: Any, options: PushOptions = KEY) -> list[Any]:
    source = rows.source_of(data, options)
    made: list[Any] = []
    while True:
        part = source.next_part()
        if part is None:
            return made
        made.append(part)


def lines(data: Any, options: PushOptions = KEY) -> list[str]:
    return b"".join(parts(data, options)).decode().splitlines()


class Dicts(unittest.TestCase):
    def test_values_are_written_as_the_server_writes_them(self) -> None:
        utc = datetime.timezone.utc
        zone = datetime.timezone(datetime.timedelta(hours=2))
        for given, text in (
            ({"k": 1, "t": "ü\n"}, '{"k":1,"t":"ü\\n"}'),
            ({"k": decimal.Decimal("12.30")}, '{"k":12.30}'),
            ({"k": decimal.Decimal("1E+3")}, '{"k":1000}'),
            ({"k": datetime.datetime(2026, 1, 2, 3, 4, 5)}, '{"k":"2026-01-02T03:04:05Z"}'),
            ({"k": datetime.datetime(2026, 1, 2, 3, 4, 5, 120000, utc)}, '{"k":"2026-01-02T03:04:05.120Z"}'),
            ({"k": datetime.datetime(2026, 1, 2, 3, 4, 5, 7, zone)}, '{"k":"2026-01-02T01:04:05.000007Z"}'),
            ({"k": datetime.date(2026, 1, 2)}, '{"k":"2026-01-02"}'),
            ({"k": datetime.time(1, 2, 3, 500000)}, '{"k":"01:02:03.500"}'),
            ({"k": uuid.UUID(int=1)}, '{"k":"00000000-0000-0000-0000-000000000001"}'),
            ({"k": (1, [2])}, '{"k":[1,[2]]}'),
            ({"k": 2**80}, '{"k":1208925819614629174706176}'),
            ({"k": [1e-4, 1e-5, 1.5e-5, 1e-6, -1.25e-7]}, '{"k":[0.0001,0.00001,0.000015,1e-6,-1.25e-7]}'),
            ({"k": [1e15, 1e16, 1e17, 5e-324, -0.0]}, '{"k":[1000000000000000.0,1e+16,1e+17,5e-324,-0.0]}'),
            ({"1e-05": 1e-5, "t": 'a 1e-05 \\" 1e-05'}, '{"1e-05":0.00001,"t":"a 1e-05 \\\\\\" 1e-05"}'),
        ):
            self.assertEqual(lines([given]), [text])

    def test_a_text_that_looks_like_the_mark_of_a_decimal_stays_a_text(self) -> None:
        row = {"k": decimal.Decimal("1.50"), "t": '"0:1.50"'}
        self.assertEqual(lines([row]), ['{"k":1.50,"t":"\\"0:1.50\\""}'])

    def test_a_row_that_is_no_json_is_named(self) -> None:
        for bad, why in (
            ({"k": float("nan")}, "NaN"),
            ({"k": {"x": [float("inf")]}}, "NaN"),
            ({"k": object()}, "a object is no JSON"),
            ({"k": b"x"}, "bytes are no JSON"),
            ({"a": 1, "k": float("inf")}, "field 'k'"),
            ({"a": 1, "k": [b"x"]}, "field 'k'"),
            ({"k": "\ud800"}, "surrogates"),
            ([1], "a dict is expected"),
            ({(1, 2): 3}, "keys must be"),
        ):
            with self.subTest(why=why), self.assertRaises(InvalidArgument) as raised:
                parts([{"k": 1}, bad])
            self.assertIn("row 2", str(raised.exception))
            self.assertIn(why, str(raised.exception))

    @unittest.skipUnless(have("numpy"), "numpy is not there")
    def test_instants_of_numpy_are_no_bare_numbers(self) -> None:
        import numpy

        for given, text in (
            (numpy.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456789Z"),
            (numpy.datetime64("2026-01-02T03:04:05.120000000"), "2026-01-02T03:04:05.120Z"),
            (numpy.datetime64("2026-01-02T03:04:05", "ns"), "2026-01-02T03:04:05Z"),
            (numpy.datetime64("2026-01-02T03"), "2026-01-02T03:00:00Z"),
            (numpy.datetime64("2026-01-02"), "2026-01-02"),
            (numpy.datetime64("NaT"), None),
            (numpy.array(["2026-01-02T03:04:05"], "M8[ns]"), ["2026-01-02T03:04:05Z"]),
            (numpy.float64(0.5), 0.5),
            (numpy.array([[1, 2]]), [[1, 2]]),
        ):
            self.assertEqual(json.loads(lines([{"k": given}])[0]), {"k": text})
        for bad in (numpy.timedelta64(1, "ns"), numpy.array([1], "m8[ns]"), numpy.longdouble(1), numpy.complex128(1)):
            with self.subTest(bad=bad), self.assertRaises(InvalidArgument) as raised:
                parts([{"k": bad}])
            self.assertIn("row 1, field 'k'", str(raised.exception))

    def test_what_else_a_row_with_nan_has_is_told(self) -> None:
        with self.assertRaises(InvalidArgument) as raised:
            parts([{"a": float("nan"), "b": b"x"}], PushOptions(nan="null"))
        self.assertIn("field 'b': bytes", str(raised.exception))

    def test_nan_is_null_where_that_was_asked_for(self) -> None:
        self.assertEqual(lines([{"k": 1, "x": [float("nan")]}], PushOptions(nan="null")), ['{"k":1,"x":[null]}'])

    def test_rows_are_taken_as_they_are_sent(self) -> None:
        taken = 0

        def endless() -> Iterator[dict[str, Any]]:
            nonlocal taken
            while True:
                taken += 1
                yield {"k": taken, "pad": "x" * 1000}

        with mock.patch.object(ndjson, "PART_BYTES", 10_000):
            made = ndjson_parts(endless(), False)
            first, second = next(made), next(made)
        self.assertLess(taken, 25)
        numbers = [json.loads(line)["k"] for line in (first + second).splitlines()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertTrue(first.endswith(b"}\n"))

    def test_no_rows_are_no_part(self) -> None:
        self.assertEqual(parts([]), [])


class Other(unittest.TestCase):
    def test_paths_go_as_they_are_under_the_format_of_their_name(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            for name, form in (("a.csv.gz", "csv"), ("b.parquet", "parquet"), ("c.jsonl", "ndjson"), ("d", None)):
                path = pathlib.Path(home, name)
                path.write_bytes(b"x")
                source = rows.source_of(str(path), KEY)
                self.assertEqual((source.format, source.next_part()), (form, path))
            both = rows.source_of([pathlib.Path(home, "a.csv.gz"), pathlib.Path(home, "b.parquet")], KEY)
            self.assertIsNone(both.format)
            for wrong in (home, pathlib.Path(home, "absent.csv")):
                with self.assertRaises(InvalidArgument):
                    rows.source_of(wrong, KEY)

    def test_what_is_no_data_is_refused(self) -> None:
        for wrong in (7, None, {"k": 1}, b"bytes without a format"):
            with self.assertRaises(InvalidArgument):
                rows.source_of(wrong, KEY)
        self.assertEqual(rows.source_of(b"k\n1\n", PushOptions(format="csv")).next_part(), b"k\n1\n")

    def test_options_are_those_of_the_server(self) -> None:
        options = PushOptions.given(
            None,
            ["a", "b"],
            {
                "collect": True,
                "types": {"x": "number"},
                "order_by": ("s:desc",),
                "as_of": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
                "activate": False,
            },
        )
        self.assertEqual(
            options.body(),
            {
                "key": ["a", "b"],
                "collect": True,
                "types": {"x": "number"},
                "order_by": ["s:desc"],
                "as_of": "2026-01-01T00:00:00Z",
                "activate": False,
            },
        )
        with self.assertRaises(InvalidArgument) as raised:
            PushOptions.given(None, "k", {"colect": True})
        self.assertIn("'colect'", str(raised.exception))
        with self.assertRaises(InvalidArgument):
            PushOptions(as_of=datetime.datetime(2026, 1, 1)).body()


@unittest.skipUnless(have("pyarrow"), "PyArrow is not there")
class Arrow(unittest.TestCase):
    def read(self, data: Any) -> Any:
        import io

        import pyarrow
        import pyarrow.parquet

        made = parts(data)
        self.assertTrue(all(isinstance(part, bytes) for part in made))
        return len(made), pyarrow.concat_tables([pyarrow.parquet.read_table(io.BytesIO(part)) for part in made])

    def test_tables_batches_and_readers_of_any_size(self) -> None:
        import pyarrow

        table = pyarrow.table({"k": list(range(10_000)), "t": ["x" * 100] * 10_000})
        batch = table.combine_chunks().to_batches()[0]
        reader = pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1000))
        with mock.patch.object(rows, "PART_BYTES", 100_000):
            for data in (table, batch, reader):
                count, read = self.read(data)
                self.assertGreater(count, 5)
                self.assertTrue(read.equals(table))

    @unittest.skipUnless(have("pandas"), "pandas is not there")
    def test_a_data_frame_keeps_one_schema_in_all_parts(self) -> None:
        import pandas

        frame = pandas.DataFrame({"k": range(2000), "x": [None] * 1999 + [1.5], "t": ["y" * 100] * 2000})
        with mock.patch.object(rows, "PART_BYTES", 50_000):
            count, read = self.read(frame)
        self.assertGreater(count, 3)
        self.assertEqual(read.column("x").to_pylist()[-2:], [None, 1.5])
        _, named = self.read(frame.set_index("k"))
        self.assertEqual(sorted(named.column_names), ["k", "t", "x"])

    @unittest.skipUnless(have("polars"), "Polars is not there")
    def test_polars(self) -> None:
        import polars

        frame = polars.DataFrame({"k": list(range(3000)), "t": ["z" * 50] * 3000})
        with mock.patch.object(rows, "PART_BYTES", 40_000):
            for data in (frame, frame.lazy()):
                count, read = self.read(data)
                self.assertGreater(count, 2)
                self.assertEqual(read.column("k").to_pylist(), list(range(3000)))


@unittest.skipUnless(have("pandas"), "pandas is not there")
class PandasWithoutArrow(unittest.TestCase):
    def test_it_goes_as_rows(self) -> None:
        import pandas

        frame = pandas.DataFrame(
            {
                "k": [1, 2],
                "x": [0.5, float("nan")],
                "t": ["a", None],
                "at": [pandas.Timestamp("2026-01-02T03:04:05.123456789"), pandas.NaT],
            }
        )
        with mock.patch.object(rows, "_pyarrow", lambda: None):
            made = [json.loads(line) for line in lines(frame)]
        self.assertEqual(
            made,
            [
                {"k": 1, "x": 0.5, "t": "a", "at": "2026-01-02T03:04:05.123456789Z"},
                {"k": 2, "x": None, "t": None, "at": None},
            ],
        )


if __name__ == "__main__":
    unittest.main()
