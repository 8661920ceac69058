"""Thrift's compact protocol, as far as Parquet needs it, and honest or not."""

from __future__ import annotations

from typing import Any

TRUE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, STRUCT = 1, 3, 4, 5, 6, 7, 8, 9, 12

# A struct: its fields by number, each with its type.
Struct = dict[int, tuple[int, Any]]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint((number << 1 ^ number >> 63) & (1 << 64) - 1)


def value(kind: int, content: Any) -> bytes:
    if isinstance(content, Raw):
        return content.content
    if kind in (I16, I32, I64):
        return zigzag(content)
    if kind == BINARY:
        return varint(len(content)) + content
    if kind == LIST:
        of, items = content
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([0xf0 | of]) + varint(len(items))
        return head + b"".join(value(of, item) for item in items)
    if kind == STRUCT:
        return struct(content)
    raise ValueError(kind)


def struct(fields: Struct) -> bytes:
    out, last = bytearray(), 0
    for number in sorted(fields):
        kind, content = fields[number]
        if 0 < number - last < 16:
            out.append(number - last << 4 | kind)
        else:
            out += bytes([kind]) + zigzag(number)
        out += value(kind, content)
        last = number
    return bytes(out) + b"\0"


class Raw:
    """Bytes that stand for a value as they are."""

    def __init__(self, content: bytes) -> None:
        self.content = content
