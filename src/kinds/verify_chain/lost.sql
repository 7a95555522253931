-- For chains whose order is not that of the rows: rows whose predecessor is not there, ten of them with the number of all.
-- $1: hashes that are known to be gone.
SELECT t.{order}::text, count(*) OVER ()
FROM {table} AS t
WHERE t.{previous} IS NOT NULL
  AND t.{previous}::text <> ALL ($1::text[])
  AND NOT EXISTS (SELECT FROM {table} AS p WHERE p.{hash} = t.{previous})
ORDER BY t.{order}
LIMIT 10
