-- Of each hash of $1 that some row names: how many rows bear it, and after how many of the places $2, in order, the first of
-- those stands. One pass over the table, whatever the number of either.
SELECT sought.text, count(*), min(width_bucket(t.{order}, $2::text[]::{order_type}[]))
FROM (SELECT DISTINCT v AS text, v::{previous_type} AS value FROM unnest($1::text[]) AS v) AS sought
JOIN {table} AS t ON t.{hash} = sought.value
GROUP BY sought.text
