//! Pages of the entities that meet a query, by offset or by cursor.
//!
//! A cursor is the place of the last entity of a page in the order of the list: what is added or removed meanwhile moves no other entity to another page.

use super::{
    QuerySpec,
    order::{SortKey, places},
};
use crate::violation::Violation;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use std::{
    cmp::Ordering,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Entities looked at behind a full page, at most, to count the matches.
pub const COUNTED: usize = 10_000;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    key: Option<SortKey>,
    id: String,
}

impl Cursor {
    /// The id of the last entity of the page.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the last entity of the page was sorted by, when it has that and the list is sorted.
    #[must_use]
    pub fn key(&self) -> Option<Value> {
        self.key.as_ref().map(SortKey::to_json)
    }

    /// The cursor as clients hold it, good for this query alone.
    #[must_use]
    pub fn token(&self, query: &QuerySpec) -> String {
        BASE64.encode(json!([query.fingerprint(), self.key.as_ref().map(SortKey::to_json), self.id]).to_string())
    }

    fn parse(token: &str, query: &QuerySpec) -> Option<Self> {
        let (fingerprint, key, id): (u64, Value, String) = serde_json::from_slice(&BASE64.decode(token).ok()?).ok()?;
        let key = SortKey::of(&key);
        (fingerprint == query.fingerprint()).then_some(Self { key, id })
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Its entities.
    pub items: Vec<T>,
    /// How many meet the query on all pages together; `None` when counting them would take too long.
    pub total: Option<usize>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
}

impl QuerySpec {
    /// Goes on behind the page that `token` came with; the offset is spent then.
    ///
    /// # Errors
    /// When it did not come with this query.
    pub fn after(self, token: &str) -> Result<Self, Violation> {
        let after = Cursor::parse(token, &self).ok_or_else(|| Violation::new("?cursor", "is no cursor of this query"))?;
        Ok(Self { offset: 0, after: Some(after), ..self })
    }

