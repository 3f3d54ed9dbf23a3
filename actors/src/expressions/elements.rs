//! Going through the elements of a list or the keys of a map.

use super::Val;
use serde_json::{Value, map};
use std::{borrow::Cow, collections::btree_map, slice};

/// Elements of a list, or keys of a map.
#[derive(Debug)]
pub enum Elements<'v, 'a> {
    /// Of a JSON array.
    Array(slice::Iter<'a, Value>),
    /// Of a list.
    List(slice::Iter<'v, Val<'a>>),
    /// Keys of a JSON object.
    Fields(map::Keys<'a>),
    /// Keys of a record.
    Keys(btree_map::Keys<'v, Cow<'a, str>, Val<'a>>),
    /// Names of fields that are always there.
    Names(slice::Iter<'static, &'static str>),
    /// One or none.
    One(Option<Val<'a>>),
}

impl<'a> Iterator for Elements<'_, 'a> {
    type Item = Val<'a>;

    fn next(&mut self) -> Option<Val<'a>> {
        match self {
            Self::Array(items) => items.next().map(Val::of),
            Self::List(items) => items.next().cloned(),
            Self::Fields(keys) => keys.next().map(|key| Val::text(key)),
            Self::Keys(keys) => keys.next().map(|key| Val::Text(key.clone())),
            Self::Names(names) => names.next().map(|name| Val::text(name)),
            Self::One(one) => one.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Array(items) => items.len(),
            Self::List(items) => items.len(),
            Self::Fields(keys) => keys.len(),
            Self::Keys(keys) => keys.len(),
            Self::Names(names) => names.len(),
            Self::One(one) => usize::from(one.is_some()),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Elements<'_, '_> {}
