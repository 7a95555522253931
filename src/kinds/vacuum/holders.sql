-- Who keeps dead rows from being removed: to a snapshot as old as theirs, what was deleted after it is still there. Those
-- in whose transaction $1 seconds have gone by, the oldest snapshot first, in words, with their
-- statements. A VACUUM keeps nothing from another.
WITH holder AS (
    SELECT greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid)) AS age,
           CASE WHEN a.backend_type = 'walsender'
               THEN pg_catalog.format('the standby %s%s (pid %s), by hot_standby_feedback',
                                      coalesce(nullif(a.application_name, ''), 'without a name'),
                                      coalesce(' at ' || pg_catalog.host(a.client_addr), ''), a.pid)
               ELSE pg_catalog.format('pid %s (%s, %s), in its transaction for %s, %s', a.pid, coalesce(a.usename, '?'),
                                      coalesce(nullif(a.application_name, ''), 'no application name'),
                                      coalesce(date_trunc('second', clock_timestamp() - a.xact_start)::text, '?'),
                                      coalesce(a.state, '?'))
           END AS words,
           CASE WHEN a.backend_type <> 'walsender' THEN coalesce(a.query, '?') END AS statement
    FROM pg_catalog.pg_stat_activity a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
      AND a.pid <> pg_catalog.pg_backend_pid()
      AND (a.datname = current_database() OR a.backend_type = 'walsender')
      AND a.backend_type <> 'autovacuum worker'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
      AND (a.xact_start IS NULL AND $1::float8 = 0 OR clock_timestamp() - a.xact_start >= $1 * interval '1 second')
  UNION ALL
    -- One that nobody ends holds on for ever.
    SELECT pg_catalog.age(p.transaction),
           pg_catalog.format('prepared transaction %L of %s, %s old (COMMIT PREPARED or ROLLBACK PREPARED ends it)', p.gid,
                             p.owner, date_trunc('second', clock_timestamp() - p.prepared)),
           NULL
    FROM pg_catalog.pg_prepared_xacts p
    WHERE p.database = current_database() AND clock_timestamp() - p.prepared >= $1 * interval '1 second'
  UNION ALL
    -- That of a standby that is connected moves on with it.
    SELECT pg_catalog.age(s.xmin),
           pg_catalog.format('replication slot %s%s', s.slot_name,
                             CASE WHEN s.active THEN ', by hot_standby_feedback'
                                  ELSE ', which nobody reads (pg_drop_replication_slot ends it)' END),
           NULL
    FROM pg_catalog.pg_replication_slots s
    WHERE s.xmin IS NOT NULL AND (NOT s.active OR $1 = 0)
)
SELECT h.words, h.statement FROM holder h WHERE h.age IS NOT NULL ORDER BY h.age DESC, h.words LIMIT 5
