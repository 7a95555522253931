-- How a bound of the partitioned table $1 with the values $2 is written: the values as literals of the server's quoting,
-- and the first key column. The literals are untyped, so that they become values of the key's own type.
SELECT
    (SELECT array_agg(quote_literal(v.value) ORDER BY v.n) FROM unnest($2::text[]) WITH ORDINALITY AS v(value, n)) AS literals,
    -- Nothing where the key begins with an expression.
    format('%I', a.attname)
        || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                     FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                     WHERE c.oid = p.partcollation[0] AND c.oid <> a.attcollation), '') AS key,
    -- Of a domain what it is made of: whoever asks need not be allowed to use the domain.
    (
        WITH RECURSIVE made_of AS (
            SELECT a.atttypid AS type, a.atttypmod AS modifier
            UNION ALL
            SELECT t.typbasetype, t.typtypmod FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype = 'd'
        )
        SELECT pg_catalog.format_type(m.type, m.modifier)
        FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.type AND t.typtype <> 'd'
    ) AS type,
    -- A RANGE key has no NULL in any of its columns.
    coalesce((SELECT string_agg(format(' AND %I IS NOT NULL', o.attname), '')
              FROM pg_catalog.pg_attribute o
              WHERE p.partstrat = 'r' AND o.attrelid = p.partrelid AND o.attnum = ANY (p.partattrs::int2[])
                AND o.attnum <> a.attnum), '') AS others
FROM pg_catalog.pg_partitioned_table p
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] AND a.attnum > 0
WHERE p.partrelid = $1::oid
