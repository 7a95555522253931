-- Who has had table $1 open for more than $2 seconds, one line a session, with its statement, the oldest first.
SELECT CASE
           WHEN l.pid IS NULL THEN 'a prepared transaction holds it (see pg_prepared_xacts)'
           ELSE format('pid %s (%s, %s) holds it, in its transaction for %s, %s', l.pid, coalesce(a.usename, '?'),
                       coalesce(nullif(a.application_name, ''), 'no application name'),
                       coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'), coalesce(a.state, '?'))
       END,
       CASE WHEN l.pid IS NOT NULL THEN coalesce(a.query, '?') END
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation'
  AND l.relation = $1::oid
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  AND l.granted
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  -- Not autovacuum, which is waited for by nobody: DETACH CONCURRENTLY passes beside it.
  AND l.mode <> 'ShareUpdateExclusiveLock'
  AND (l.pid IS NULL OR a.xact_start < clock_timestamp() - $2::float8 * interval '1 second')
ORDER BY a.xact_start NULLS FIRST
LIMIT 5
