-- Which of the names $1.$2 something has already: a relation of any kind, or a type, since a table comes with one.
WITH asked AS (
    SELECT n.oid AS namespace, asked.schema, asked.name
    FROM unnest($1::text[], $2::text[]) AS asked(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
)
SELECT asked.schema, asked.name
FROM asked
JOIN pg_catalog.pg_class c ON c.relnamespace = asked.namespace AND c.relname = asked.name
UNION ALL
SELECT asked.schema, asked.name
FROM asked
JOIN pg_catalog.pg_type t ON t.typnamespace = asked.namespace AND t.typname = asked.name
-- The server renames the array type of another type when its name is wanted.
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
