"""Recommendations, every night: made, pushed, looked at, served; or rolled back.

The push makes one version however often it is tried. It is parked at `ready`, so that whatever is
to be checked before can be checked on the version itself, and then activated. Tried here with
`make test-airflow`; the connection `tidetable_default` names the server.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

try:  # Airflow 3
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models.dag import DAG

from tidetable_airflow.operators import TidetableActivateOperator, TidetablePushOperator
from tidetable_airflow.sensors import TidetableVersionSensor

# Where the batch job leaves its files: a directory per run, which every worker sees.
OUTPUT = os.environ.get("RECOMMENDATIONS_DIR", "/tmp/recommendations")

with DAG(
    dag_id="example_tidetable",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    tags=["tidetable"],
) as dag:

    @task
    def recommend(run_id: Any = None) -> str:
        """The batch job: here, three courses for each of a hundred learners."""
        directory = Path(OUTPUT, str(run_id).replace("/", "_"))
        directory.mkdir(parents=True, exist_ok=True)
        for part in range(2):
            with open(directory / f"part-{part}.ndjson", "w") as out:
                for learner in range(part, 100, 2):
                    for rank, course in enumerate(("databases", "networks", "statistics")):
                        score = round(1 - (learner * 7 + rank * 13) % 100 / 100, 2)
                        row = {"learner_id": learner, "course": course, "score": score}
                        out.write(json.dumps(row) + "\n")
        return str(directory)

    recommended = recommend()

    push = TidetablePushOperator(
        task_id="push",
        dataset="course-recs",
        source=recommended,
        key="learner_id",
        row_options={"format": "ndjson", "collect": True, "order_by": "score:desc", "limit": 20},
        activate=False,
        deferrable=True,
        poll_interval=1,
    )

    activate = TidetableActivateOperator(
        task_id="activate",
        dataset="course-recs",
        version="{{ ti.xcom_pull(task_ids='push')['version'] }}",
        reason="checked by the run {{ run_id }}",
    )

    # In the DAG of a consumer: its work begins once this run's version serves.
    served = TidetableVersionSensor(
        task_id="served", dataset="course-recs", version_label="{{ run_id }}", poke_interval=1, timeout=300,
    )

    push >> activate >> served
