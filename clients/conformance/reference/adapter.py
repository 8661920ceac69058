#!/usr/bin/env python3
"""The adapter of the reference client: one JSON object a line, as the README says."""

from __future__ import annotations

import base64
import json
import sys
import traceback
from typing import Any

from client import Client
from errors import Fault, Usage
from wrongs import wrong

NEEDS = ["bigint", "bytes_keys", "cache", "cache_version", "clear_cache", "connect_timeout", "surrogates", "unit", "unit_of_any_text", "unit_per_call", "user_agent"]
OPTIONS = ("total_timeout", "connect_timeout", "token", "cache", "max_tries", "unit")


class Adapter:
    def __init__(self) -> None:
        self.client: Client | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        call = asked["call"]
        if call == "hello":
            return {"language": "reference", "needs": NEEDS}
        if call == "close" or call == "open":
            if self.client:
                self.client.pool.close()
            self.client = None
            if call == "open":
                self.client = Client(asked["base_url"], **{name: asked["options"][name] for name in OPTIONS if name in asked["options"]})
            return {"ok": True}
        if self.client is None:
            raise Usage("there is no client")
        if call == "describe":
            return {"text": repr(self.client)}
        self.client.read_for(asked.get("unit"))
        answer: dict[str, Any] = getattr(self, call)(self.client, asked)
        return answer

    def clear_cache(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        if client.cache and not wrong("cache_never_emptied"):
            client.cache.entries.clear()
        return {"ok": True}

    def get(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        key = base64.b64decode(asked["key_base64"]) if asked.get("key_base64") is not None else asked["key"]
        entry = client.get(asked["dataset"], key, asked.get("fields"), asked.get("version"))
        return {"found": True, "value": entry.value, "version": entry.version} if entry.found else {"found": False}

    def get_many(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        as_bytes = asked.get("keys_base64") is not None
        keys = [base64.b64decode(key) for key in asked["keys_base64"]] if as_bytes else asked["keys"]
        values, version = client.get_many(asked["dataset"], keys, asked.get("fields"), asked.get("version"))
        return {"values": [[base64.b64encode(key).decode() if as_bytes else key, value] for key, value in values], "version": version}

    def scan(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        records, version = client.scan(asked["dataset"], asked.get("prefix", ""), asked.get("limit"), asked.get("fields"), asked.get("version"))
        shown = [[{"base64": base64.b64encode(key).decode()} if isinstance(key, bytes) else key, value] for key, value in records]
        return {"records": shown, "version": version}

    def multi(self, client: Client, asked: dict[str, Any]) -> dict[str, Any]:
        return {"answers": client.multi(asked["requests"])}


def main() -> None:
    adapter = Adapter()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = adapter.answer(asked)
        except Fault as fault:
            told = str(fault) + (f" {adapter.client.token}" if wrong("token_in_errors") and adapter.client else "")
            answer = {"error": {"kind": fault.kind, "code": fault.code, "status": fault.status, "detail": fault.detail,
                                "request_id": fault.request_id, "text": told}}
        except Exception as fault:  # The client's own mistake: no case expects it.
            traceback.print_exc()
            answer = {"error": {"kind": "internal", "code": None, "status": None, "text": repr(fault)}}
        print(json.dumps({"id": asked["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
