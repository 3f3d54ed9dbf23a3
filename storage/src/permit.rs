//! Whether a commit may still be sent.

use std::{fmt, sync::Arc};

/// Asked by a store that writes to the wake index before a commit, between the two: who has the partition by then may have read the index before. Given for
/// good by default.
#[derive(Clone, Default)]
pub struct Permit(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Permit {
    /// Given as long as this says so.
    pub fn while_so(is_given: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_given)))
    }

    /// Whether it is given now.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.as_ref().is_none_or(|is_given| is_given())
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.is_given()).finish()
    }
}
