//! The gauges that kinds may set: how each is called, and what its last label is called.

use serde::{Deserialize, Serialize};

use std::fmt;

/// A gauge of the catalog's or the history's, read each minute whoever runs the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    pub name: GaugeName,
    /// Which table, view or store: the value of the last label; empty where the gauge has none.
    pub table: String,
    pub value: f64,
}

impl Gauge {
    /// One of the whole database.
    pub const fn of_all(name: GaugeName, value: f64) -> Self {
        Self { name, table: String::new(), value }
    }
}

words! {
    /// The gauges that kinds may set, as Prometheus knows them.
    GaugeName {
        PartitionHorizon = "pgtend_partition_horizon_timestamp_seconds",
        DefaultPartitionRows = "pgtend_default_partition_rows",
        BackupSize = "pgtend_backup_size_bytes",
        BackupSizeRatio = "pgtend_backup_size_ratio",
        BackupLastSuccess = "pgtend_backup_last_success_timestamp_seconds",
        BackupVerified = "pgtend_backup_verified_timestamp_seconds",
        Backups = "pgtend_backups",
        BackupRestoreTested = "pgtend_backup_restore_tested_timestamp_seconds",
        BackupRestoreDuration = "pgtend_backup_restore_test_duration_seconds",
        ViewRefreshDuration = "pgtend_view_refresh_duration_seconds",
        HealthReading = "pgtend_health_reading_timestamp_seconds",
        HealthCollected = "pgtend_health_collected",
        HealthFindings = "pgtend_health_findings",
        TableSize = "pgtend_table_size_bytes",
        TableHeap = "pgtend_table_heap_bytes",
        TableIndexes = "pgtend_table_index_bytes",
        TableToast = "pgtend_table_toast_bytes",
        TableLive = "pgtend_table_live_tuples",
        TableDead = "pgtend_table_dead_tuples",
        SchemaSize = "pgtend_schema_size_bytes",
        IndexScans = "pgtend_index_scans",
        IndexRead = "pgtend_index_tuples_read",
        IndexFetched = "pgtend_index_tuples_fetched",
        IndexSize = "pgtend_index_size_bytes",
        UnusedIndexes = "pgtend_unused_indexes",
        UnusedIndexSize = "pgtend_unused_index_bytes",
        InvalidIndexes = "pgtend_invalid_indexes",
        QueryMean = "pgtend_query_mean_seconds",
        QueryTime = "pgtend_query_exec_seconds",
        QueryCalls = "pgtend_query_calls",
        QueryMin = "pgtend_query_min_seconds",
        QueryMax = "pgtend_query_max_seconds",
        QueryStddev = "pgtend_query_stddev_seconds",
        XidAge = "pgtend_xid_age",
        XidAgeRatio = "pgtend_xid_age_ratio",
        MultixactAge = "pgtend_multixact_age",
        MultixactAgeRatio = "pgtend_multixact_age_ratio",
        SlotRetained = "pgtend_replication_slot_retained_bytes",
        SlotActive = "pgtend_replication_slot_active",
        SlotWalStatus = "pgtend_replication_slot_wal_status",
        StandbyLag = "pgtend_standby_lag_bytes",
        ReplayLag = "pgtend_replay_lag_bytes",
        ReplayDelay = "pgtend_replay_lag_seconds",
        OldestTransaction = "pgtend_oldest_transaction_seconds",
        OldestPrepared = "pgtend_oldest_prepared_transaction_seconds",
        Prepared = "pgtend_prepared_transactions",
        OldestSnapshot = "pgtend_oldest_snapshot_xid_age",
        WalArchiveEnabled = "pgtend_wal_archive_enabled",
        WalArchiveSuccess = "pgtend_wal_archive_last_success_timestamp_seconds",
        WalArchiveFailures = "pgtend_wal_archive_failures",
        WalArchiveWaiting = "pgtend_wal_archive_waiting_segments",
        WalArchiveOldest = "pgtend_wal_archive_oldest_waiting_seconds",
    }
}

impl GaugeName {
    /// What its last label is called; nothing where it is one of the whole database.
    pub const fn label(self) -> Option<&'static str> {
        Some(match self {
            GaugeName::PartitionHorizon
            | GaugeName::DefaultPartitionRows
            | GaugeName::TableSize
            | GaugeName::TableHeap
            | GaugeName::TableIndexes
            | GaugeName::TableToast
            | GaugeName::TableLive
            | GaugeName::TableDead => "table",
            GaugeName::BackupSize
            | GaugeName::BackupSizeRatio
            | GaugeName::BackupLastSuccess
            | GaugeName::BackupVerified
            | GaugeName::Backups
            | GaugeName::BackupRestoreTested
            | GaugeName::BackupRestoreDuration => "store",
            GaugeName::ViewRefreshDuration => "view",
            GaugeName::HealthReading
            | GaugeName::UnusedIndexes
            | GaugeName::UnusedIndexSize
            | GaugeName::InvalidIndexes
            | GaugeName::XidAge
            | GaugeName::XidAgeRatio
            | GaugeName::MultixactAge
            | GaugeName::MultixactAgeRatio
            | GaugeName::ReplayLag
            | GaugeName::ReplayDelay
            | GaugeName::OldestTransaction
            | GaugeName::OldestPrepared
            | GaugeName::Prepared
            | GaugeName::WalArchiveEnabled
            | GaugeName::WalArchiveSuccess
            | GaugeName::WalArchiveFailures
            | GaugeName::WalArchiveWaiting
            | GaugeName::WalArchiveOldest => return None,
            GaugeName::HealthCollected | GaugeName::HealthFindings => "collector",
            GaugeName::SchemaSize => "schema",
            GaugeName::IndexScans | GaugeName::IndexRead | GaugeName::IndexFetched | GaugeName::IndexSize => "index",
            GaugeName::QueryMean
            | GaugeName::QueryTime
            | GaugeName::QueryCalls
            | GaugeName::QueryMin
            | GaugeName::QueryMax
            | GaugeName::QueryStddev => "queryid",
            GaugeName::SlotRetained | GaugeName::SlotActive | GaugeName::SlotWalStatus => "slot",
            GaugeName::StandbyLag => "standby",
            GaugeName::OldestSnapshot => "holder",
        })
    }
}
