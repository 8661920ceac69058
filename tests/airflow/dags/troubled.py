"""DAGs with trouble on purpose."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, task
from tidetable_airflow.hook import TidetableHook
from tidetable_airflow.operators import (
    TidetableActivateOperator,
    TidetablePushOperator,
    TidetableRollbackOperator,
)

FILES = Path(os.environ["TEST_FILES"])
THREE_RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=0)}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class InterruptedPush(TidetablePushOperator):
    """Killed with all its parts sent; killed after the commit; failed after the version served."""

    attempt = 0

    def execute(self, context):
        self.attempt = context["ti"].try_number
        (FILES / f"try {self.attempt}").touch()
        from tidetable import PushSession

        commit, told = PushSession.commit, FILES / f"parts {self.attempt}"

        def noted(session, names, **options):
            told.write_text("\n".join(names))
            return die() if self.attempt == 1 else commit(session, names, **options)

        PushSession.commit = noted
        if self.attempt == 2:
            self._wait = lambda _: die()
        return super().execute(context)

    def execute_complete(self, context, event):
        self.attempt = context["ti"].try_number
        return super().execute_complete(context, event)

    def _settled(self, number):
        """Deferred until it served, or served already: both ways end here."""
        told = super()._settled(number)
        if self.attempt == 3:
            (FILES / f"{told['state']} {number}").touch()
            raise ArithmeticError("interrupted after the version served")
        return told


class InterruptedRollback(TidetableRollbackOperator):
    """Done, and then failed."""

    def execute(self, context):
        done = super().execute(context)
        if context["ti"].try_number == 1:
            raise ArithmeticError("interrupted after the rollback")
        return done


def dag(dag_id: str) -> DAG:
    return DAG(dag_id=dag_id, start_date=datetime(2026, 1, 1), schedule=None, catchup=False,
               default_args=THREE_RETRIES)


with dag("interrupted") as interrupted:
    InterruptedPush(
        task_id="push", dataset="interrupted", source=str(FILES / "good*.ndjson"), key="id", deferrable=True,
        poll_interval=0.2,
    )

with dag("refused") as refused:
    TidetablePushOperator(task_id="push", dataset="refused", source=str(FILES / "bad.ndjson"), key="id")

with dag("late") as late:
    TidetablePushOperator(task_id="push", dataset="late", source=str(FILES / "missing-*.csv"), key="id")

with dag("mapped") as mapped:
    TidetablePushOperator.partial(task_id="push", key="id", source=str(FILES / "good-1.ndjson")).expand(
        dataset=["mapped-a", "mapped-b"]
    )

with dag("back") as back:
    @task
    def ready() -> None:
        """Both pushes need something to go back from."""

    first = TidetablePushOperator(task_id="first", dataset="back", source=str(FILES / "good-1.ndjson"), key="id")
    second = TidetablePushOperator(task_id="second", dataset="back", source=str(FILES / "good-2.ndjson"), key="id")
    again = TidetableActivateOperator(
        task_id="again", dataset="back", version="{{ ti.xcom_pull(task_ids='second')['version'] }}",
    )
    undo = InterruptedRollback(
        task_id="undo", dataset="back", expect_current="{{ ti.xcom_pull(task_ids='second')['version'] }}",
    )
    ready() >> first >> second >> again >> undo

with dag("cleared") as cleared:
    pushed = TidetablePushOperator(
        task_id="push", dataset="cleared", source=str(FILES / "cleared.ndjson"), key="id", activate=False,
    )
    activated = TidetableActivateOperator(
        task_id="activate", dataset="cleared", version="{{ ti.xcom_pull(task_ids='push')['version'] }}",
    )
    pushed >> activated

with dag("undone") as undone:
    @task
    def look() -> int:
        return TidetableHook().get_conn().dataset("undone").current

    look() >> TidetableRollbackOperator(
        task_id="undo", dataset="undone", hold=False, expect_current="{{ ti.xcom_pull(task_ids='look') }}",
    )

with dag("undone_blindly") as undone_blindly:
    TidetableRollbackOperator(task_id="undo", dataset="undone_blindly", hold=False)
