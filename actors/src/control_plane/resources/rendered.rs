//! A value with its text, made at most once per version of the value.

use std::sync::{Arc, OnceLock};

/// A value and, once asked for, its JSON text. A newer version of the value is another one of these.
#[derive(Debug)]
pub struct Rendered<T> {
    value: Arc<T>,
    text: OnceLock<Box<str>>,
}

impl<T> Rendered<T> {
    pub(super) fn new(value: &Arc<T>) -> Arc<Self> {
        Arc::new(Self { value: value.clone(), text: OnceLock::new() })
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Arc<T> {
        &self.value
    }

    /// The text that `render` makes; every caller must ask with the same function.
    pub fn text(&self, render: fn(&T) -> String) -> &str {
        self.text.get_or_init(|| render(&self.value).into())
    }
}
