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

    /// Whether what is sent once alone was not done: nobody was reached, or it is not for whoever sent it to do.
    pub(super) fn is_not_done(error: &ExecutionError) -> bool {
        matches!(
            error,
            ExecutionError::EmptyPlan
                | ExecutionError::ConnectionPoolError(_)
                | ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))
        )
    }

    /// Whether the database has looked at a statement alone, and says that it cannot be done.
    pub(super) fn is_invalid(error: &ExecutionError) -> bool {
        matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::ConnectionPoolError;
    use std::time::Duration;

    /// Of all else it is not known whether it was done.
    #[test]
    fn what_was_not_sent_or_refused_by_its_statement_alone_was_not_done() {
        let told = |kind| ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, String::new()));
        let known = |error: &ExecutionError| (ScyllaError::is_invalid(error), ScyllaError::is_not_done(error));
        assert_eq!(known(&told(DbError::Invalid)), (true, false));
        assert_eq!(known(&told(DbError::Unauthorized)), (false, true));
        for kind in [DbError::Overloaded, DbError::ServerError, DbError::TruncateError, DbError::IsBootstrapping] {
            assert_eq!(known(&told(kind.clone())), (false, false), "{kind}");
        }
        assert_eq!(known(&ExecutionError::EmptyPlan), (false, true));
        assert_eq!(known(&ConnectionPoolError::Initializing.into()), (false, true));
        assert_eq!(known(&ExecutionError::RequestTimeout(Duration::ZERO)), (false, false));
    }
}
