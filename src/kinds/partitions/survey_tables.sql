-- What the tables $1.$2 are, each with its place in the list; those that do not exist are left out.
WITH asked AS (
    SELECT schema, name, place
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(schema, name, place)
),
here AS (
    -- By way of JSON because older servers have no such column; theirs is the C library's.
    SELECT CASE coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
               WHEN 'b' THEN true
               WHEN 'c' THEN d.datcollate IN ('C', 'POSIX')
               ELSE false
           END AS bytewise
    FROM pg_catalog.pg_database d
    WHERE d.datname = current_database()
)
SELECT asked.place,
       c.oid,
       c.relkind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       current_user::text AS role,
       -- From 16 on a member need not be allowed to SET ROLE.
       pg_catalog.pg_has_role(c.relowner, 'MEMBER') AS may_act_as_owner,
       pg_catalog.has_schema_privilege(c.relowner, n.oid, 'USAGE') AS owner_uses_schema,
       pg_catalog.has_schema_privilege(c.relowner, n.oid, 'CREATE') AS owner_creates_in_schema,
       -- LIKE asks for it, even of an owner that has taken it from itself.
       pg_catalog.has_table_privilege(c.relowner, c.oid, 'SELECT') AS owner_reads,
       parent.name AS partition_of,
       above.bound AS within,
       p.partstrat AS strategy,
       a.attname::text AS key_column,
       -- As pg_get_partkeydef has it, which would wait for whoever has the table locked. Nearly all keys are one column.
       format('%s (%s)', CASE p.partstrat WHEN 'r' THEN 'RANGE' WHEN 'l' THEN 'LIST' ELSE 'HASH' END,
              CASE WHEN p.partnatts = 1 THEN coalesce(quote_ident(a.attname), 'an expression') ELSE (
                  SELECT string_agg(coalesce(quote_ident(k.attname), 'an expression'), ', ' ORDER BY w.place)
                  FROM unnest(p.partattrs::int2[]) WITH ORDINALITY AS w(attnum, place)
                  LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = w.attnum
              ) END) AS definition,
       p.partnatts AS key_columns,
       -- A domain is what it is made of; an expression what its operators work on.
       coalesce(base.name, pg_catalog.format_type(o.opcintype, NULL)) AS key_type,
       CASE l.collprovider
           WHEN 'd' THEN here.bytewise
           WHEN 'b' THEN true
           WHEN 'c' THEN l.collcollate IN ('C', 'POSIX')
           ELSE false
       END AS bytewise,
       p.partdefid AS default_oid
FROM asked
CROSS JOIN here
JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = asked.name
LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
LEFT JOIN LATERAL (
    WITH RECURSIVE made_of AS (
        SELECT a.atttypid AS type, a.atttypmod AS modifier
        UNION ALL
        SELECT t.typbasetype, t.typtypmod FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype = 'd'
    )
    SELECT pg_catalog.format_type(m.type, m.modifier) AS name
    FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype <> 'd'
) AS base ON true
LEFT JOIN pg_catalog.pg_opclass o ON o.oid = p.partclass[0]
LEFT JOIN pg_catalog.pg_collation l ON l.oid = p.partcollation[0]
-- A partition that is partitioned further by the same column holds no more than its own bound.
LEFT JOIN LATERAL (
    SELECT pg_catalog.pg_get_expr(c.relpartbound, 0) AS bound
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_partitioned_table q ON q.partrelid = i.inhparent AND q.partstrat = 'r' AND q.partdefid <> c.oid
    JOIN pg_catalog.pg_attribute k ON k.attrelid = q.partrelid AND k.attnum = q.partattrs[0]
    WHERE i.inhrelid = c.oid AND c.relispartition AND k.attname = a.attname
) AS above ON true
-- For whoever names a partition instead of the table it is one of.
LEFT JOIN LATERAL (
    SELECT i.inhparent::regclass::text AS name
    FROM pg_catalog.pg_inherits i
    WHERE i.inhrelid = c.oid AND c.relispartition AND p.partrelid IS NULL
) AS parent ON true
