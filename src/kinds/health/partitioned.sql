-- Partitioned tables whose key begins with a time; and those of $1 (schemas) and $2 (names), of which a job says how theirs
-- says time.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_catalog.pg_partitioned_table p
JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_opclass o ON o.oid = p.partclass[0]
WHERE p.partstrat <> 'h'
  AND c.relpersistence <> 't'
  AND (o.opcintype IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
       OR EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS told(schema, name)
                  WHERE told.schema = n.nspname AND told.name = c.relname))
ORDER BY 1, 2
