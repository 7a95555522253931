-- How the request $1 stands: by what its daemon said, or else by its run's record. Its daemon is at work as long as somebody
-- holds the job's lock ($2) and the run's record is open: one that has died holds nothing.
SELECT q.taken_by,
       q.taken_at,
       q.finished_at IS NOT NULL AS is_closed,
       coalesce(q.outcome, r.outcome) AS outcome,
       q.skipped,
       coalesce(q.error, r.error) AS error,
       r.id IS NOT NULL AS has_begun,
       r.id IS NOT NULL AND EXISTS (
           SELECT FROM pg_catalog.pg_locks l
           WHERE l.locktype = 'advisory'
             AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
             AND l.granted
             AND l.objsubid = 1
             AND l.classid::bigint = (($2::bigint >> 32) & 4294967295)
             AND l.objid::bigint = ($2::bigint & 4294967295)
       ) AS is_at_work
FROM pgtend.request q LEFT JOIN pgtend.run r ON r.request_id = q.id
WHERE q.id = $1::text::uuid
