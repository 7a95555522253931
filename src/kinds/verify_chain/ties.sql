-- How many rows stand at the places $1.
SELECT count(*) FROM {table} AS t WHERE t.{order} = ANY ($1::text[]::{order_type}[])
