-- How many tables a dump of the whole database locks, and how many locks there is room for in the server's table of them, which
-- all its sessions share.
SELECT (SELECT count(*)
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p')
          AND c.relpersistence <> 't'
          AND n.nspname <> 'information_schema'
          AND n.nspname !~ '^pg_') AS tables,
       current_setting('max_locks_per_transaction')::bigint AS per_transaction,
       current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint AS transactions
