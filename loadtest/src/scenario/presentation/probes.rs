//! Queries that must be refused.

use super::{cast::Cast, held::Kinds};
use crate::{http::Connection, subject::Subject, world::Flaw};
use anyhow::{Context, Result};
use rand::rngs::StdRng;

/// How many of each kind.
const EACH: usize = 25;

/// Sends all of them; answers what was not refused.
pub async fn all(cast: &Cast, subject: &Subject, random: &mut StdRng) -> Result<Vec<String>> {
    let mut connection = Connection::new(&subject.public, subject.tape.clone())?;
    let mut wrong = Vec::new();
    for n in 0..EACH {
        let around = |number: usize| cast.holders.get(number % cast.holders.len()).context("a participant");
        let (holder, other) = (around(n)?, around(n + 1)?);
        let granted = cast.grant_of(holder, random, Kinds::BOTH, Kinds::BOTH).await?;
        let (verifier, access, did) = (granted.verifier.clone(), granted.access.clone(), holder.hosted.did.clone());
        let stranger = cast.verifiers.iter().find(|party| party.number != verifier.number).context("another verifier")?;
        let of_other = cast.access(&other.hosted, &verifier, Kinds::BOTH).await?;
        let of_stranger = cast.access(&holder.hosted, stranger, Kinds::BOTH).await?;
        let query = granted.sign();
        // Used up by its first request.
        if let Err(verdict) = query.ask(&cast.seen, &mut connection).await {
            wrong.push(format!("a good query: {verdict:?}"));
        }
        let (signed, _) = access.rsplit_once('.').context("a signed access token")?;
        let (_, signature) = of_stranger.rsplit_once('.').context("a signed access token")?;
        let forged = format!("{signed}.{signature}");
        let probes = [
            ("a token used twice", query.call()),
            ("a token for another audience", query.granted.call(verifier.carrying(&other.hosted.did, &access, Flaw::None))),
            ("a token with another signature", query.granted.call(verifier.carrying(&did, &access, Flaw::Signature))),
            ("an expired token", query.granted.call(verifier.carrying(&did, &access, Flaw::Expired))),
            ("an access token of another participant", query.granted.call(verifier.carrying(&did, &of_other, Flaw::None))),
            ("an access token for another verifier", query.granted.call(verifier.carrying(&did, &of_stranger, Flaw::None))),
            ("an access token with another signature", query.granted.call(verifier.carrying(&did, &forged, Flaw::None))),
        ];
        for (what, call) in probes {
            let answer = connection.send(call).await?;
            if answer.status != 401 {
                wrong.push(format!("{what} is answered {}", answer.told()));
            }
        }
    }
    Ok(wrong)
}
