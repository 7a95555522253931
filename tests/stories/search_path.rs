//! Whoever may create in a schema of the database's search path gets no code of theirs run by pgtend's role.

use crate::support::{Cluster, Database, Pgtend, majors_for_long, wait_until};

/// An application whose columns are of types for which the server has no operator of their own, so that one in `public`
/// fits better.
const THERE: &str = "
    CREATE ROLE intruder LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO intruder; CREATE SCHEMA archive;
    CREATE TABLE public.sessions (id varchar PRIMARY KEY, kind text, address varchar, expires_at timestamp NOT NULL);
    CREATE INDEX ON public.sessions (expires_at);
    CREATE TABLE public.devices (session_id varchar REFERENCES public.sessions);
    CREATE TABLE public.seen (session_id varchar REFERENCES public.sessions ON DELETE CASCADE);
    CREATE INDEX ON public.seen (session_id);
    INSERT INTO public.sessions SELECT n, 'old', 'key-' || n, now() + (n - 5) * interval '1 day' FROM generate_series(1, 9) n;
    INSERT INTO public.devices VALUES ('1'); INSERT INTO public.seen VALUES ('2'), ('3');
    CREATE TABLE public.audit_logs (id varchar PRIMARY KEY, created_at date);
    CREATE TABLE archive.audit_logs (LIKE public.audit_logs);
    INSERT INTO public.audit_logs SELECT n, now() - n * interval '1 year' FROM generate_series(0, 3) n;
    CREATE TABLE public.lines (id int, log_id varchar REFERENCES public.audit_logs ON DELETE CASCADE);
    INSERT INTO public.lines VALUES (1, '3'), (2, '0');
    CREATE TABLE public.policies (table_name varchar, retention_days int2, archive_enabled bool, delete_enabled bool, last_run_at timestamp);
    CREATE TABLE public.notes (created_at timestamptz); INSERT INTO public.notes VALUES (now() - interval '9 days');
    INSERT INTO public.policies VALUES ('notes', 3, false, true);
    CREATE TABLE public.events (at timestamptz NOT NULL, what varchar) PARTITION BY RANGE (at);
    CREATE TABLE public.events_default PARTITION OF public.events DEFAULT;
    CREATE TABLE public.events_old PARTITION OF public.events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
    INSERT INTO public.events VALUES ('2020-01-02Z', 'a'), ('2020-03-03Z', 'b'), (now(), 'c');
    CREATE TABLE public.months (month varchar NOT NULL) PARTITION BY LIST (month);
    CREATE TABLE public.months_default PARTITION OF public.months DEFAULT;
    CREATE TABLE public.months_2020_01 PARTITION OF public.months FOR VALUES IN ('2020-01');
    INSERT INTO public.months VALUES ('2020-01'), ('2020-03'), (to_char(now(), 'YYYY-MM'));
    CREATE TABLE public.days (day int4 NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE public.days_default PARTITION OF public.days DEFAULT;
    INSERT INTO public.days VALUES (20200101);
    CREATE TABLE public.epochs (at int8 NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE public.epochs_default PARTITION OF public.epochs DEFAULT;
    INSERT INTO public.epochs VALUES (1577836800);
    CREATE TABLE public.uuids (id uuid NOT NULL) PARTITION BY RANGE (id);
    CREATE TABLE public.uuids_default PARTITION OF public.uuids DEFAULT;
    INSERT INTO public.uuids VALUES ('016f5e66-e800-7000-8000-000000000000');
    CREATE TABLE public.error_log (category varchar, created_at timestamptz NOT NULL);
    INSERT INTO public.error_log SELECT NULLIF('c' || n % 3, 'c1'), now() - interval '1 year' FROM generate_series(1, 9) n;
    CREATE TABLE public.error_counts (date date, category varchar, count int2, UNIQUE (date, category));
    INSERT INTO public.error_counts SELECT (now() AT TIME ZONE 'UTC' - interval '1 year')::date, c, m
      FROM (VALUES (NULL, 1), ('c2', 32766)) AS v(c, m);
    CREATE FUNCTION public.passed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER passed BEFORE INSERT OR UPDATE ON public.error_counts FOR EACH ROW EXECUTE FUNCTION public.passed();
    CREATE MATERIALIZED VIEW public.totals AS SELECT kind, count(*) FROM public.sessions GROUP BY kind;
    CREATE UNIQUE INDEX ON public.totals (kind);
    CREATE TABLE public.chain (id int PRIMARY KEY, hash varchar NOT NULL, previous varchar);
    INSERT INTO public.chain VALUES (1, 'a', NULL), (2, 'b', 'a'), (3, 'x', 'b'), (4, 'c', 'y');
";

/// Operators and functions for operands that the server takes only after a conversion, and for rows of the catalog. Each
/// says in the server's log as whom it was run, which no ROLLBACK takes back, and is an error.
const PLANTED: &str = r#"
    SET search_path = pg_catalog;
    CREATE FUNCTION pg_temp.body() RETURNS text LANGUAGE sql AS $$
      SELECT 'BEGIN RAISE LOG ''taken over %'', current_user; RAISE EXCEPTION ''taken over''; END' $$;
    DO $plant$
    DECLARE
      types regtype[] := '{int2,int4,int8,numeric,float4,float8,text,varchar,name,"\"char\"",oid,bool,timestamptz,timestamp,date,interval,tid,regclass}';
      few regtype[] := '{text,varchar,name,int2,int4,int8,oid,timestamp,timestamptz,date,float4}';
      ours regnamespace := 'public';
      l regtype; r regtype; op text; result regtype; f text;
    BEGIN
      FOR l, r, op IN
        SELECT a, b, o FROM unnest(types) a, unnest(types) b,
          unnest('{=,<>,<,<=,>,>=,+,-,*,/,&,||,~~,!~~,~,!~}'::text[]) o
        WHERE NOT EXISTS (SELECT FROM pg_operator p WHERE p.oprname = o AND p.oprleft = a AND p.oprright = b)
      LOOP
        result := CASE WHEN op IN ('+', '-', '*', '/', '&', '||') THEN l ELSE 'bool' END;
        f := format('public.%I', 'op_' || md5(result::text || op));
        EXECUTE format('CREATE OR REPLACE FUNCTION %s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', f, l, r, result, pg_temp.body());
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s)', op, l, r, f);
      END LOOP;
      FOR l, op IN
        SELECT a, o FROM (
          SELECT a FROM unnest(types || '{text[],varchar[],name[],oid[],int2[],int4[],int8[],tid[],int2vector,uuid}'::regtype[]) a
          UNION SELECT c.reltype FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
        ) a(a),
        unnest('{abs,age,array_agg,array_length,bool_and,bool_or,btrim,cardinality,count,current_setting,format,host,jsonb_agg,
          length,lower,ltrim,max,md5,min,obj_description,pg_get_expr,quote_ident,quote_literal,replace,round,rtrim,row_to_json,string_agg,
          sum,to_json,to_jsonb,to_regclass,to_timestamp,trunc,unnest,upper}'::text[]) o
        WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = o AND p.pronargs = 1 AND p.proargtypes[0] = a
                          AND p.pronamespace = 'pg_catalog'::regnamespace)
      LOOP
        EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', op, l,
          CASE WHEN op IN ('to_json', 'to_jsonb', 'jsonb_agg') THEN 'jsonb' WHEN op IN ('count', 'length', 'cardinality') THEN 'int8'
               ELSE l::text END, pg_temp.body());
      END LOOP;
      FOR l, r, op IN
        SELECT a, b, o FROM unnest(few) a, unnest(few) b,
          unnest('{array_agg,array_length,array_remove,date_trunc,extract,date_part,format,generate_series,greatest_of,has_database_privilege,
            has_schema_privilege,has_table_privilege,"left",lpad,position,quote_nullable,round,split_part,starts_with,string_agg,strpos,
            substr,to_char,timezone}'::text[]) o
        WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = o AND p.pronargs = 2 AND p.proargtypes[0] = a
                          AND p.proargtypes[1] = b AND p.pronamespace = 'pg_catalog'::regnamespace)
      LOOP
        EXECUTE format('CREATE FUNCTION public.%I(%s, %s) RETURNS text LANGUAGE plpgsql AS %L', op, l, r, pg_temp.body());
      END LOOP;
    END $plant$;
