-- The replication slots of the server, whichever database they are of, since all of them fill one disk; and its standbys, of
-- which a role without pg_read_all_stats sees no more than that they are there.
WITH here AS (
    SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                ELSE pg_catalog.pg_current_wal_lsn() END AS lsn
)
SELECT 'slot' AS what, s.slot_name::text AS name, s.active,
       greatest(pg_catalog.pg_wal_lsn_diff(here.lsn, s.restart_lsn), 0)::bigint AS bytes, s.wal_status
FROM pg_catalog.pg_replication_slots s CROSS JOIN here
UNION ALL
SELECT CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') THEN 'standby' ELSE 'hidden' END,
       coalesce(nullif(r.application_name, ''), 'unnamed'), true,
       greatest(pg_catalog.pg_wal_lsn_diff(here.lsn, r.replay_lsn), 0)::bigint, NULL
FROM pg_catalog.pg_stat_replication r CROSS JOIN here
-- A base backup replays nothing.
WHERE r.state IS DISTINCT FROM 'backup'
