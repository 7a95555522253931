-- What is to be known of the partitions $1 before one of them goes, with all that is under each. Those in $2 would move to
-- the schema beside them in $3.
WITH RECURSIVE tree AS (
    SELECT w.oid AS root, w.oid FROM unnest($1::oid[]) AS w(oid)
  UNION
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
),
within AS (
    SELECT tree.root,
           array_agg(n.nspname::text ORDER BY n.nspname, c.relname) AS schemas,
           array_agg(c.relname::text ORDER BY n.nspname, c.relname) AS names,
           -- Never counted: -1, or before 14 a 0 like that of an empty table.
           CASE WHEN bool_and(c.reltuples > 0 OR (c.reltuples = 0 AND current_setting('server_version_num')::int >= 140000))
                         FILTER (WHERE c.relkind = 'r')
                THEN sum(c.reltuples) FILTER (WHERE c.relkind = 'r') END::float8 AS estimate
    FROM tree
    JOIN pg_catalog.pg_class c ON c.oid = tree.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    GROUP BY tree.root
),
-- All that something else may depend on: the tables, and the types that come with them.
thing AS (
    SELECT root, 'pg_catalog.pg_class'::regclass::oid AS class, oid FROM tree
  UNION ALL
    SELECT tree.root, 'pg_catalog.pg_type'::regclass::oid, t.oid
    FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
    JOIN pg_catalog.pg_type r ON r.oid = c.reltype
    CROSS JOIN LATERAL (VALUES (r.oid), (r.typarray)) AS t(oid)
),
dependents AS (
    SELECT thing.root,
           array_agg(DISTINCT CASE
               WHEN v.relkind IN ('v', 'm') THEN
                   format('%s %I.%I', CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, vn.nspname, v.relname)
               ELSE pg_catalog.pg_describe_object(d.classid, d.objid, 0)
           END) AS said
    FROM thing
    JOIN pg_catalog.pg_depend d ON d.refclassid = thing.class AND d.refobjid = thing.oid AND d.deptype = 'n'
    LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
    LEFT JOIN pg_catalog.pg_class v ON v.oid = w.ev_class
    LEFT JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
    LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_catalog.pg_trigger g ON d.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = d.objid
    LEFT JOIN pg_catalog.pg_policy p ON d.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = d.objid
    -- What belongs to the tables themselves goes with them, and keys that were passed down to a partition end with it.
    WHERE coalesce(k.conparentid, 0) = 0
      AND NOT EXISTS (
          SELECT FROM tree own
          WHERE own.root = thing.root
            AND own.oid IN (w.ev_class, k.conrelid, f.adrelid, g.tgrelid, p.polrelid,
                            CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid END))
    GROUP BY thing.root
),
moving AS (
    SELECT w.root, bool_or(c.oid IS NOT NULL OR t.oid IS NOT NULL) AS name_taken
    FROM unnest($2::oid[], $3::text[]) AS w(root, schema)
    JOIN tree ON tree.root = w.root
    JOIN pg_catalog.pg_class own ON own.oid = tree.oid
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = own.relname
    LEFT JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = own.relname
    GROUP BY w.root
)
SELECT c.oid,
       c.relkind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       coalesce(pg_catalog.pg_has_role(c.relowner, 'MEMBER'), false) AS may_act,
       may.lock AS may_lock,
       -- Without its table, or it would wait for whoever has that one locked.
       coalesce(pg_catalog.pg_get_expr(c.relpartbound, 0), '') AS bound,
       within.schemas,
       within.names,
       within.estimate,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
       -- tgtype: bit 1 BEFORE, bit 3 DELETE.
       ARRAY(SELECT DISTINCT g.tgname::text FROM tree JOIN pg_catalog.pg_trigger g ON g.tgrelid = tree.oid
             WHERE tree.root = c.oid AND g.tgenabled IN ('O', 'A') AND g.tgtype & 10 = 10 ORDER BY 1) AS delete_triggers,
       array_remove(coalesce(dependents.said, '{}'), NULL) AS dependents,
       coalesce(moving.name_taken, false) AS name_taken
FROM within
JOIN pg_catalog.pg_class c ON c.oid = within.root
LEFT JOIN dependents ON dependents.root = c.oid
LEFT JOIN moving ON moving.root = c.oid
-- What LOCK TABLE .. IN ACCESS EXCLUSIVE MODE asks for, even of the owner. Unknown of a table that somebody has dropped since
-- this query began.
CROSS JOIN LATERAL (
    SELECT pg_catalog.has_table_privilege(c.relowner, c.oid, 'UPDATE, DELETE, TRUNCATE') AS lock OFFSET 0
) AS may
WHERE may.lock IS NOT NULL