"#;

/// All there is to do, by every kind.
const JOBS: &str = r#"
    [stores.local.directory]
    path = "store"
    [jobs.partitions.partitions]
    tables = [
      { table = "events", every = "1 month", ahead = 2 },
      { table = "months", every = "1 month", ahead = 2, key_format = "%Y-%m" },
      { table = "days", every = "1 month", ahead = 1, key_format = "%Y%m%d" },
      { table = "epochs", every = "1 month", ahead = 1, key_format = "epoch" },
      { table = "uuids", every = "1 month", ahead = 1, key_format = "uuidv7" },
    ]
    [jobs.retention.retention]
    tables = [
      { table = "events", keep = "12 months", export = "local" },
      { table = "months", keep = "12 months" },
      { table = "days", keep = "12 months" },
      { table = "epochs", keep = "12 months" },
      { table = "uuids", keep = "12 months" },
      { table = "lines", keep = "18 months", age_from = { table = "audit_logs", key = "log_id", column = "created_at" } },
      { table = "audit_logs", keep = "18 months", column = "created_at", action = "archive", to = "archive.audit_logs" },
    ]
    policies = { table = "policies", column = "created_at" }
    [jobs.expire.expire]
    tables = [{ table = "sessions", where = "kind = 'old'", objects = { column = "address", store = "local" } },
              { table = "seen", expression = "(SELECT expires_at FROM sessions WHERE kind = 'none' LIMIT 1)" }]
    [jobs.summarize.summarize]
    table = "error_log"
    into = "error_counts"
    older_than = "90 days"
    time = "created_at"
    date = "date"
    by = ["category"]
    count = "count"
    [jobs.refresh.refresh]
    views = ["*"]
    skip_unchanged = true
    [jobs.vacuum.vacuum]
    tables = ["public.*"]
    analyze = true
    [jobs.analyze.analyze]
    tables = ["public.*"]
    [jobs.health.health]
    [jobs.backup.backup]
    to = [{ store = "local" }]
    row_counts = true
    [jobs.restore.restore_test]
    backup = "backup"
    server = "main"
    queries = ["SELECT kind = 'old' FROM sessions LIMIT 1"]
    [jobs.chain.verify_chain]
    table = "chain"
    order_by = "id"
    hash = "hash"
    previous = "previous"
    [jobs.own.sql]
    statements = ["SELECT count(*) FROM sessions"]
