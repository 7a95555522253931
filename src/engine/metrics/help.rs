//! The help texts of the metrics that kinds move.

use crate::run::{Counted, GaugeName};

/// The name of a counter, and what it counts.
pub(super) const fn counter(what: Counted) -> (&'static str, &'static str) {
    match what {
        Counted::PartitionsCreated => ("pgtend_partitions_created_total", "Partitions made and attached."),
        Counted::PartitionsDropped => {
            ("pgtend_partitions_dropped_total", "Partitions dropped because they were past their time.")
        }
        Counted::PartitionsDetached => {
            ("pgtend_partitions_detached_total", "Partitions detached and kept as tables of their own.")
        }
        Counted::PartitionsArchived => {
            ("pgtend_partitions_archived_total", "Partitions detached and moved to an archive schema.")
        }
        Counted::RowsDeleted => ("pgtend_rows_deleted_total", "Rows deleted because they were past their time."),
        Counted::RowsArchived => ("pgtend_rows_archived_total", "Rows moved to an archive table."),
        Counted::RowsSummarized => ("pgtend_rows_summarized_total", "Rows added to a summary and deleted, as one."),
        Counted::ObjectsDeleted => {
            ("pgtend_objects_deleted_total", "Objects in stores deleted because their rows were past their time.")
        }
        Counted::ObjectsFailed => (
            "pgtend_objects_failed_total",
            "Rows that stayed because their object could not be deleted, or is not one of their store.",
        ),
        Counted::TablesVacuumed => ("pgtend_tables_vacuumed_total", "Tables vacuumed."),
        Counted::TablesAnalyzed => ("pgtend_tables_analyzed_total", "Tables analyzed, on their own or with a VACUUM."),
        Counted::LockTimeouts => ("pgtend_lock_timeouts_total", "Times a lock was not had within lock_timeout."),
    }
}

pub(super) const fn gauge(name: GaugeName) -> &'static str {
    match name {
        GaugeName::PartitionHorizon => {
            "End of the unbroken run of partitions from now: the first insert after it fails, or goes to the default."
        }
        GaugeName::DefaultPartitionRows => "Rows in the default partition, which no partition was there for.",
        GaugeName::BackupSize => "Bytes of the last good backup, as stored.",
        GaugeName::BackupSizeRatio => {
            "The last good backup's size beside the median of up to ten before it; well below 1, something is missing."
        }
        GaugeName::BackupLastSuccess => "When a backup was last made and verified in the store; 0 if never.",
        GaugeName::BackupVerified => "When a backup was last read back from the store and was good; 0 if never.",
        GaugeName::Backups => "Backups of the job in the store, after its last run.",
        GaugeName::BackupRestoreTested => {
            "When a backup of the store was last restored by a restore_test and found whole; 0 if never."
        }
        GaugeName::BackupRestoreDuration => "Seconds that the last restore which was found whole took.",
        GaugeName::ViewRefreshDuration => "Seconds that the last refresh of the view took, in any daemon.",
        GaugeName::HealthReading => {
            "When the readings of the job's collectors were taken, in any daemon; absent before the first."
        }
        GaugeName::HealthCollected => "Whether the collector could read what it reads, when that was last tried.",
        GaugeName::HealthFindings => "What the collector found that somebody should look at.",
        GaugeName::TableSize => {
            "Bytes of the table with its indexes and TOAST; of a partitioned one, of all its partitions."
        }
        GaugeName::TableHeap => "Bytes of the rows, with free space map and visibility map.",
        GaugeName::TableIndexes => "Bytes of the table's indexes.",
        GaugeName::TableToast => "Bytes of the values that are stored out of line.",
        GaugeName::TableLive => "Living rows, as the server has counted.",
        GaugeName::TableDead => "Dead rows that no VACUUM has removed yet, as the server has counted.",
        GaugeName::SchemaSize => "Bytes of all tables and materialized views in the schema, with indexes and TOAST.",
        GaugeName::IndexScans => {
            "Scans of the index since the statistics were last reset; of a partitioned one, of all its parts."
        }
        GaugeName::IndexRead => "Entries of the index that scans have returned since the statistics were last reset.",
        GaugeName::IndexFetched => {
            "Living rows of the table that plain scans of the index have fetched since the statistics were last reset."
        }
        GaugeName::IndexSize => "Bytes of the index; of a partitioned one, of all its parts.",
        GaugeName::UnusedIndexes => {
            "Indexes that were never scanned since the statistics were reset and that no constraint needs."
        }
        GaugeName::UnusedIndexSize => "Bytes of the unused indexes.",
        GaugeName::InvalidIndexes => "Indexes that are kept up and never used, because building them failed.",
        GaugeName::QueryMean => "Seconds that the statement takes on average, by pg_stat_statements.",
        GaugeName::QueryTime => "Seconds that all executions of the statement took together, by pg_stat_statements.",
        GaugeName::QueryCalls => "Times that the statement was executed, by pg_stat_statements.",
        GaugeName::QueryMin => "Seconds that the quickest execution of the statement took, by pg_stat_statements.",
        GaugeName::QueryMax => "Seconds that the slowest execution of the statement took, by pg_stat_statements.",
        GaugeName::QueryStddev => {
            "Standard deviation, in seconds, of how long the statement takes, by pg_stat_statements."
        }
        GaugeName::XidAge => "Transactions since the oldest one whose rows are not frozen.",
        GaugeName::XidAgeRatio => {
            "The same beside autovacuum_freeze_max_age, at which autovacuum begins to freeze whatever comes."
        }
        GaugeName::MultixactAge => "Multixacts since the oldest one that rows refer to.",
        GaugeName::MultixactAgeRatio => "The same beside autovacuum_multixact_freeze_max_age.",
        GaugeName::SlotRetained => "Bytes of WAL that the slot keeps the server from removing.",
        GaugeName::SlotActive => "Whether somebody is connected to the slot.",
        GaugeName::SlotWalStatus => "0 reserved, 1 extended, 2 unreserved, 3 lost, as pg_replication_slots has it.",
        GaugeName::StandbyLag => "Bytes of WAL that the standby has not replayed yet, as its primary sees it.",
        GaugeName::ReplayLag => "On a standby: bytes of WAL that it has received and not replayed.",
        GaugeName::ReplayDelay => {
            "On a standby: seconds since the last transaction it replayed; 0 where nothing is left to replay."
        }
        GaugeName::OldestTransaction => {
            "Seconds that the oldest open transaction of the database has been open; 0 if there is none."
        }
        GaugeName::OldestPrepared => {
            "Seconds since the oldest prepared transaction of the database was prepared; 0 if there is none."
        }
        GaugeName::Prepared => "Prepared transactions of the database.",
        GaugeName::OldestSnapshot => {
            "Transactions since the oldest snapshot, by what holds it: dead rows from then on stay."
        }
        GaugeName::WalArchiveEnabled => "Whether archive_mode is on.",
        GaugeName::WalArchiveSuccess => "When a WAL segment was last archived; 0 if never.",
        GaugeName::WalArchiveFailures => "Attempts to archive that failed; a command that is missing counts as none.",
        GaugeName::WalArchiveWaiting => "Segments that are ready to be archived.",
        GaugeName::WalArchiveOldest => {
            "Seconds that the oldest segment has been ready to be archived; 0 if none is waiting."
        }
    }
}
