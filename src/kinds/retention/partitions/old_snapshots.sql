-- Who has had a snapshot for more than $1 seconds, one line a session, with its statement, the oldest first: FINALIZE waits for all of them,
-- whatever they read, but not for VACUUM and CREATE INDEX CONCURRENTLY.
SELECT format('pid %s (%s, %s) has a snapshot from before, in its transaction for %s, %s', a.pid, coalesce(a.usename, '?'),
              coalesce(nullif(a.application_name, ''), 'no application name'),
              coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'), coalesce(a.state, '?')),
       coalesce(a.query, '?')
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database()
  AND a.backend_type = 'client backend'
  AND a.backend_xmin IS NOT NULL
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < clock_timestamp() - $1::float8 * interval '1 second'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index i
                  WHERE i.pid = a.pid AND i.command = 'CREATE INDEX CONCURRENTLY')
ORDER BY a.xact_start
LIMIT 5
