-- Which of these extensions cannot be made here, and why: not installed, or not for a role that is no superuser.
SELECT wanted.name                                 AS name,
       bool_or(v.name IS NOT NULL)                 AS installed,
       coalesce(bool_or(v.trusted OR NOT v.superuser), false) AS allowed
FROM unnest($1::text[]) AS wanted(name)
LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = wanted.name
GROUP BY wanted.name
ORDER BY 1
