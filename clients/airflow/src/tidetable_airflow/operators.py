"""Push, activate, roll back: each harmless to try again.

The idempotency key of a task is its DAG run's: however often the task is tried, its run makes one
version, and swaps or rolls back once. A run that was cleared after a rollback makes another version: so
the keys of what is done with a version name that version too.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from tidetable import Client, Moved, PushSession, errors

from .compat import AirflowFailException, BaseOperator, deferrable_by_default
from .files import find_files, format_of, part_name
from .hook import TidetableHook, failures, told
from .triggers import TidetableSettledTrigger, is_under_way


def run_key(context: Mapping[str, Any], version: Optional[int] = None) -> str:
    """The same for every try of a task of one DAG run (with this version), and for no other."""
    of_version = "" if version is None else f"/{version}"
    task = context["ti"]
    names = f"{task.dag_id}/{task.run_id}/{task.task_id}/{task.map_index}"
    if len(names) <= 200 and all("!" <= char <= "~" for char in names):
        return f"airflow:{names}{of_version}"
    # Names of any script, and of any length: told apart by their digest.
    return f"airflow:{hashlib.sha256(names.encode()).hexdigest()}{of_version}"


class _TidetableOperator(BaseOperator):  # type: ignore[misc]
    ui_color = "#cfe8ef"

    def __init__(self, *, tidetable_conn_id: str = TidetableHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tidetable_conn_id = tidetable_conn_id

    @property
    def hook(self) -> TidetableHook:
        return TidetableHook(self.tidetable_conn_id)


class TidetablePushOperator(_TidetableOperator):
    """Pushes files of the worker as a new version of a dataset, and waits until it is served.

    :param dataset: made by its first push
    :param source: a file, directory or glob, or several. Of a directory or glob, names that begin
        with `.` or `_` are left out
    :param key: the field that rows are looked up by, or several
    :param row_options: how rows become values, as in the table "Row options" of docs/http-api.md:
        `{"format": "csv", "collect": True, "order_by": "score:desc"}`
    :param version_label: the label of the version; the id of the DAG run unless said
    :param as_of: the instant the data describes, RFC 3339: `{{ data_interval_end }}`
    :param activate: False parks the version at `ready`, for a TidetableActivateOperator
    :param idempotency_key: of this push, instead of that of the DAG run. A run that was cleared
        after its push served sends nothing: to push corrected data of the same run, give it
        another key here, or clear it after a rollback
    :param deferrable: wait for the build in the triggerer
    :param poll_interval: seconds between two looks while it is built
    :param build_timeout: seconds a deferred task may wait; as long as it takes unless said

    The version goes to XCom. Rows or gates that refuse end the task without further tries: the same
    data would be refused again. What served before serves on.
    """

    template_fields: Sequence[str] = (
        "dataset", "source", "key", "row_options", "version_label", "as_of", "idempotency_key",
        "tidetable_conn_id",
    )

    def __init__(
        self,
        *,
        dataset: str,
        source: Union[str, List[str]],
        key: Union[str, List[str]],
        row_options: Optional[Dict[str, Any]] = None,
        version_label: Optional[str] = "{{ run_id }}",
        as_of: Optional[str] = None,
        activate: bool = True,
        idempotency_key: Optional[str] = None,
        deferrable: Optional[bool] = None,
        poll_interval: float = 5.0,
        build_timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.source = source
        self.key = key
        self.row_options = row_options
        self.version_label = version_label
        self.as_of = as_of
        self.activate = activate
        self.idempotency_key = idempotency_key
        self.deferrable = deferrable_by_default() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.build_timeout = build_timeout

    def execute(self, context: Mapping[str, Any]) -> Dict[str, Any]:
        files = find_files(self.source)
        options = {"format": format_of(files), **(self.row_options or {})}
        for name in ("key", "label", "as_of", "activate"):
            if name in options:
                raise AirflowFailException(f"row_options has {name!r}, which is an argument of the operator")
        with failures():
            session = self.hook.get_conn().begin(
                self.dataset,
                idempotency_key=self.idempotency_key or run_key(context),
                key=self.key, label=self.version_label, as_of=self.as_of, activate=self.activate, **options,
            )
            if session.begun.state == "receiving":
                self._send(session, files)
            else:
                self.log.info(
                    "this run was pushed before, as version %s of %s: nothing was sent",
                    session.version, self.dataset,
                )
            return self._wait(session)

    def _send(self, session: PushSession, files: List[str]) -> None:
        # Parts of this try alone: one that was given up, and is sending yet, overwrites nothing.
        attempt = secrets.token_hex(4)
        names = []
        for at, file in enumerate(files):
            names.append(part_name(attempt, at, file))
            session.put_part(names[-1], Path(file))
            self.log.info("sent %s as part %s", file, names[-1])
        session.commit(names, wait=False)
        self.log.info("version %s of %s has all its parts", session.version, self.dataset)

    def _wait(self, session: PushSession) -> Dict[str, Any]:
        if self.deferrable and is_under_way(session.status()):
            self.defer(
                trigger=TidetableSettledTrigger(
                    self.tidetable_conn_id, self.dataset, session.version, self.poll_interval
                ),
                method_name="execute_complete",
                timeout=None if self.build_timeout is None else timedelta(seconds=self.build_timeout),
            )
        return self._settled(session.version)

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Dict[str, Any]:
        """After the triggerer: what came of the version, asked anew."""
        with failures():
            return self._settled(event["version"])

    def _settled(self, number: int) -> Dict[str, Any]:
        version = self.hook.get_conn().wait_for(self.dataset, number)
        held = ", not activated: the dataset is held" if version.held else ""
        self.log.info("version %s of %s is %s%s", number, self.dataset, version.state, held)
        return told(version)


class TidetableActivateOperator(_TidetableOperator):
    """Makes a version the one being served: one that was pushed with `activate=False`, say.

    :param version: its number, or a template: `{{ ti.xcom_pull('push')['version'] }}`
    :param force: also if a gate refused it or it was rolled back from; needs a reason
    :param expect_current: do nothing, and fail, unless this version is current

    The result has `"changed": False` if nothing was done: it is current already; or it was activated
    by an earlier try of this run, and another version has taken its place since. If it was rolled back
    from since, the task fails.
    """

    template_fields: Sequence[str] = (
        "dataset", "version", "reason", "expect_current", "idempotency_key", "tidetable_conn_id",
    )

    def __init__(
        self,
        *,
        dataset: str,
        version: Union[int, str],
        force: bool = False,
        reason: Optional[str] = None,
        expect_current: Union[int, str, None] = None,
        idempotency_key: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version = version
        self.force = force
        self.reason = reason
        self.expect_current = expect_current
        self.idempotency_key = idempotency_key

    def execute(self, context: Mapping[str, Any]) -> Dict[str, Any]:
        number = _number("version", self.version)
        expected: Dict[str, Any] = {}
        if self.expect_current is not None:
            expected["expect_current"] = _number("expect_current", self.expect_current)
        with failures():
            client = self.hook.get_conn()
            try:
                moved = client.activate(
                    self.dataset, number, force=self.force, reason=self.reason,
                    idempotency_key=self.idempotency_key or run_key(context, number), **expected,
                )
            except errors.Conflict as error:
                if error.code != "already_current":
                    raise
                self.log.info("version %s of %s is current already: nothing was done", number, self.dataset)
                return {"dataset": self.dataset, "from": number, "to": number, "changed": False}
            return self._moved(client, moved)

    def _moved(self, client: Client, moved: Moved) -> Dict[str, Any]:
        """What came of it. The answer may be that of an earlier try: what was done since is not in it."""
        number = moved.to_version
        current = client.dataset(self.dataset).current
        if current == number:
            self.log.info("%s serves version %s, was %s", self.dataset, number, moved.from_version)
            return {**moved.raw, "changed": True}
        if client.version(self.dataset, number).state == "bad":
            raise AirflowFailException(
                f"this run has activated version {number} of {self.dataset} before, and it was rolled back from: "
                f"version {current} is served. Clear the push too, or give this task another idempotency_key"
            )
        self.log.warning("version %s of %s was activated, and version %s is served by now", number, self.dataset, current)
        return {**moved.raw, "changed": False}


class TidetableRollbackOperator(_TidetableOperator):
    """Goes back to an earlier version, marks the one left behind as bad, and holds the dataset.

    :param to: the version to serve; the one that served before unless said
    :param hold: False lets later pushes be activated
    :param expect_current: do nothing, and fail, unless this version is current. Give it, so that a
        rollback undoes what it was meant to undo: `{{ ti.xcom_pull('push')['version'] }}`

    A run goes back once (from each `expect_current`). If it has before, and another version is served by
    now than it went back to, the task fails.
    """

    template_fields: Sequence[str] = (
        "dataset", "to", "reason", "expect_current", "idempotency_key", "tidetable_conn_id",
    )

    def __init__(
        self,
        *,
        dataset: str,
        to: Union[int, str, None] = None,
        reason: Optional[str] = "rolled back by the Airflow run {{ run_id }}",
        hold: bool = True,
        expect_current: Union[int, str, None] = None,
        idempotency_key: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.to = to
        self.reason = reason
        self.hold = hold
        self.expect_current = expect_current
        self.idempotency_key = idempotency_key

    def execute(self, context: Mapping[str, Any]) -> Dict[str, Any]:
        given = {
            name: _number(name, value)
            for name, value in (("to", self.to), ("expect_current", self.expect_current))
            if value is not None
        }
        key = self.idempotency_key or run_key(context, given.get("expect_current"))
        with failures():
            client = self.hook.get_conn()
            moved = client.rollback(self.dataset, reason=self.reason, hold=self.hold, idempotency_key=key, **given)
            current = client.dataset(self.dataset).current
        if current != moved.to_version:
            # The answer is that of an earlier try, or somebody was faster than this look.
            raise AirflowFailException(
                f"this run went back from version {moved.from_version} of {self.dataset} to {moved.to_version}, and "
                f"version {current} is served by now: give expect_current, or another idempotency_key, to go back again"
            )
        self.log.info("%s serves version %s again, was %s", self.dataset, moved.to_version, moved.from_version)
        return dict(moved.raw)


def _number(name: str, value: Union[int, str]) -> int:
    """A version's number: a template gives its text."""
    try:
        return int(value)
    except ValueError:
        raise AirflowFailException(f"{name} is {value!r}: the number of a version is expected") from None