"#;

/// Not as the role of pgtend, nor as anybody's whose tables it tends: nobody calls what was planted.
fn not_taken_over(db: &Database, after: &str) {
    let log = db.cluster().log();
    let taken: Vec<_> = log.lines().filter(|line| line.contains("taken over")).take(9).collect();
    let statement = log.lines().skip_while(|line| !line.contains("taken over")).skip(1).take(20).collect::<Vec<_>>();
    assert!(taken.is_empty(), "{after}: {taken:#?}\n{}", statement.join("\n"));
}

#[tokio::test]
async fn operators_and_functions_that_others_make_in_public_are_never_called() {
    for major in majors_for_long() {
        eprintln!("on PostgreSQL {major}");
        let db = Cluster::own(major).database().await;
        db.execute(THERE).await;
        db.client_as("intruder").await.batch_execute(PLANTED).await.unwrap_or_else(|e| panic!("{e:?}"));
        let program = Pgtend::tending(&db, JOBS).env("PGTEND_HURRY", "30");
        program.run(["check"]).await;
        not_taken_over(&db, "check");
        program.run(["plan"]).await;
        not_taken_over(&db, "plan");
        let jobs = [
            "partitions",
            "retention",
            "expire",
            "summarize",
            "refresh",
            "vacuum",
            "analyze",
            "health",
            "backup",
            "restore",
            "own",
        ];
        for job in jobs {
            let run = program.run(["run", job, "--json"]).await;
            not_taken_over(&db, job);
            let outcome = run.json().remove(0);
            // A group of the summary is full, which is said.
            let as_it_should = if job == "summarize" { "partial" } else { "succeeded" };
            let counts = "select coalesce(string_agg(c::text, ' '), '') from error_counts c";
            let counts = if job == "summarize" { db.scalar::<String>(counts).await } else { String::new() };
            assert_eq!(outcome["outcome"], as_it_should, "{outcome:#}\n{counts}\n{}", run.stderr);
        }
        program.run(["run", "chain"]).await.exits(1);
        not_taken_over(&db, "chain");
        program.run(["status"]).await.exits(0);
        program.run(["history"]).await.exits(0);
        program.run(["init", "--database-url", &db.url()]).await.exits(0);
        not_taken_over(&db, "status, history, init");

        let daemon = program.daemon().ready().await;
        program.run(["trigger", "health", "--wait"]).await.exits(0);
        let table = [("table", "public.events")];
        let seen = async || daemon.metric("pgtend_default_partition_rows", &table).await.is_some();
        wait_until("the gauges", seen).await;
        daemon.stop().await.exits(0);
        not_taken_over(&db, "daemon");
        // They would have been, by whoever asks without a care.
        let called = db.try_client_as("postgres").await.unwrap().query("SELECT 1.5::numeric * 2::int4", &[]).await;
        assert!(called.is_err(), "what was planted is there");
    }
}
