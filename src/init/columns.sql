-- The columns of the tables $1, in their order. A domain is what it is made of.
SELECT a.attrelid,
       a.attname::text AS name,
       base.name AS type,
       a.attnotnull AS not_null,
       -- Given by the server, whether by a default, an identity or a generation.
       a.atthasdef OR a.attidentity <> '' AS given
FROM pg_catalog.pg_attribute a
JOIN LATERAL (
    WITH RECURSIVE made_of AS (
        SELECT a.atttypid AS type
        UNION ALL
        SELECT t.typbasetype FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype = 'd'
    )
    SELECT pg_catalog.format_type(m.type, NULL) AS name
    FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype <> 'd'
) base ON true
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
