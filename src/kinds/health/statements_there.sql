-- Whether pg_stat_statements is made in this database, and whether the server has loaded it: only then is there this setting. The
-- list of what is loaded is not for everybody to see.
SELECT e.extversion::text AS version,
       n.nspname::text AS schema,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_enter,
       pg_catalog.current_setting('pg_stat_statements.max', true) IS NOT NULL AS loaded,
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS may_read
FROM (SELECT) AS one
LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'pg_stat_statements'
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
