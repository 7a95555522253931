-- The foreign keys that point at $1. Of a key of a partitioned table only the topmost entry counts: those of its
-- partitions say the same again.
SELECT f.conname::text,
       n.nspname::text,
       c.relname::text,
       f.confdeltype,
       ARRAY(
           SELECT a.attname::text
           FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum
           ORDER BY k.place
       ),
       ARRAY(
           SELECT a.attname::text
           FROM unnest(f.confkey) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum
           ORDER BY k.place
       ),
       ARRAY(
           SELECT format('OPERATOR(%I.%s)', o.nspname, p.oprname)
           FROM unnest(f.conpfeqop) WITH ORDINALITY AS k(operator, place)
           JOIN pg_catalog.pg_operator p ON p.oid = k.operator
           JOIN pg_catalog.pg_namespace o ON o.oid = p.oprnamespace
           ORDER BY k.place
       ),
       -- A whole, valid index that begins with the first column of the key, which is mostly what tells its rows apart, or
       -- whose first columns are those of the key, in any order.
       EXISTS (
           SELECT FROM pg_catalog.pg_index i
           WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
             AND ((i.indkey::int2[])[0] = f.conkey[1]
                  OR (i.indnkeyatts >= cardinality(f.conkey)
                      AND NOT EXISTS (
                          SELECT FROM unnest(f.conkey) AS k(attnum)
                          WHERE k.attnum <> ALL ((i.indkey::int2[])[0:cardinality(f.conkey) - 1])
                      )))
       ),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
           AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
           AND NOT pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND f.confrelid = $1::oid
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = f.conparentid AND p.confrelid = f.confrelid)
ORDER BY 2, 3, 1
