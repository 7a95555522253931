//! lukhas.
