-- Which relations the query of each materialized view reads, be it through plain views: the materialized ones among them.
WITH RECURSIVE named AS (
    -- What the query of a view names. In older servers it names the view itself as well.
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.ev_type = '1'
),
reads AS (
    SELECT m.oid AS view, named.relation
    FROM pg_catalog.pg_class m
    JOIN named ON named.view = m.oid
    WHERE m.relkind = 'm'
  UNION
    SELECT reads.view, named.relation
    FROM reads
    JOIN pg_catalog.pg_class v ON v.oid = reads.relation AND v.relkind = 'v'
    JOIN named ON named.view = v.oid
)
SELECT reads.view, reads.relation, n.nspname::text, c.relname::text
FROM reads
JOIN pg_catalog.pg_class c ON c.oid = reads.relation AND c.relkind = 'm'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE reads.relation <> reads.view
