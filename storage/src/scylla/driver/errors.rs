//! The driver's errors, as the store tells them.

use super::ScyllaError;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

impl ScyllaError {
    pub(super) fn refused(error: ExecutionError) -> Self {
        match error {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, text)) => Self::Refused(format!("{kind}: {text}")),
            other => Self::Unreachable(other.to_string()),
        }
    }

    pub(super) fn prepare(error: PrepareError) -> Self {
        Self::Refused(error.to_string())
    }

    pub(super) fn is_invalid(error: &ExecutionError) -> bool {
        matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
    }
}
