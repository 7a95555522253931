-- Whether the roles $1 may put tables into the tablespaces $2, each with its place in the list.
SELECT w.place,
       s.oid IS NOT NULL AS exists,
       s.oid = d.dattablespace OR pg_catalog.has_tablespace_privilege(w.role, s.oid, 'CREATE') AS may_create
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(role, name, place)
JOIN pg_catalog.pg_database d ON d.datname = current_database()
LEFT JOIN pg_catalog.pg_tablespace s ON s.spcname = w.name
ORDER BY w.place
