"""Dagster's own storage, in the database that the night works in.

Here: its URL from REFRESH_DATABASE_URL, its schema, SQLite where no database is set (so that definitions can be listed and
checked anywhere). Not here: our tables (store/). dagster.yaml names the class below."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from refresh_assets.settings import DAGSTER_SCHEMA, load
from refresh_assets.store.database import ENCODING

URL_VARIABLE = "DAGSTER_POSTGRES_URL"
"""Holds the URL for this process and the workers that it starts: a configuration names it, and never the URL itself."""


class NightStorage(DagsterStorage, ConfigurableClass):
    """Never an instance: made into Dagster's PostgreSQL storage, or its SQLite one."""

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return None

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,  # noqa: ARG003
        config_value: dict[str, Any],  # noqa: ARG003
    ) -> DagsterStorage:
        settings = load()
        if settings.database_url is None:
            folder = Path(os.environ.get("DAGSTER_HOME") or tempfile.gettempdir()) / "refresh-dagster"
            folder.mkdir(parents=True, exist_ok=True)
            return DagsterSqliteStorage(str(folder))
        from dagster_postgres import DagsterPostgresStorage

        url = storage_url(settings.sqlalchemy_url())
        _create_schema(settings.psycopg_url())
        os.environ[URL_VARIABLE] = url
        named = ConfigurableClassData(
            "dagster_postgres", "DagsterPostgresStorage", f"postgres_url:\n  env: {URL_VARIABLE}\n"
        )
        return DagsterPostgresStorage.from_config_value(named, {"postgres_url": url})


def storage_url(sqlalchemy_url: str) -> str:
    """The URL of Dagster's storage: psycopg 2, as dagster-postgres needs it, a schema of its own, and tags in whatever
    letters."""
    rest, mark, query = sqlalchemy_url.partition("://")[2].partition("?")
    kept = [one for one in query.split("&") if mark and one and not one.startswith("client_encoding=")]
    query = "&".join([*kept, f"options=-csearch_path%3D{DAGSTER_SCHEMA}", f"client_encoding={ENCODING}"])
    return f"postgresql+psycopg2://{rest}?{query}"


def _create_schema(psycopg_url: str) -> None:
    import psycopg
    from psycopg.sql import SQL, Identifier

    with psycopg.connect(psycopg_url, autocommit=True) as connection:
        row = connection.execute("select to_regnamespace(%s) is not null", [DAGSTER_SCHEMA]).fetchone()
        if not (row and row[0]):
            connection.execute(SQL("create schema if not exists {}").format(Identifier(DAGSTER_SCHEMA)))
