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

    /// Whether the database has looked at a statement alone, and says that who sent it may not have it done.
    pub(super) fn is_forbidden(error: &ExecutionError) -> bool {
        matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _)))
    }

    /// Whether the database has looked at a statement alone, and says that it cannot be done.
    pub(super) fn is_invalid(error: &ExecutionError) -> bool {
        matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all else it is not known whether it was done.
    #[test]
    fn what_is_refused_by_its_statement_alone_was_not_done() {
        let told = |kind| ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, String::new()));
        let known = |error: &ExecutionError| (ScyllaError::is_invalid(error), ScyllaError::is_forbidden(error));
        assert_eq!(known(&told(DbError::Invalid)), (true, false));
        assert_eq!(known(&told(DbError::Unauthorized)), (false, true));
        for kind in [DbError::Overloaded, DbError::ServerError, DbError::TruncateError, DbError::IsBootstrapping] {
            assert_eq!(known(&told(kind.clone())), (false, false), "{kind}");
        }
        assert_eq!(known(&ExecutionError::EmptyPlan), (false, false));
    }
}
