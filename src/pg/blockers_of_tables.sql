-- Who holds on table $1[i] a lock of mode $2[i], one line a session, with its statement, the oldest
-- transaction first.
WITH holder AS (
    SELECT l.pid, l.virtualtransaction, string_agg(DISTINCT l.relation::regclass::text, ', ') AS tables
    FROM unnest($1::oid[], $2::text[]) AS w(relation, mode)
    JOIN pg_catalog.pg_locks l
        ON l.locktype = 'relation' AND l.relation = w.relation AND l.mode = w.mode AND l.granted
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
    WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    GROUP BY l.pid, l.virtualtransaction
)
SELECT CASE
           -- A transaction prepared for two-phase commit has no process; it stays until somebody ends it. Which one it is
           -- cannot be told from a lock on a table, so all of this database are named.
           WHEN h.pid IS NULL THEN format(
               'a prepared transaction holds %s: %s', h.tables,
               coalesce(
                   (SELECT string_agg(format('%L of %s, %s old', p.gid, p.owner,
                                             date_trunc('second', clock_timestamp() - p.prepared)), ' or ')
                    FROM pg_catalog.pg_prepared_xacts p WHERE p.database = current_database()),
                   'ended since'))
           ELSE format('pid %s (%s, %s) holds %s, in its transaction for %s, %s', h.pid, coalesce(a.usename, '?'),
                       coalesce(nullif(a.application_name, ''), 'no application name'), h.tables,
                       coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'), coalesce(a.state, '?'))
       END,
       CASE WHEN h.pid IS NOT NULL THEN coalesce(a.query, '?') END
FROM holder h
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
ORDER BY a.xact_start, h.pid
LIMIT 5
