-- All tables, materialized views and partitioned tables that are no system's, with what is known of their need. The names
-- of what they are partitions or children of come along, at any depth, so that a tree can be named by its top.
WITH RECURSIVE up AS (
    SELECT i.inhrelid AS oid, i.inhparent AS ancestor
    FROM pg_catalog.pg_inherits i
  UNION -- and not UNION ALL: with multiple inheritance there are two ways to one ancestor
    SELECT up.oid, i.inhparent
    FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.ancestor
), me AS (
    -- Who may vacuum: whoever owns the table, or has its owner's role by inheritance, or owns the database; from 17 on
    -- the privilege is one that can be granted.
    SELECT pg_catalog.current_setting('server_version_num')::int >= 170000 AS can_be_granted,
           pg_catalog.current_setting('server_version_num')::int >= 160000 AS can_be_kept_from_setting,
           pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owns_database,
           pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8 AS vacuum_threshold,
           pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale,
           pg_catalog.current_setting('autovacuum_vacuum_insert_threshold')::float8 AS insert_threshold,
           pg_catalog.current_setting('autovacuum_vacuum_insert_scale_factor')::float8 AS insert_scale,
           pg_catalog.current_setting('autovacuum_analyze_threshold')::float8 AS analyze_threshold,
           pg_catalog.current_setting('autovacuum_analyze_scale_factor')::float8 AS analyze_scale,
           pg_catalog.current_setting('autovacuum_freeze_max_age')::float8 AS freeze_max_age,
           -- From 18 on: not more than that, however large the table.
           pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true)::float8 AS max_threshold
    FROM pg_catalog.pg_database d
    WHERE d.datname = current_database()
), relation AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relowner,
           greatest(c.reltuples, 0)::float8 AS tuples,
           greatest(CASE WHEN c.relfrozenxid <> '0'::xid THEN pg_catalog.age(c.relfrozenxid) END,
                    CASE WHEN t.relfrozenxid <> '0'::xid THEN pg_catalog.age(t.relfrozenxid) END, 0) AS xid_age,
           n.oid AS namespace,
           me.owns_database
               OR CASE WHEN me.can_be_granted THEN pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')
                       ELSE pg_catalog.pg_has_role(c.relowner, 'USAGE') END AS may,
           -- Who does not inherit from the owner may yet act as the owner.
           pg_catalog.pg_has_role(c.relowner, CASE WHEN me.can_be_kept_from_setting THEN 'SET' ELSE 'MEMBER' END) AS may_act,
           -- What the table itself sets stands before what the server does.
           (SELECT pg_catalog.jsonb_object_agg(o.option_name, o.option_value) FROM pg_catalog.pg_options_to_table(c.reloptions) o) AS options
    FROM pg_catalog.pg_class c
    CROSS JOIN me
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
    WHERE c.relkind IN ('r', 'm', 'p')
      -- Nobody but their session can read temporary tables, and ours has none.
      AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
)
SELECT r.oid,
       r.nspname::text AS schema,
       r.relname::text AS name,
       r.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(r.relowner)::text AS owner,
       CURRENT_USER::text AS role,
       CASE WHEN r.may THEN 'itself' WHEN r.may_act THEN 'as_owner' ELSE 'not' END AS may,
       CASE WHEN r.may OR NOT r.may_act THEN pg_catalog.has_schema_privilege(r.namespace, 'USAGE')
            ELSE pg_catalog.has_schema_privilege(r.relowner, r.namespace, 'USAGE') END AS may_enter,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid) AS has_children,
       coalesce(l.ancestors, '{}') AS ancestors,
       r.tuples,
       r.xid_age,
       me.freeze_max_age,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(r.oid), 0) AS dead,
       coalesce(pg_catalog.pg_stat_get_ins_since_vacuum(r.oid), 0) AS inserted,
       coalesce(pg_catalog.pg_stat_get_mod_since_analyze(r.oid), 0) AS modified,
       least(
           coalesce((r.options ->> 'autovacuum_vacuum_threshold')::float8, me.vacuum_threshold)
               + coalesce((r.options ->> 'autovacuum_vacuum_scale_factor')::float8, me.vacuum_scale) * r.tuples,
           -- -1 is no limit, of either.
           nullif(coalesce((r.options ->> 'autovacuum_vacuum_max_threshold')::float8, me.max_threshold), -1)
       ) AS vacuum_threshold,
       nullif(coalesce((r.options ->> 'autovacuum_vacuum_insert_threshold')::float8, me.insert_threshold), -1)
           + coalesce((r.options ->> 'autovacuum_vacuum_insert_scale_factor')::float8, me.insert_scale) * r.tuples
           AS insert_threshold,
       coalesce((r.options ->> 'autovacuum_analyze_threshold')::float8, me.analyze_threshold)
           + coalesce((r.options ->> 'autovacuum_analyze_scale_factor')::float8, me.analyze_scale) * r.tuples
           AS analyze_threshold,
       greatest(pg_catalog.pg_stat_get_last_vacuum_time(r.oid), pg_catalog.pg_stat_get_last_autovacuum_time(r.oid)) AS vacuumed_at,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(r.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(r.oid)) AS analyzed_at
FROM relation r
CROSS JOIN me
LEFT JOIN (SELECT up.oid, array_agg(up.ancestor) AS ancestors FROM up GROUP BY up.oid) l ON l.oid = r.oid
ORDER BY r.nspname, r.relname
