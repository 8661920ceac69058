"""What a client gives that asks more later: scans, and reads of one version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Optional, Union

from . import scans
from .found import Entry, Found, Record
from .keys import Key
from .paths import Fields

if TYPE_CHECKING:
    from .aio import AsyncClient
    from .client import Client


class Scan(Iterator[Record]):
    """The records of a scan, one after the other. `version` is None until the first page is there."""

    def __init__(
        self,
        client: Client,
        dataset: str,
        prefix: Union[str, bytes],
        limit: Optional[int],
        fields: Fields,
        version: Optional[int],
        unit: Optional[str],
        page_size: int,
    ) -> None:
        self.version: Optional[int] = None
        asked = scans.asked(client._core, dataset, prefix, limit, fields, version, unit, page_size)
        self._pages = _pages(client, self, asked, limit, page_size)
        self._records: Iterator[Record] = iter(())

    def __iter__(self) -> Scan:
        return self

    def __next__(self) -> Record:
        while True:
            for record in self._records:
                return record
            self._records = iter(next(self._pages))


def _pages(
    client: Client, scan: Scan, what: scans.Asked, limit: Optional[int], page_size: int
) -> Iterator[list[Record]]:
    dataset, prefix, fields, version, unit = what
    cursor: Optional[str] = None
    left = limit
    while left is None or left > 0:
        size = scans.page_size(page_size, left)
        call = scans.scan_page(client._core, dataset, prefix, size, fields, version, unit, cursor)
        page = client._run(call)
        scans.same_version(scan.version, page)
        scan.version = page.version
        yield page.records
        left = None if left is None else left - len(page.records)
        cursor = page.next
        if cursor is None:
            return


class Snapshot:
    """Reads of one version."""

    def __init__(self, client: Client, dataset: str, version: int) -> None:
        self.dataset = dataset
        self.version = version
        self._client = client

    def get(self, key: Key, fields: Fields = None, *, raw: bool = False) -> Any:
        return self._client.get(self.dataset, key, fields, self.version, raw=raw)

    def get_entry(self, key: Key, fields: Fields = None, *, raw: bool = False) -> Optional[Entry]:
        return self._client.get_entry(self.dataset, key, fields, self.version, raw=raw)

    def get_many(self, keys: Iterable[Key], fields: Fields = None, *, raw: bool = False) -> Found:
        return self._client.get_many(self.dataset, keys, fields, self.version, raw=raw)

    def scan(self, prefix: Union[str, bytes] = "", limit: Optional[int] = None, fields: Fields = None) -> Scan:
        return self._client.scan(self.dataset, prefix, limit, fields, self.version)

    def __repr__(self) -> str:
        return f"Snapshot({self.dataset!r}, version={self.version})"


class AsyncScan(AsyncIterator[Record]):
    """The records of a scan. `version` is None until the first page is there."""

    def __init__(
        self,
        client: AsyncClient,
        dataset: str,
        prefix: Union[str, bytes],
        limit: Optional[int],
        fields: Fields,
        version: Optional[int],
        unit: Optional[str],
        page_size: int,
    ) -> None:
        self.version: Optional[int] = None
        asked = scans.asked(client._core, dataset, prefix, limit, fields, version, unit, page_size)
        self._records = self._all(client, asked, limit, page_size)

    def __aiter__(self) -> AsyncScan:
        return self

    async def __anext__(self) -> Record:
        return await self._records.__anext__()

    async def _all(
        self, client: AsyncClient, what: scans.Asked, limit: Optional[int], size: int
    ) -> AsyncIterator[Record]:
        dataset, prefix, fields, version, unit = what
        cursor: Optional[str] = None
        left = limit
        while left is None or left > 0:
            records = scans.page_size(size, left)
            call = scans.scan_page(client._core, dataset, prefix, records, fields, version, unit, cursor)
            page = await client._run(call)
            scans.same_version(self.version, page)
            self.version = page.version
            for record in page.records:
                yield record
            left = None if left is None else left - len(page.records)
            cursor = page.next
            if cursor is None:
                return


class AsyncSnapshot:
    """Reads of one version."""

    def __init__(self, client: AsyncClient, dataset: str, version: int) -> None:
        self.dataset = dataset
        self.version = version
        self._client = client

    async def get(self, key: Key, fields: Fields = None, *, raw: bool = False) -> Any:
        return await self._client.get(self.dataset, key, fields, self.version, raw=raw)

    async def get_entry(self, key: Key, fields: Fields = None, *, raw: bool = False) -> Optional[Entry]:
        return await self._client.get_entry(self.dataset, key, fields, self.version, raw=raw)

    async def get_many(self, keys: Iterable[Key], fields: Fields = None, *, raw: bool = False) -> Found:
        return await self._client.get_many(self.dataset, keys, fields, self.version, raw=raw)

    def scan(self, prefix: Union[str, bytes] = "", limit: Optional[int] = None, fields: Fields = None) -> AsyncScan:
        return self._client.scan(self.dataset, prefix, limit, fields, self.version)

    def __repr__(self) -> str:
        return f"AsyncSnapshot({self.dataset!r}, version={self.version})"
