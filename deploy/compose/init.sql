-- The database of deploy/compose.yaml, made at its first start: a small application's, and the role that tends it. psql reads
-- this; the password is in no log and in no list of processes.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/pgtend_db_password`

CREATE ROLE app NOLOGIN;
CREATE ROLE pgtend LOGIN PASSWORD :'password';

GRANT CREATE ON SCHEMA public TO app;
SET ROLE app;
CREATE TABLE public.sessions (
    id         uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ON public.sessions (expires_at);
CREATE TABLE public.events (
    at   timestamptz NOT NULL,
    what text
) PARTITION BY RANGE (at);
RESET ROLE;

-- Its history.
CREATE SCHEMA pgtend AUTHORIZATION pgtend;
-- Only the owner of a table may give it a partition; and an owner may delete rows.
GRANT app TO pgtend;
-- For the backup.
GRANT pg_read_all_data TO pgtend;
