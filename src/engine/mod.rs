//! engine

pub mod schedule;
