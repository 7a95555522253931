-- Who has been in a transaction of this database, since when and from which snapshot on; and who else keeps dead rows from
-- being removed: prepared transactions, replication slots, standbys by hot_standby_feedback. Never a query: it may hold a
-- secret. The first row says whether the role sees the others' transactions.
SELECT 'sight' AS what, NULL::text AS words, NULL::float8 AS seconds, NULL::bigint AS xids,
       NOT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS hidden
UNION ALL
SELECT CASE WHEN a.backend_type = 'walsender' THEN 'standby' ELSE 'transaction' END,
       pg_catalog.format('%s (%s, %s)%s',
                         CASE WHEN a.backend_type = 'walsender' THEN 'the standby of pid ' ELSE 'pid ' END || a.pid,
                         coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), 'no application name'),
                         ', ' || a.state),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
       greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid))::bigint,
       false
FROM pg_catalog.pg_stat_activity a
WHERE (a.xact_start IS NOT NULL OR a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND (a.datname = current_database() OR a.backend_type = 'walsender')
  AND a.backend_type <> 'autovacuum worker'
  -- A VACUUM keeps nothing from another.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
UNION ALL
SELECT 'prepared', pg_catalog.format('prepared transaction %L of %s', p.gid, p.owner),
       extract(epoch FROM clock_timestamp() - p.prepared)::float8, pg_catalog.age(p.transaction)::bigint, false
FROM pg_catalog.pg_prepared_xacts p
WHERE p.database = current_database()
UNION ALL
SELECT 'slot', 'replication slot ' || s.slot_name, NULL, pg_catalog.age(s.xmin)::bigint, false
FROM pg_catalog.pg_replication_slots s
WHERE s.xmin IS NOT NULL
