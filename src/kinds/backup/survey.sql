-- The database that is dumped, and the server it is on.
SELECT current_setting('server_version_num')::int                              AS version_num,
       split_part(current_setting('server_version'), ' ', 1)                   AS version,
       d.datname::text                                                         AS database,
       d.oid                                                                   AS database_oid,
       pg_catalog.pg_database_size(d.oid)                                      AS size,
       (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c) AS system_identifier,
       (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() c)        AS timeline,
       pg_catalog.pg_is_in_recovery()                                          AS standby,
       pg_catalog.pg_encoding_to_char(d.encoding)::text                        AS encoding,
       d.datcollate::text                                                      AS collate,
       d.datctype::text                                                        AS ctype,
       -- Columns that not every version has; two of them were one before 17.
       to_jsonb(d) ->> 'datlocprovider'                                        AS provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')   AS locale,
       to_jsonb(d) ->> 'daticurules'                                           AS rules,
       has_table_privilege('pg_catalog.pg_authid', 'SELECT')                   AS reads_passwords,
       ARRAY(SELECT e.extname::text FROM pg_catalog.pg_extension e ORDER BY e.extname)    AS extension_names,
       ARRAY(SELECT e.extversion::text FROM pg_catalog.pg_extension e ORDER BY e.extname) AS extension_versions
FROM pg_catalog.pg_database d
WHERE d.datname = current_database()
