-- For how many seconds somebody has been waiting for session $1. If $2, it holds nothing while it waits for transactions to
-- end, and the locks of the whole server need not be gone through. PostgreSQL 14 or newer.
SELECT CASE
           WHEN $2::boolean AND a.wait_event = 'virtualxid' THEN 0
           ELSE coalesce(
               (SELECT extract(epoch FROM max(clock_timestamp() - l.waitstart))
                FROM pg_catalog.pg_locks l
                WHERE NOT l.granted AND l.pid <> a.pid
                  -- A dump of ours, which waits until no change of the schema is under way, is in no hurry: it is worth
                  -- breaking off only what would wait for the dump in turn.
                  AND NOT ($2 AND l.locktype = 'advisory')
                  AND a.pid = ANY (pg_catalog.pg_blocking_pids(l.pid))), 0)
       END::float8
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1
