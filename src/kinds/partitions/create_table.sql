-- The statement that makes a table apart, like the partitioned table $1, and the oid of the table it takes after.
--
-- $2, $3  schema and name of the new table
-- $4      tablespace, or NULL for what PARTITION OF would choose: the parent's
-- $5      NULL, or the default partition that it replaces: then it is like that one, not like the parent
--
-- What LIKE does not copy and what cannot be changed cheaply afterwards is said here: tablespace, UNLOGGED, access
-- method, and the storage parameters, which a partitioned table cannot have, so that they come from its newest partition.
-- Identity stays out: on 17 and later ATTACH refuses a partition that has its own, and gives the parent's to one without.
WITH model AS (
    SELECT c.oid, n.nspname, c.relname, c.relpersistence, c.relam, c.relkind, c.reloptions,
           t.reloptions AS toast_options, s.spcname
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
    LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.oid = coalesce(
        $5::oid,
        (SELECT max(i.inhrelid)
         FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent
         JOIN pg_catalog.pg_class leaf ON leaf.oid = i.inhrelid
         -- A foreign table has nothing that a table could take after, and no replica identity, which reads NOTHING.
         WHERE i.inhparent = $1::oid AND i.inhrelid <> p.partdefid AND leaf.relkind <> 'f'))
),
options AS (
    SELECT string_agg(format('%s%I = %L', o.prefix, o.option_name, o.option_value), ', ') AS list
    FROM (
        SELECT '' AS prefix, (pg_catalog.pg_options_to_table(m.reloptions)).* FROM model m
        UNION ALL
        SELECT 'toast.', (pg_catalog.pg_options_to_table(m.toast_options)).* FROM model m
    ) o
)
SELECT
    format(
        'CREATE %sTABLE %I.%I (LIKE %I.%I INCLUDING ALL EXCLUDING IDENTITY)%s%s%s',
        CASE coalesce(m.relpersistence, p.relpersistence) WHEN 'u' THEN 'UNLOGGED ' END,
        $2::text, $3::text,
        CASE WHEN $5::oid IS NULL THEN n.nspname ELSE m.nspname END,
        CASE WHEN $5::oid IS NULL THEN p.relname ELSE m.relname END,
        (SELECT format(' USING %I', a.amname) FROM pg_catalog.pg_am a WHERE a.oid = coalesce(m.relam, nullif(p.relam, 0))),
        ' WITH (' || o.list || ')',
        ' TABLESPACE ' || quote_ident(coalesce(
            $4::text, CASE WHEN $5::oid IS NOT NULL THEN m.spcname END,
            (SELECT s.spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = p.reltablespace)))
    ) AS statement,
    m.oid AS model,
    coalesce(m.relkind = 'p', false) AS model_is_parent
FROM pg_catalog.pg_class p
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
CROSS JOIN options o
LEFT JOIN model m ON true
WHERE p.oid = $1::oid
