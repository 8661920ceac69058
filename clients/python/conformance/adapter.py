"""The adapter of the conformance suite (clients/conformance/README.md): calls come as lines of JSON, and answers go.

With `--async` the calls are those of `AsyncClient`, else those of `Client`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import traceback
from typing import Any, Callable, Optional

from tidetable import (
    ApiError,
    AsyncClient,
    CachePolicy,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    TransportError,
)

NEEDS = [
    "bigint",
    "bytes_keys",
    "connect_timeout",
    "surrogates",
    "cache",
    "cache_version",
    "clear_cache",
    "unit",
    "unit_of_any_text",
    "unit_per_call",
    "user_agent",
]
Call = dict[str, Any]


class Waiting:
    """An `AsyncClient` whose calls are waited for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **more: self._loop.run_until_complete(method(*args, **more))

    def scan(self, *args: Any, **more: Any) -> Any:
        scan = self._client.scan(*args, **more)

        async def all_of_it() -> list[Any]:
            return [record async for record in scan]

        records = self._loop.run_until_complete(all_of_it())
        return scan, records

    def clear_cache(self) -> None:
        self._client.clear_cache()

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        # What was aborted is closed in the next turn of the loop.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def __repr__(self) -> str:
        return repr(self._client)


class Adapter:
    def __init__(self, waiting: bool) -> None:
        self._kind: Any = Waiting if waiting else Client
        self._client: Any = None
        # Why there is none.
        self._refused: Optional[InvalidArgument] = None

    def answer(self, call: Call) -> Call:
        try:
            if self._refused is not None and call["call"] not in ("open", "close"):
                raise self._refused
            answer: Call = getattr(self, f"_{call['call']}")(call)
            return answer
        except ApiError as error:
            told = {
                "kind": "http",
                "code": error.code,
                "status": error.status,
                "detail": error.detail,
                "request_id": error.request_id,
            }
        except DeadlineExceeded:
            told = {"kind": "timeout", "code": None, "status": None}
        except TransportError:
            told = {"kind": "connection", "code": None, "status": None}
        except InvalidArgument:
            told = {"kind": "usage", "code": None, "status": None}
        told["text"] = traceback.format_exc()
        return {"error": told}

    def _hello(self, call: Call) -> Call:
        return {"language": "python", "needs": NEEDS}

    def _open(self, call: Call) -> Call:
        if self._client is not None:
            self._client.close()
            self._client = None
        options = {name: value for name, value in call.get("options", {}).items() if value is not None}
        cache = options.pop("cache", None)
        known = ("total_timeout", "connect_timeout", "token", "max_tries", "unit")
        given = {name: options[name] for name in known if name in options}
        policy = None if cache is None else CachePolicy(cache["ttl"], cache.get("mode") or "ttl")
        self._refused = None
        try:
            self._client = self._kind(call["base_url"], cache=policy, **given)
        except InvalidArgument as error:
            self._refused = error
            raise
        return {"ok": True}

    def _get(self, call: Call) -> Call:
        key = call.get("key") if call.get("key_base64") is None else base64.b64decode(call["key_base64"])
        entry = self._client.get_entry(
            call["dataset"], key, call.get("fields"), call.get("version"), unit=call.get("unit")
        )
        if entry is None:
            return {"found": False}
        return {"found": True, "value": entry.value, "version": entry.version}

    def _get_many(self, call: Call) -> Call:
        in_base64 = call.get("keys_base64")
        keys = call["keys"] if in_base64 is None else [base64.b64decode(key) for key in in_base64]
        found = self._client.get_many(
            call["dataset"], keys, call.get("fields"), call.get("version"), unit=call.get("unit")
        )
        return {
            "values": [[shown(key, in_base64 is not None), value] for key, value in found.items()],
            "version": found.version,
        }

    def _scan(self, call: Call) -> Call:
        given = (call["dataset"], call.get("prefix") or "", call.get("limit"), call.get("fields"), call.get("version"))
        scan = self._client.scan(*given, unit=call.get("unit"))
        scan, records = scan if isinstance(scan, tuple) else (scan, list(scan))
        told = [
            [key if isinstance(key, str) else {"base64": base64.b64encode(key).decode()}, value]
            for key, value in records
        ]
        return {"records": told, "version": scan.version}

    def _multi(self, call: Call) -> Call:
        requests = {one["dataset"]: one["keys"] for one in call["requests"]}
        fields = {one["dataset"]: one.get("fields") for one in call["requests"]}
        versions = {one["dataset"]: one["version"] for one in call["requests"] if one.get("version") is not None}
        answers = self._client.multi(requests, fields, versions, unit=call.get("unit"))
        told: list[Call] = []
        for dataset in requests:
            error: Optional[ApiError] = answers.errors.get(dataset)
            if error is not None:
                told.append({"dataset": dataset, "error": {"code": error.code, "status": error.status}})
            else:
                found = answers[dataset]
                told.append(
                    {"dataset": dataset, "version": found.version, "values": [list(pair) for pair in found.items()]}
                )
        return {"answers": told}

    def _clear_cache(self, call: Call) -> Call:
        self._client.clear_cache()
        return {"ok": True}

    def _describe(self, call: Call) -> Call:
        return {"text": repr(self._client)}

    def _close(self, call: Call) -> Call:
        if self._client is not None:
            self._client.close()
            self._client = None
        return {"ok": True}


def shown(key: Any, in_base64: bool) -> Any:
    return base64.b64encode(key).decode("ascii") if in_base64 else key


def main() -> None:
    adapter = Adapter("--async" in sys.argv[1:])
    for line in sys.stdin:
        call = json.loads(line)
        answer = adapter.answer(call)
        print(json.dumps({"id": call["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
