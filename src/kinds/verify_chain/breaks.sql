-- Rows that do not name the hash of the row before them, in the order they stand in: the first that names anything, those
-- that name nothing, those that name another row or none. In a chain that is whole, and whose rows were written one after
-- the other, there are none. One pass, by the index where there is one; $1 of them at most.
SELECT linked.place::text, linked.previous::text, linked.nth
FROM (SELECT t.{order} AS place, t.{previous} AS previous,
             lag(t.{hash}) OVER in_order AS before,
             row_number() OVER in_order  AS nth
      FROM {table} AS t
      WINDOW in_order AS (ORDER BY t.{order})) AS linked
WHERE linked.previous IS DISTINCT FROM linked.before
ORDER BY linked.nth
LIMIT $1
