-- The columns of table $1, a partition of $2 until now, that say which row is its last, and what of that row is noted.
WITH key AS (
    SELECT a.attname AS name, 0 AS place
    FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] AND a.attnum > 0
    WHERE p.partrelid = $2
  UNION ALL
    SELECT a.attname, k.place::int
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = $1 AND i.indisprimary
),
noted AS (
    SELECT name, min(place) AS place, true AS is_order FROM key GROUP BY name
  UNION ALL
    -- By name: hash, prev_hash, digest, checksum, hmac, sha256, signature and so on
    SELECT a.attname, 1000 + a.attnum, false
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname ~* '(hash|digest|checksum|hmac|sha[0-9]|md5|signature|mac$)'
      AND a.attname NOT IN (SELECT name FROM key)
)
SELECT name::text, is_order FROM noted ORDER BY place, name
