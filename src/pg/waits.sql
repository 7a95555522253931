-- Whom session $1 waits for, in words, and what that one is at. A blocking pid of 0 is a prepared transaction, which has no process.
SELECT CASE
           WHEN b.pid = 0 THEN 'a prepared transaction (see pg_prepared_xacts)'
           ELSE pg_catalog.format('pid %s (%s, %s), in its transaction for %s, %s', b.pid, coalesce(a.usename, '?'),
                       coalesce(nullif(a.application_name, ''), 'no application name'),
                       coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'), coalesce(a.state, '?'))
       END,
       CASE WHEN b.pid <> 0 THEN coalesce(a.query, '?') END
FROM (SELECT DISTINCT pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) AS pid) b
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
ORDER BY b.pid
LIMIT 5
