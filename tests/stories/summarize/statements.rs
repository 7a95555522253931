//! The one statement of a batch, stopped where it waits for somebody who is at the summary, and let go on.

use pgtend::pg::batch::{Access, Cutoff, Deletion, Form, Into, Summary};
use pgtend::pg::{Ident, TableName};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::*;
use crate::support::wait_until;

/// Three rows of one group, and a summary that has its row; `null` is the category of all of them.
fn tables(null: &str) -> String {
    format!(
        "DROP TABLE IF EXISTS error_log, error_log_summary;
         CREATE TABLE error_log (code int, category text, created_at timestamptz);
         CREATE TABLE error_log_summary (date date, category text, code int, count int, UNIQUE (date, category, code));
         INSERT INTO error_log SELECT 1, {null}, '2025-05-05 12:00Z' FROM generate_series(1, 3);
         INSERT INTO error_log_summary VALUES ('2025-05-05', {null}, 1, 10);"
    )
}

fn deletion() -> Deletion {
    let ident = |name: &str| Ident::new(name).unwrap();
    Deletion {
        leaf: TableName::new("public", "error_log").unwrap(),
        oid: 0,
        alias: ident("error_log"),
        time: "created_at".into(),
        time_type: "timestamptz",
        cutoff: Cutoff::Instant("2026-01-01T00:00:00Z".parse().unwrap()),
        conditions: vec![],
        refused_by: vec![],
        followed_by: vec![],
        access: Access::Blocks,
        guarded: false,
        into: Some(Into::Summary(Summary {
            table: TableName::new("public", "error_log_summary").unwrap(),
            oid: 0,
            partitioned: false,
            date: ident("date"),
            by: vec![ident("category"), ident("code")],
            count: ident("count"),
            zone: "UTC".into(),
            nulls_apart: true,
            required: vec![],
            guarded: false,
            most: None,
            wider: "bigint",
            full: vec![],
        })),
        objects: None,
    }
}

/// Runs the statement in each of its forms, once it waits because of what `before` has done does `after`, commits, and gives
/// what became of each.
async fn meanwhile(
    db: &Database,
    null: &str,
    before: &str,
    after: &str,
    expect: impl AsyncFn(&str, Result<i64, Error>),
) {
    let deletion = deletion();
    let none: Vec<String> = vec![];
    let (least, first, behind, rows) = ("-infinity", "(0,0)", "(9,0)", 100i64);
    let index: Vec<&(dyn ToSql + Sync)> = vec![&least, &rows, &none];
    let blocks: Vec<&(dyn ToSql + Sync)> = vec![&first, &rows, &behind];
    let cases: Vec<(&str, String, Vec<&(dyn ToSql + Sync)>)> = vec![
        ("by index, eager", deletion.by_index(Form::Eager), index.clone()),
        ("by index, careful", deletion.by_index(Form::Careful), index.clone()),
        ("by index, waiting", deletion.by_index(Form::Waiting), index),
        ("by blocks, eager", deletion.by_blocks(150_000, Form::Eager), blocks.clone()),
        ("by blocks on 13, waiting", deletion.by_blocks(130_000, Form::Waiting), blocks),
        ("whole blocks", deletion.whole_blocks(), vec![&first, &behind]),
    ];
    for (name, sql, own) in cases {
        db.execute(&tables(null)).await;
        let (application, batch) = (db.client().await, db.client().await);
        let pid: i32 = batch.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        application.batch_execute(&format!("BEGIN; {before}")).await.unwrap();
        let run = async {
            let zone = "UTC";
            let mut parameters = vec![deletion.cutoff.parameter()];
            parameters.extend(own);
            parameters.push(&zone);
            batch.query_one(&sql, &parameters).await.map(|row| row.get(1))
        };
        let commit = async {
            let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
            wait_until("the statement to wait", async || db.scalar::<i64>(&waits).await == 1).await;
            application.batch_execute(&format!("{after}; COMMIT")).await.unwrap();
        };
        let (gone, ()) = tokio::join!(run, commit);
        expect(name, gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_adds_meanwhile_is_added_to() {
    on_each_major(async |db| {
        for null in ["'db'", "NULL"] {
            meanwhile(&db, null, "UPDATE error_log_summary SET count = count + 100", "", async |name, gone| {
                assert_eq!(gone.unwrap(), 3, "{name}");
                assert_eq!(counted(&db).await, (113, 0), "{name}");
                assert_eq!(db.count("error_log_summary").await, 1, "{name}");
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_row_that_comes_meanwhile_stays_for_the_next_batch() {
    on_each_major(async |db| {
        for null in ["'db'", "NULL"] {
            let late = format!("INSERT INTO error_log VALUES (1, {null}, '2025-05-05 13:00Z')");
            meanwhile(&db, null, "SELECT FROM error_log_summary FOR UPDATE", &late, async |name, gone| {
                assert_eq!(gone.unwrap(), 3, "{name}");
                assert_eq!(counted(&db).await, (13, 1), "{name}");
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_summary_that_is_deleted_meanwhile_is_made_anew_or_the_batch_is_taken_back() {
    on_each_major(async |db| {
        for null in ["'db'", "NULL"] {
            meanwhile(&db, null, "DELETE FROM error_log_summary", "", async |name, gone| match gone {
                Ok(gone) => {
                    assert_eq!((gone, null), (3, "'db'"), "{name}");
                    assert_eq!(counted(&db).await, (3, 0), "{name}");
                }
                // To be tried again: it then finds none, and makes one.
                Err(error) => {
                    assert_eq!((error.code(), null), (Some(&SqlState::DIVISION_BY_ZERO), "NULL"), "{name}: {error:?}");
                    assert_eq!(counted(&db).await, (0, 3), "{name}");
                    run(&tending(&db, SUMMARIZE), 0).await;
                    assert_eq!(counted(&db).await, (3, 0), "{name}");
                }
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_rows_of_a_group_that_is_changed_meanwhile_counts_once_or_not_at_all() {
    on_each_major(async |db| {
        let before = "INSERT INTO error_log_summary VALUES ('2025-05-05', NULL, 1, 5); COMMIT; BEGIN; UPDATE error_log_summary SET count = count + 100";
        meanwhile(&db, "NULL", before, "", async |name, gone| {
            let (sum, left) = counted(&db).await;
            assert_eq!(sum + left, 218, "{name}");
            assert!(gone.is_ok_and(|n| n == 3) == (left == 0), "{name}");
            run(&tending(&db, SUMMARIZE), 0).await;
            assert_eq!(counted(&db).await, (218, 0), "{name}");
        })
        .await;
    })
    .await;
}
