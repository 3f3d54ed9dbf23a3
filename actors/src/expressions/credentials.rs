//! Helper functions over verified credentials: on a list of them, or on one.

use super::{Budget, Failure, Val};
use cellspace_schemas::Timestamp;
use std::ops::RangeInclusive;

/// How many values (receiver included) a helper takes; `None` when there is none of this name.
pub(super) fn arity(name: &str) -> Option<RangeInclusive<usize>> {
    Some(match name {
        "valid" => 1..=1,
        "withType" | "withContext" | "withIssuer" | "hasCredential" | "hasType" | "hasContext" | "claim" | "claims" => 2..=2,
        "hasClaim" => 2..=3,
        _ => return None,
    })
}

/// Calls a helper. What a credential lacks does not match; it is no failure.
pub(super) fn call<'a>(name: &str, values: &[Val<'a>], now: Timestamp, budget: &Budget) -> Result<Val<'a>, Failure> {
    let Some((receiver, arguments)) = values.split_first() else {
        return Err(Failure::Type(format!("{name} needs credentials")));
    };
    let one = matches!(receiver, Val::Object(_) | Val::Record(_));
    let credentials = if one { vec![receiver.clone()] } else { many(receiver) };
    budget.take(credentials.len())?;
    let wanted = match arguments.first() {
        None => "",
        Some(Val::Text(text)) => text.as_ref(),
        Some(other) => return Err(Failure::Type(format!("{name} takes a string, not a {}", other.type_name()))),
    };
    let keep = |test: &dyn Fn(&Val<'a>) -> bool| Val::list(credentials.iter().filter(|c| test(c)).cloned().collect());
    let any = |test: &dyn Fn(&Val<'a>) -> bool| Val::Bool(credentials.iter().any(test));
    Ok(match name {
        "withType" => keep(&|c| has(c, "type", wanted)),
        "withContext" => keep(&|c| has(c, "@context", wanted)),
        "withIssuer" => keep(&|c| issuer(c).is_some_and(|i| matches!(i, Val::Text(text) if text == wanted))),
        "valid" if one => any(&|c| valid(c, now)),
        "valid" => keep(&|c| valid(c, now)),
        "hasCredential" | "hasType" => any(&|c| has(c, "type", wanted)),
        "hasContext" => any(&|c| has(c, "@context", wanted)),
        _ => {
            let found = claims(&credentials, wanted, budget)?;
            match (name, arguments) {
                ("claims", _) => Val::list(found),
                ("claim", _) => found.into_iter().next().unwrap_or(Val::Null),
                (_, [_, value]) => {
                    for claim in &found {
                        if claim.same(value, budget)? {
                            return Ok(Val::Bool(true));
                        }
                    }
                    Val::Bool(false)
                }
                _ => Val::Bool(!found.is_empty()),
            }
        }
    })
}

/// One or many, as JSON-LD has it.
fn many<'a>(value: &Val<'a>) -> Vec<Val<'a>> {
    match value {
        Val::Array(_) | Val::List(_) => value.elements().unwrap_or_default(),
        Val::Null => Vec::new(),
        single => vec![single.clone()],
    }
}

fn has(credential: &Val<'_>, field: &str, wanted: &str) -> bool {
    let values = credential.field(field).map(|value| many(&value)).unwrap_or_default();
    values.iter().any(|value| matches!(value, Val::Text(text) if text == wanted))
}

fn issuer<'a>(credential: &Val<'a>) -> Option<Val<'a>> {
    let issuer = credential.field("issuer")?;
    issuer.field("id").or(Some(issuer))
}

/// Valid from its beginning to its end, both included; a credential without a readable beginning is not valid.
fn valid(credential: &Val<'_>, now: Timestamp) -> bool {
    let time = |names: [&str; 2]| names.into_iter().find_map(|name| credential.field(name));
    let read = |value: Val<'_>| match value {
        Val::Text(text) => Timestamp::parse_rfc3339(&text),
        _ => None,
    };
    let begun = time(["validFrom", "issuanceDate"]).and_then(read).is_some_and(|from| from <= now);
    let ended = time(["validUntil", "expirationDate"]).is_some_and(|until| read(until).is_none_or(|until| until < now));
    begun && !ended
}

/// Values of a subject's claim: the whole name as a key first (it may be an IRI), then as a path.
fn claims<'a>(credentials: &[Val<'a>], name: &str, budget: &Budget) -> Result<Vec<Val<'a>>, Failure> {
    let mut found = Vec::new();
    for credential in credentials {
        let subjects = credential.field("credentialSubject").map(|subject| many(&subject)).unwrap_or_default();
        budget.take(subjects.len())?;
        found.extend(subjects.into_iter().filter_map(|subject| {
            let whole = subject.field(name);
            whole.or_else(|| name.split('.').try_fold(subject, |value, key| value.field(key))).filter(|v| !matches!(v, Val::Null))
        }));
    }
    Ok(found)
}
