-- Of each hash of $1: how many rows name it as that of the row before.
SELECT sought.text, count(*)
FROM (SELECT DISTINCT v AS text, v::{previous_type} AS value FROM unnest($1::text[]) AS v) AS sought
JOIN {table} AS t ON t.{previous} = sought.value
GROUP BY sought.text
HAVING count(*) > 1
