-- The indexes of the tables $1 that can be used, with their key columns; an expression among them is NULL.
SELECT k.indrelid,
       k.indisprimary AS is_primary,
       k.indisunique AS is_unique,
       k.indpred IS NOT NULL AS partial,
       ARRAY(SELECT a.attname::text
             FROM unnest(k.indkey::int2[]) WITH ORDINALITY AS key(attnum, nth)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = key.attnum
             WHERE key.nth <= k.indnkeyatts
             ORDER BY key.nth) AS columns
FROM pg_catalog.pg_index k
WHERE k.indrelid = ANY ($1::oid[]) AND k.indisvalid
ORDER BY k.indrelid, k.indexrelid
