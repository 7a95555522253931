//! The only place that asks the time.
//!
//! Schedules follow the host's clock, cutoffs follow the database's: a row is old by the clock that wrote it. When the two
//! are far apart one of them is wrong, and nothing is destroyed until somebody has said which.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Duration, Utc};

/// How far apart the host's clock and the database's may be before destructive work is refused.
const MAX_SKEW: Duration = Duration::minutes(5);

/// What to do about clocks that are apart.
pub const MEND: &str = "set the wrong one right (chronyc tracking, timedatectl)";

/// Where the time comes from.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The host for schedules, the database for cutoffs.
    #[default]
    System,
    /// One instant for both; for tests and for `plan --at`. No configuration of a release binary leads to it for a run.
    Fixed(DateTime<Utc>),
}

impl Clock {
    /// The host's time, for schedules and records.
    pub fn host(&self) -> DateTime<Utc> {
        match self {
            #[allow(clippy::disallowed_methods, reason = "this is the clock")]
            Clock::System => Utc::now(),
            Clock::Fixed(at) => *at,
        }
    }

    /// The time cutoffs are counted from: the database's.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn database(&self, client: &tokio_postgres::Client) -> Result<Reading> {
        if let Clock::Fixed(at) = self {
            return Ok(Reading { now: *at, apart: None });
        }
        let skew = self.skew(client).await?;
        Ok(Reading { now: skew.database, apart: skew.is_too_much().then(|| skew.to_string()) })
    }

    /// The earlier of the host's time and the database's, for what is forgotten after a while: of two clocks that are apart
    /// the one that runs ahead makes nothing old.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn earlier(&self, client: &tokio_postgres::Client) -> Result<DateTime<Utc>> {
        if let Clock::Fixed(at) = self {
            return Ok(*at);
        }
        let skew = self.skew(client).await?;
        Ok(skew.database.min(skew.host))
    }

    /// The host's time beside the database's.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn skew(&self, client: &tokio_postgres::Client) -> Result<Skew> {
        let before = self.host();
        let row = client
            .query_one("SELECT pg_catalog.clock_timestamp()", &[])
            .await
            .context("ask the database for its time")?;
        let database: DateTime<Utc> = row.get(0);
        let host = self.host();
        // The answer was given at some moment between the two looks at our own clock.
        let apart = if database < before { before - database } else { (database - host).max(Duration::zero()) };
        Ok(Skew { host, database, apart })
    }
}

/// What a run goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub now: DateTime<Utc>,
    /// How the host's clock and the database's are apart, where that is too much to destroy anything by.
    pub apart: Option<String>,
}

impl Reading {
    /// The time, for work that destroys.
    ///
    /// # Errors
    /// The clocks are too far apart.
    pub fn agreed(&self) -> Result<DateTime<Utc>> {
        if let Some(apart) = &self.apart {
            bail!(
                "{apart}: nothing old is taken away until they agree within {} minutes; {MEND}",
                MAX_SKEW.num_minutes()
            );
        }
        Ok(self.now)
    }
}

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Skew {
    host: DateTime<Utc>,
    database: DateTime<Utc>,
    /// Never negative.
    apart: Duration,
}

impl Skew {
    pub fn is_too_much(&self) -> bool {
        self.apart > MAX_SKEW
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clocks of this host ({}) and of the database ({}) are {} apart",
            self.host.format("%Y-%m-%d %H:%M:%SZ"),
            self.database.format("%Y-%m-%d %H:%M:%SZ"),
            crate::period::human(self.apart.to_std().unwrap_or_default()),
        )
    }
}
