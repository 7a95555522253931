-- Who has one of the transactions $1, or a lock on table $2 that lets nobody delete from it; and its statement.
WITH holder AS (
    SELECT DISTINCT l.pid, l.virtualtransaction
    FROM pg_catalog.pg_locks l
    WHERE l.granted
      AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND (
          (l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.transactionid::text = ANY ($1::text[]))
          OR (
              l.locktype = 'relation' AND l.relation = $2::oid
              AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
              AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
          )
      )
)
SELECT CASE
           -- A transaction prepared for two-phase commit has no process; it stays until somebody ends it.
           WHEN h.pid IS NULL THEN coalesce(
               (SELECT pg_catalog.format('prepared transaction %L of %s, %s old', p.gid, p.owner, date_trunc('second', clock_timestamp() - p.prepared))
                FROM pg_catalog.pg_prepared_xacts p WHERE p.transaction::text = ANY ($1::text[]) LIMIT 1),
               'a prepared transaction')
           ELSE pg_catalog.format('pid %s (%s, %s), in its transaction for %s, %s', h.pid, coalesce(a.usename, '?'),
                       coalesce(nullif(a.application_name, ''), 'no application name'),
                       coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'), coalesce(a.state, '?'))
       END,
       CASE WHEN h.pid IS NOT NULL THEN coalesce(a.query, '?') END
FROM holder h
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
ORDER BY h.pid
LIMIT 5
