"""Tidetable in Airflow: what a batch job worked out becomes a version of a dataset, once per run."""

from __future__ import annotations

from typing import Any, Dict

__version__ = "0.1.0"


def get_provider_info() -> Dict[str, Any]:
    """What Airflow asks for, by the entry point `apache_airflow_provider`."""
    return {
        "package-name": "tidetable-airflow",
        "name": "Tidetable",
        "description": "Tidetable, an online key-value datastore for what batch jobs work out.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "tidetable",
                "hook-class-name": "tidetable_airflow.hook.TidetableHook",
            }
        ],
    }
