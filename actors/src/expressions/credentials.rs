//! Helper functions over verified credentials: on a list of them, or on one.

use super::{Budget, Failure, Val, function::Function, value::Evaluated};
use cellspace_schemas::Timestamp;

/// Calls a helper. What a credential lacks does not match; it is no failure.
pub(super) fn call<'a>(function: Function, receiver: &Val<'a>, arguments: &[Val<'a>], now: Timestamp, budget: &Budget) -> Evaluated<'a> {
    use Function as F;
    let credentials = || receiver.many();
    budget.take_each(credentials().len())?;
    let wanted = match arguments.first() {
        None => "",
        Some(Val::Text(text)) => text.as_ref(),
        Some(other) => return Err(Failure::Type(format!("{} takes a string, not a {}", function.name(), other.type_name()))),
    };
    let keep = |test: &dyn Fn(&Val<'a>) -> bool| Val::list(credentials().filter(test).collect());
    let any = |test: &dyn Fn(Val<'a>) -> bool| Val::Bool(credentials().any(test));
    Ok(match function {
        F::WithType => keep(&|c| has(c, "type", wanted)),
        F::WithContext => keep(&|c| has(c, "@context", wanted)),
        F::WithIssuer => keep(&|c| issuer(c).is_some_and(|i| matches!(i, Val::Text(text) if text == wanted))),
        F::Valid if receiver.is_map() => Val::Bool(valid(receiver, now)),
        F::Valid => keep(&|c| valid(c, now)),
        F::HasCredential | F::HasType => any(&|c| has(&c, "type", wanted)),
        F::HasContext => any(&|c| has(&c, "@context", wanted)),
        _ => {
            let found = claims(receiver, wanted, budget)?;
            match (function, arguments) {
                (F::Claims, _) => Val::list(found),
                (F::Claim, _) => found.into_iter().next().unwrap_or(Val::Null),
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

fn has(credential: &Val<'_>, field: &str, wanted: &str) -> bool {
    credential.field(field).is_some_and(|values| values.many().any(|value| matches!(value, Val::Text(text) if text == wanted)))
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
fn claims<'a>(credentials: &Val<'a>, name: &str, budget: &Budget) -> Result<Vec<Val<'a>>, Failure> {
    let mut found = Vec::new();
    for subjects in credentials.many().filter_map(|credential| credential.field("credentialSubject")) {
        budget.take_each(subjects.many().len())?;
        found.extend(subjects.many().filter_map(|subject| {
            let whole = subject.field(name);
            whole.or_else(|| name.split('.').try_fold(subject, |value, key| value.field(key))).filter(|v| !matches!(v, Val::Null))
        }));
    }
    Ok(found)
}
