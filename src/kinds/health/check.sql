-- What the role may not do, and what the server is not set to.
SELECT pg_catalog.quote_ident(CURRENT_USER) AS role,
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
       pg_catalog.current_setting('archive_mode') <> 'off' AS archives,
       pg_catalog.has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE') AS may_look,
       EXISTS (SELECT FROM pg_catalog.pg_stat_get_wal_senders()) AS has_standbys,
       pg_catalog.current_setting('track_counts')::bool AS counts,
       ours.oid IS NULL AS no_schema,
       reading.oid IS NOT NULL AS is_there,
       CASE WHEN ours.oid IS NOT NULL THEN pg_catalog.has_schema_privilege(ours.oid, 'CREATE')
                                           AND pg_catalog.has_schema_privilege(ours.oid, 'USAGE') END AS may_make,
       CASE WHEN reading.oid IS NOT NULL THEN pg_catalog.has_table_privilege(reading.oid, 'SELECT')
                                              AND pg_catalog.has_table_privilege(reading.oid, 'INSERT')
                                              AND pg_catalog.has_table_privilege(reading.oid, 'UPDATE') END AS may_write
FROM (SELECT) AS one
LEFT JOIN pg_catalog.pg_namespace ours ON ours.nspname = 'pgtend'
LEFT JOIN pg_catalog.pg_class reading ON reading.relnamespace = ours.oid AND reading.relname = 'reading'