    /// What a cursor is bound to. Its algorithm may change with the program: an old cursor is refused then.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.sort.as_ref().map(ToString::to_string).hash(&mut hasher);
        (self.order as u8).hash(&mut hasher);
        for criterion in &self.filter {
            criterion.to_json().to_string().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The page of `items` that the query asks for; they come in the order of their ids. `view` gives the fields that are compared; it is not called
    /// when neither filter nor sort needs it.
    pub fn page<T>(&self, items: impl IntoIterator<Item = T>, view: impl Fn(&T) -> Value, id: impl Fn(&T) -> &str) -> Page<T> {
        match &self.sort {
            None => self.page_by_id(items.into_iter(), view, id),
            Some(sort) => {
                let keyed = items.into_iter().filter_map(|item| {
                    let view = view(&item);
                    self.matches(&view).then(|| (sort.first(&view).and_then(SortKey::of), item))
                });
                self.page_sorted(keyed.collect(), id)
            }
        }
    }

    fn page_by_id<T>(&self, items: impl Iterator<Item = T>, view: impl Fn(&T) -> Value, id: impl Fn(&T) -> &str) -> Page<T> {
        let all = match items.size_hint() {
            (least, Some(most)) if least == most && self.filter.is_empty() => Some(least),
            _ => None,
        };
        // What lies before a cursor is not looked at, so that the last page costs what the first one does.
        let (mut found, mut matches, mut behind, mut counts) = (Vec::new(), 0_usize, 0_usize, self.after.is_none());
        let mut more = false;
        for item in items {
            if more && (all.is_some() || !counts) {
                break;
            }
            behind += usize::from(more);
            if behind > COUNTED {
                counts = false;
                break;
            }
            let passed = self.after.as_ref().is_some_and(|after| id(&item) <= after.id.as_str());
            if passed || !(self.filter.is_empty() || self.matches(&view(&item))) {
                continue;
            }
            matches += 1;
            if matches <= self.offset {
                continue;
            }
            if found.len() < self.limit {
                found.push(item);
            } else {
                more = true;
            }
        }
        let next = found.last().filter(|_| more).map(|last| Cursor { key: None, id: id(last).to_owned() });
        Page { items: found, total: all.or_else(|| counts.then_some(matches)), next }
    }

    fn page_sorted<T>(&self, mut found: Vec<(Option<SortKey>, T)>, id: impl Fn(&T) -> &str) -> Page<T> {
        let total = Some(found.len());
        if let Some(after) = &self.after {
            let last = (after.key.as_ref(), after.id.as_str());
            found.retain(|(key, item)| places(self.order, (key.as_ref(), id(item)), last) == Ordering::Greater);
        }
        found.sort_by(|(a, x), (b, y)| places(self.order, (a.as_ref(), id(x)), (b.as_ref(), id(y))));
        let more = found.len() > self.offset.saturating_add(self.limit);
        let mut page: Vec<_> = found.into_iter().skip(self.offset).take(self.limit).collect();
        let next = page.last_mut().filter(|_| more).map(|(key, last)| Cursor { key: key.take(), id: id(last).to_owned() });
        Page { items: page.into_iter().map(|(_, item)| item).collect(), total, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_spec::{Criterion, Operator, SortOrder};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type List = BTreeMap<String, Value>;

    fn ids<T: AsRef<str>>(items: &[T]) -> Vec<&str> {
        items.iter().map(AsRef::as_ref).collect()
    }

    fn page(query: &QuerySpec, list: &List) -> Page<String> {
        let page = query.page(list.iter(), |(id, value)| json!({"@id": id, "v": value}), |(id, _)| id.as_str());
        Page { items: page.items.into_iter().map(|(id, _)| id.clone()).collect(), total: page.total, next: page.next }
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..4_i64).prop_map(Value::from),
            (-3..4_i32).prop_map(|n| json!(f64::from(n) / 2.0)),
            prop_oneof![Just(i64::MAX), Just(i64::MAX - 1), Just(1 << 60)].prop_map(Value::from),
            Just(json!(9.223_372_036_854_776e18)),
            "[ab1]{0,2}".prop_map(Value::from),
            Just(json!([])),
            Just(json!({"k": 1})),
            Just(json!([2, "a"])),
        ]
    }

    fn lists() -> impl Strategy<Value = List> {
        prop::collection::btree_map("[a-d]{1,3}", values(), 0..40)
    }

    fn queries() -> impl Strategy<Value = QuerySpec> {
        let filter = prop_oneof![
            Just(Vec::new()),
            values().prop_map(|right| vec![Criterion { left: "v".parse().unwrap(), operator: Operator::GreaterOrEqual, right }]),
        ];
        let sort = prop_oneof![Just(None), Just(Some("v".parse().unwrap())), Just(Some("@id".parse().unwrap()))];
        let order = prop_oneof![Just(SortOrder::Asc), Just(SortOrder::Desc)];
        (0..5_usize, 1..8_usize, sort, order, filter).prop_map(|(offset, limit, sort, order, filter)| QuerySpec {
            offset,
            limit,
            sort,
            order,
            filter,
            after: None,
        })
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]

        /// Pages by offset put together are the whole list, and each says how long that is.
        #[test]
        fn offsets_lead_through_the_list(list in lists(), query in queries()) {
            let whole = page(&QuerySpec { offset: 0, limit: 1000, ..query.clone() }, &list);
            prop_assert_eq!(whole.total, Some(whole.items.len()));
            prop_assert_eq!(&whole.next, &None);
            let mut seen = Vec::new();
            for n in 0..=list.len() / query.limit {
                let part = page(&QuerySpec { offset: n * query.limit, ..query.clone() }, &list);
                prop_assert_eq!(part.total, whole.total);
                prop_assert_eq!(part.next.is_some(), (n + 1) * query.limit < whole.items.len());
                seen.extend(part.items);
            }
            prop_assert_eq!(&seen, &whole.items);
            let matching: Vec<&str> = list.iter().filter(|(id, value)| query.matches(&json!({"@id": id, "v": value}))).map(|(id, _)| id.as_str()).collect();
            let mut sorted = ids(&whole.items);
            sorted.sort_unstable();
            prop_assert_eq!(sorted, matching);
        }

        /// Cursors lead through a list that changes: what was there all the time is seen once, in order.
        #[test]
        fn cursors_are_stable(list in lists(), query in queries(), changes in prop::collection::vec(("[a-d]{1,3}", values()), 0..40)) {
            let query = QuerySpec { offset: 0, ..query };
            let (mut now, mut seen, mut changes) = (list.clone(), Vec::new(), changes.into_iter());
            let mut touched = Vec::new();
            let mut at = query.clone();
            loop {
                let part = page(&at, &now);
                prop_assert!(part.items.len() <= query.limit);
                seen.extend(part.items);
                let Some(next) = part.next else { break };
                // As a client sends it back.
                at = query.clone().after(&next.token(&query)).unwrap();
                prop_assert_eq!(at.after.as_ref(), Some(&next));
                for (id, value) in changes.by_ref().take(3) {
                    // What is there is removed, what is not is added.
                    if now.remove(&id).is_none() {
                        now.insert(id.clone(), value);
                    }
                    touched.push(id);
                }
            }
            let whole = page(&QuerySpec { limit: 1000, ..query.clone() }, &list).items;
            let untouched: Vec<&String> = whole.iter().filter(|id| !touched.contains(id)).collect();
            let of_them: Vec<&String> = seen.iter().filter(|id| !touched.contains(id)).collect();
            prop_assert_eq!(untouched, of_them);
        }

        /// A cursor goes on with its own query alone, and no text is one by accident.
        #[test]
        fn cursors_are_bound_to_their_query(list in lists(), query in queries(), other in queries(), text in ".{0,40}") {
            if let Some(next) = page(&QuerySpec { offset: 0, limit: 1, ..query.clone() }, &list).next {
                let same = (&query.sort, query.order, &query.filter) == (&other.sort, other.order, &other.filter);
                prop_assert_eq!(other.clone().after(&next.token(&query)).is_ok(), same);
            }
            prop_assert!(query.after(&text).is_err());
        }
    }

    #[test]
    fn mixed_values_have_one_order() {
        let list: List = [
            ("a", json!("b")),
            ("b", json!(7)),
            ("c", json!(true)),
            ("d", json!(null)),
            ("e", json!("10")),
            ("f", json!(6.5)),
            ("g", json!([])),
        ]
        .map(|(id, value)| (id.to_owned(), value))
        .into();
        let sorted = |order| page(&QuerySpec { sort: Some("v".parse().unwrap()), order, ..QuerySpec::default() }, &list).items.concat();
        assert_eq!(sorted(SortOrder::Asc), "cfbeadg");
        assert_eq!(sorted(SortOrder::Desc), "aebfcdg");
    }

    #[test]
    fn counting_has_an_end() {
        let list: Vec<String> = (0..COUNTED * 2).map(|n| format!("{n:06}")).collect();
        let total = |query: &QuerySpec| query.page(&list, |id| json!({"@id": id}), |id| id.as_str()).total;
        assert_eq!(total(&QuerySpec::default()), Some(COUNTED * 2));
        let with = |right: &str| {
            let filter = vec![Criterion { left: "id".parse().unwrap(), operator: Operator::Like, right: json!(right) }];
            QuerySpec { filter, ..QuerySpec::default() }
        };
        assert_eq!((total(&with("%")), total(&with("%999"))), (None, Some(COUNTED * 2 / 1000)));
    }
}
