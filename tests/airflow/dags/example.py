"""The example DAG of the package, as it is installed."""

from tidetable_airflow.example_dags.example_tidetable import dag

__all__ = ["dag"]
