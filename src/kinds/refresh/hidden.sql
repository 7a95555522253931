-- Tables whose rows row security hides from whoever reads them for the materialized views $1: the owner of the view that
-- names them, which for the query of a plain view is that view's, unless it was made to be read as whoever asks.
WITH RECURSIVE named AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.ev_type = '1'
),
reads AS (
    SELECT m.oid AS view, named.relation, m.relowner AS reader
    FROM pg_catalog.pg_class m JOIN named ON named.view = m.oid
    WHERE m.oid = ANY ($1::oid[])
  UNION
    SELECT reads.view, named.relation,
           CASE WHEN v.reloptions && '{security_invoker=true,security_invoker=on,security_invoker=yes,security_invoker=1}'
                THEN reads.reader ELSE v.relowner END
    FROM reads
    JOIN pg_catalog.pg_class v ON v.oid = reads.relation AND v.relkind = 'v'
    JOIN named ON named.view = v.oid
)
SELECT DISTINCT reads.view, n.nspname::text, c.relname::text, r.rolname::text
FROM reads
JOIN pg_catalog.pg_class c ON c.oid = reads.relation AND c.relrowsecurity
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = reads.reader
WHERE NOT (r.rolsuper OR r.rolbypassrls)
  AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
ORDER BY 1, 2, 3
