-- The statements of this database, of all roles together. Without their texts, which are not even read: they may hold secrets.
SELECT s.queryid, sum(s.calls)::bigint AS calls, sum(s.total_exec_time)::float8 / 1000 AS seconds
FROM {schema}.pg_stat_statements(false) s
WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  AND s.queryid IS NOT NULL
GROUP BY s.queryid
