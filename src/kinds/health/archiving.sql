-- Whether WAL is archived, how the last attempt went, and whether the role may look at what is waiting.
SELECT pg_catalog.current_setting('archive_mode') <> 'off' AS enabled,
       -- archive_library is there from PostgreSQL 15 on.
       pg_catalog.current_setting('archive_command') = ''
           AND coalesce(pg_catalog.current_setting('archive_library', true), '') = '' AS idle,
       a.last_archived_time,
       a.failed_count,
       CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity') THEN a.last_failed_wal END AS failing,
       a.last_failed_time,
       pg_catalog.has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE') AS may_look
FROM pg_catalog.pg_stat_archiver a
