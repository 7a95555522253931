//! Policies that stand in a table of the database.
