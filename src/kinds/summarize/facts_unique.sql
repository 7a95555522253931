-- The unique indexes of $1: on which columns, and whether ON CONFLICT can go by them.
SELECT c.relname::text AS name,
       -- Without a name where it is an expression.
       ARRAY(
           SELECT coalesce(a.attname::text, '')
           FROM generate_series(0, i.indnkeyatts - 1) AS n
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] AND a.attnum > 0
           ORDER BY n
       ) AS columns,
       i.indpred IS NOT NULL AS partial,
       i.indimmediate AS immediate,
       i.indisvalid AND i.indisready AS valid,
       -- By way of JSON because servers before 15 have no such column.
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_alike,
       -- What is equal by the column and not by the index, or the other way round, would be counted wrong.
       EXISTS (
           SELECT
           FROM generate_series(0, i.indnkeyatts - 1) AS n
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] AND a.attcollation <> i.indcollation[n]
           JOIN pg_catalog.pg_collation l ON l.oid IN (a.attcollation, i.indcollation[n]) AND NOT l.collisdeterministic
       ) AS other_collation
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::oid AND i.indisunique
ORDER BY i.indisprimary DESC, c.relname
