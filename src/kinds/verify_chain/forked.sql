-- For the same: predecessors that more than one row names, by the last row that does.
SELECT fork.place::text, count(*) OVER ()
FROM (SELECT (array_agg(t.{order} ORDER BY t.{order} DESC))[1] AS place
      FROM {table} AS t
      WHERE t.{previous} IS NOT NULL
      GROUP BY t.{previous}
      HAVING count(*) > 1) AS fork
ORDER BY fork.place
LIMIT 10
