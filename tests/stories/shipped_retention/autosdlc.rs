//! AutoSDLC.
