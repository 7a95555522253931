-- Closes runs whose daemon is gone: they are open, yet nobody holds their job's lock. A live run holds the lock from
-- before its row is written until after it is closed; the rows are read before the locks are, so a run that ends
-- meanwhile is not touched, its row being closed by then.
UPDATE pgtend.run r
SET finished_at = $3,
    outcome = 'failed',
    details = r.details || pg_catalog.jsonb_build_object('daemon_died', true),
    error = format('the daemon that ran this (pid %s on %s) died or lost its connection before the end', r.pid, r.host)
FROM unnest($1::text[], $2::bigint[]) AS j(job, key)
WHERE r.job = j.job
  AND r.finished_at IS NULL
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_locks l
      WHERE l.locktype = 'advisory'
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
        AND l.granted
        AND l.objsubid = 1
        AND l.classid::bigint = ((j.key >> 32) & 4294967295)
        AND l.objid::bigint = (j.key & 4294967295)
  )
RETURNING r.id, r.job
