//! Requests that must be refused.

use super::{Cast, Request};
use crate::{
    http::{Call, Connection},
    subject::Subject,
    world::Flaw,
};
use anyhow::{Context, Result};

/// How many of each kind.
const EACH: usize = 25;

/// Sends all of them; answers what was not refused.
pub async fn all(cast: &Cast, subject: &Subject) -> Result<Vec<String>> {
    let mut connection = Connection::new(&subject.public, None)?;
    let mut wrong = Vec::new();
    for n in 0..EACH {
        let (provider, party) = (n % cast.providers.len(), n % cast.parties.len());
        let (to, from) = (cast.providers.get(provider).context("a provider")?, cast.parties.get(party).context("a party")?);
        let good = Request::new(to, from).call();
        // Used up by its first request.
        let first = connection.send(good.clone()).await?;
        if !first.status.is_success() {
            wrong.push(format!("a good request is answered {}", first.told()));
        }
        let other = cast.providers.get((provider + 1) % cast.providers.len()).context("a provider")?;
        let with = |token: String| Call { bearer: Some(token), ..good.clone() };
        let probes = [
            ("used twice", good.clone()),
            ("for another audience", with(from.token(&other.did))),
            ("with another signature", with(from.flawed(&to.did, Flaw::Signature))),
            ("expired", with(from.flawed(&to.did, Flaw::Expired))),
        ];
        for (what, call) in probes {
            let answer = connection.send(call).await?;
            if answer.status.as_u16() != 401 {
                wrong.push(format!("a token {what} is answered {}", answer.told()));
            }
        }
    }
    Ok(wrong)
}
