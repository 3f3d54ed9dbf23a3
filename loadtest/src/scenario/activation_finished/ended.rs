//! Negotiations that have ended, by their numbers: as `loadtest-fill` makes them.

use super::super::{
    negotiations_many::model::{PAGE, first_page},
    play::text,
};
use crate::drive::Verdict;
use rand::{RngExt, rngs::StdRng};
use serde_json::Value;

/// Counterparties and assets that share them.
const COUNTERPARTIES: usize = 1_000;
const ASSETS: usize = 5_000;

/// Whether a negotiation of this number is what the platform shows.
///
/// # Errors
/// What is different.
pub fn compare(number: usize, told: &Value) -> Result<(), Verdict> {
    let terminated = is_terminated(number);
    let expected = [
        ("@id", id(number)),
        ("counterPartyId", counterparty(number)),
        ("assetId", asset(number)),
        ("state", if terminated { "TERMINATED" } else { "FINALIZED" }.to_owned()),
    ];
    for (field, expected) in expected {
        if text(told, field)? != expected {
            return Err(Verdict::Wrong(format!("{field} must be {expected:?} in {told}")));
        }
    }
    let ids = [("correlationId", theirs(number)), ("contractAgreementId", agreement(number))];
    let right = ids.into_iter().all(|(field, id)| if terminated { told[field].is_null() } else { told[field] == *id });
    if right { Ok(()) } else { Err(Verdict::Wrong(format!("the ids of {told}"))) }
}

const fn is_terminated(number: usize) -> bool {
    number % 4 == 3
}

fn id(number: usize) -> String {
    format!("ended-{number:07}")
}

fn counterparty(number: usize) -> String {
    format!("did:web:counterparty-{:04}.example", number % COUNTERPARTIES)
}

fn asset(number: usize) -> String {
    format!("asset-{:04}", number % ASSETS)
}

fn theirs(number: usize) -> String {
    format!("theirs-{number:07}")
}

fn agreement(number: usize) -> String {
    format!("agreed-{number:07}")
}

/// A query, and the numbers of the negotiations on its first page.
pub struct Question {
    criteria: Vec<(&'static str, String)>,
    expected: Vec<usize>,
}

impl Question {
    /// One about so many negotiations, by one field or by two.
    pub fn random(count: usize, random: &mut StdRng) -> Self {
        let number = random.random_range(0..count.max(1));
        let step = |first: usize, by: usize| (first..count).step_by(by).take(PAGE).collect();
        let found = |finds: bool| if finds { vec![number] } else { Vec::new() };
        let by_counterparty = ("counterPartyId", counterparty(number));
        let state = ("state", if is_terminated(number) { "TERMINATED" } else { "FINALIZED" }.to_owned());
        // Counterparties and assets are many times four: those of a number all end alike.
        let (criteria, expected) = match random.random_range(0..7) {
            0 => (vec![("id", id(number))], found(true)),
            1 => (vec![("correlationId", theirs(number))], found(!is_terminated(number))),
            2 => (vec![("contractAgreementId", agreement(number))], found(!is_terminated(number))),
            3 => (vec![("assetId", asset(number))], step(number % ASSETS, ASSETS)),
            4 => (vec![by_counterparty, state], step(number % COUNTERPARTIES, COUNTERPARTIES)),
            5 => (vec![by_counterparty], step(number % COUNTERPARTIES, COUNTERPARTIES)),
            _ => (vec![state], (0..count).filter(|n| is_terminated(*n) == is_terminated(number)).take(PAGE).collect()),
        };
        Self { criteria, expected }
    }

    pub fn body(&self) -> String {
        first_page(&self.criteria)
    }

    /// Whether the answer is the page.
    pub fn judge(&self, answer: &Value) -> Result<(), Verdict> {
        let found = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        if !answer.is_array() || found.len() != self.expected.len() {
            return Err(Verdict::Wrong(format!("{:?} finds {}, expected {}", self.criteria, found.len(), self.expected.len())));
        }
        self.expected.iter().zip(found).try_for_each(|(number, told)| compare(*number, told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use serde_json::json;

    fn told(number: usize) -> Value {
        let mut told =
            json!({ "@id": id(number), "counterPartyId": counterparty(number), "assetId": asset(number), "state": "TERMINATED" });
        if !is_terminated(number) {
            told["state"] = "FINALIZED".into();
            (told["correlationId"], told["contractAgreementId"]) = (theirs(number).into(), agreement(number).into());
        }
        told
    }

    #[test]
    fn a_page_is_judged_by_the_rules() {
        let count = 12_000;
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..300 {
            let question = Question::random(count, &mut random);
            let value = |told: &Value, field: &str| told[if field == "id" { "@id" } else { field }].clone();
            let fits = |told: &Value| question.criteria.iter().all(|(field, expected)| value(told, field) == **expected);
            let right: Vec<Value> = (0..count).map(told).filter(fits).take(PAGE).collect();
            assert_eq!(question.judge(&right.clone().into()), Ok(()), "{:?}", question.criteria);
            assert!(question.judge(&Value::Null).is_err());
            let mut other = right.clone();
            if let Some(first) = other.first_mut() {
                first["correlationId"] = "another".into();
                assert!(question.judge(&other.into()).is_err());
                assert!(question.judge(&right[1..].to_vec().into()).is_err());
            }
        }
    }
}
