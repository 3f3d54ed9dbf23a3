//! What is known of the negotiations of one participant, and what a query must find of it.

use super::super::play::text;
use crate::drive::Verdict;
use cellspace_client::Client;
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Negotiations on a page.
pub const PAGE: usize = 50;

/// A negotiation, by the names that the API gives its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: String,
    pub state: &'static str,
    pub counterparty: String,
    pub asset: String,
    /// The counterparty's id of it.
    pub correlation: Option<String>,
}

impl Known {
    fn value(&self, field: &str) -> Option<&str> {
        match field {
            "id" => Some(&self.id),
            "state" => Some(self.state),
            "counterPartyId" => Some(&self.counterparty),
            "assetId" => Some(&self.asset),
            "correlationId" => self.correlation.as_deref(),
            _ => None,
        }
    }

    /// What an answer says of a negotiation.
    ///
    /// # Errors
    /// When a field is missing that each has.
    pub fn read(told: &Value) -> Result<Self, Verdict> {
        let state = text(told, "state")?;
        let state = STATES.into_iter().find(|known| *known == state);
        let state = state.ok_or_else(|| Verdict::Wrong(format!("the state of {told}")))?;
        let field = |name: &str| Ok(text(told, name)?.to_owned());
        let correlation = told["correlationId"].as_str().map(str::to_owned);
        Ok(Self { id: field("@id")?, state, counterparty: field("counterPartyId")?, asset: field("assetId")?, correlation })
    }
}

/// How negotiations end.
pub const STATES: [&str; 2] = ["FINALIZED", "TERMINATED"];

/// By which fields is asked, in turn.
pub const KINDS: [&[&str]; 7] = [
    &["id"],
    &["correlationId"],
    &["counterPartyId"],
    &["state"],
    &["assetId"],
    &["counterPartyId", "state"],
    &["assetId", "counterPartyId"],
];

/// All negotiations of the participant, in the order of their ids.
#[derive(Debug)]
pub struct Model {
    all: Vec<Known>,
    /// Positions by field and value.
    by: BTreeMap<(&'static str, String), Vec<usize>>,
    /// The values of each field.
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Model {
    pub fn new(mut all: Vec<Known>) -> Self {
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let mut by: BTreeMap<(&'static str, String), Vec<usize>> = BTreeMap::new();
        for (n, known) in all.iter().enumerate() {
            for field in ["id", "state", "counterPartyId", "assetId", "correlationId"] {
                if let Some(value) = known.value(field) {
                    by.entry((field, value.to_owned())).or_default().push(n);
                }
            }
        }
        let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (field, value) in by.keys() {
            values.entry(field).or_default().push(value.clone());
        }
        Self { all, by, values }
    }

    pub fn all(&self) -> &[Known] {
        &self.all
    }

    /// A question of a kind with random values: whatever they are, not those of one negotiation.
    pub fn ask(&self, kind: &[&'static str], random: &mut StdRng) -> Question {
        let mut criteria = Vec::new();
        for field in kind {
            let values = self.values.get(field).map(Vec::as_slice).unwrap_or_default();
            let value = values.get(random.random_range(0..values.len().max(1))).cloned().unwrap_or_default();
            criteria.push((*field, value));
        }
        let empty = Vec::new();
        let positions: Vec<&Vec<usize>> = criteria.iter().map(|key| self.by.get(key).unwrap_or(&empty)).collect();
        let rarest = positions.iter().copied().min_by_key(|list| list.len()).unwrap_or(&empty);
        let all = rarest.iter().filter(|n| positions.iter().all(|list| list.binary_search(n).is_ok()));
        let expected = all.filter_map(|n| self.all.get(*n)).take(PAGE).cloned().collect();
        Question { criteria, expected }
    }
}

/// The query for the first page of what meets all these criteria.
pub fn first_page(criteria: &[(&'static str, String)]) -> String {
    let criterion =
        |(field, value): &(&str, String)| json!({ "@type": "Criterion", "operandLeft": field, "operator": "=", "operandRight": value });
    let filter: Vec<Value> = criteria.iter().map(criterion).collect();
    Client::typed("QuerySpec", json!({ "limit": PAGE, "filterExpression": filter })).to_string()
}

/// A query, and the page that must come.
#[derive(Debug)]
pub struct Question {
    criteria: Vec<(&'static str, String)>,
    expected: Vec<Known>,
}

impl Question {
    pub fn body(&self) -> String {
        first_page(&self.criteria)
    }

    /// Whether the answer is the page.
    pub fn judge(&self, answer: &Value) -> Result<(), Verdict> {
        let found: Vec<Known> =
            answer.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(Known::read).collect::<Result<_, _>>()?;
        if found == self.expected && answer.is_array() {
            return Ok(());
        }
        let ids = |list: &[Known]| list.iter().take(3).map(|known| known.id.clone()).collect::<Vec<_>>();
        let (many, expected) = (found.len(), self.expected.len());
        Err(Verdict::Wrong(format!(
            "{:?} finds {many}, first {:?}, expected {expected}, first {:?}",
            self.criteria,
            ids(&found),
            ids(&self.expected)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn known(n: usize) -> Known {
        let (id, asset) = (format!("n-{n:04}"), format!("asset-{}", n % 5));
        let correlation = n.is_multiple_of(10).then(|| format!("their-{n}"));
        Known { id, state: STATES[usize::from(!n.is_multiple_of(10))], counterparty: format!("did:web:{}", n % 3), asset, correlation }
    }

    fn told(known: &Known) -> Value {
        let mut told = json!({ "@id": known.id, "state": known.state, "counterPartyId": known.counterparty, "assetId": known.asset });
        if let Some(correlation) = &known.correlation {
            told["correlationId"] = correlation.as_str().into();
        }
        told
    }

    #[test]
    fn a_page_is_judged_by_what_is_known() {
        let model = Model::new((0..1_000).rev().map(known).collect());
        assert_eq!(model.all().first().unwrap().id, "n-0000");
        let mut random = StdRng::seed_from_u64(1);
        for n in 0..200 {
            let kind = KINDS[n % KINDS.len()];
            let question = model.ask(kind, &mut random);
            let body: Value = serde_json::from_str(&question.body()).unwrap();
            let fits = |known: &&Known| question.criteria.iter().all(|(field, value)| known.value(field) == Some(value));
            let right: Vec<Value> = model.all().iter().filter(fits).take(PAGE).map(told).collect();
            assert_eq!(body["filterExpression"].as_array().unwrap().len(), kind.len());
            assert_eq!(question.judge(&right.clone().into()), Ok(()), "{kind:?}");
            assert!(question.judge(&Value::Null).is_err());
            let mut wrong = right.clone();
            if wrong.pop().is_some() {
                assert!(question.judge(&wrong.into()).is_err(), "one is missing");
            }
            let mut wrong = right.clone();
            wrong.push(told(&known(999)));
            assert!(question.judge(&wrong.into()).is_err(), "one is too many");
        }
        let odd = json!([{ "@id": "x", "state": "REQUESTED", "counterPartyId": "y", "assetId": "z" }]);
        assert!(model.ask(KINDS[0], &mut random).judge(&odd).is_err());
    }
}
