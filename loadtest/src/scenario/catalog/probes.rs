//! Requests that must be refused.

use super::{Cast, Request};
use crate::{
    http::{Answer, Call, Connection},
    subject::Subject,
    world::{Flaw, Party},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// How many of each kind.
const EACH: usize = 25;
/// Who sends them, and to whom, where a scenario has no counterparties of its own.
const PROVIDERS: usize = 2;
const PARTIES: usize = 8;
const OFFERS: usize = 10;

/// What bad tokens are sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A request for a catalog.
    Catalog,
    /// A request for a contract about an offer.
    Negotiation,
    /// A request for data.
    Transfer,
}

impl Message {
    /// The message, after a good request for the catalog was answered so.
    fn after(self, good: &Call, answer: &Answer, party: &Party, cast: &Cast) -> Result<Call> {
        let (path, kind, mut message) = match self {
            Self::Catalog => return Ok(good.clone()),
            Self::Negotiation => {
                let catalog: Value = serde_json::from_slice(&answer.body)?;
                let dataset = &catalog["dataset"][0];
                let mut offer = dataset["hasPolicy"][0].clone();
                ensure!(offer.is_object(), "no offer in {}", answer.told());
                (offer["@type"], offer["target"], offer["assigner"]) =
                    ("Offer".into(), dataset["@id"].clone(), catalog["participantId"].clone());
                ("negotiations/request", "ContractRequestMessage", json!({"offer": offer}))
            }
            Self::Transfer => {
                let agreement = format!("urn:uuid:{}", uuid::Uuid::new_v4());
                ("transfers/request", "TransferRequestMessage", json!({"agreementId": agreement, "format": "HttpData-PULL"}))
            }
        };
        message["@context"] = json!(["https://w3id.org/dspace/2025/1/context.jsonld"]);
        message["@type"] = kind.into();
        message["consumerPid"] = format!("urn:uuid:{}", uuid::Uuid::new_v4()).into();
        message["callbackAddress"] = cast.world.address(party).into();
        let base = good.path.strip_suffix("catalog/request").context("a catalog's path")?;
        Ok(Call { path: format!("{base}{path}"), body: message.to_string().into(), ..good.clone() })
    }

    /// Whether a message of which nothing is bad is answered as it must be: the contract is that of an offer, the data of no agreement.
    fn is_answered(self, answer: &Answer) -> bool {
        if self == Self::Transfer { answer.status.is_client_error() && answer.status != 401 } else { answer.status.is_success() }
    }
}

/// Sends all of them; answers what was not refused.
pub async fn all(cast: &Cast, subject: &Subject, message: Message) -> Result<Vec<String>> {
    let mut connection = Connection::new(&subject.public, subject.tape.clone())?;
    let mut wrong = Vec::new();
    for n in 0..EACH {
        let (provider, party) = (n % cast.providers.len(), n % cast.parties.len());
        let (to, from) = (cast.providers.get(provider).context("a provider")?, cast.parties.get(party).context("a party")?);
        let good = Request::new(to, from).call();
        // Used up by its first request.
        let first = connection.send(good.clone()).await?;
        if !first.status.is_success() {
            wrong.push(format!("a good request is answered {}", first.told()));
            continue;
        }
        let other = cast.providers.get((provider + 1) % cast.providers.len()).context("a provider")?;
        let again = message.after(&good, &first, from, cast)?;
        let with = |token: String| Call { bearer: Some(token), ..again.clone() };
        let probes = [
            ("used twice", again.clone()),
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
        // What was refused was refused for its token alone.
        if n == 0 {
            let answer = connection.send(with(from.token(&to.did))).await?;
            if !message.is_answered(&answer) {
                wrong.push(format!("{message:?} with a good token is answered {}", answer.told()));
            }
        }
    }
    Ok(wrong)
}

/// The same by counterparties that are there for nothing else.
pub async fn by_strangers(subject: &Subject, seed: u64, message: Message) -> Result<Vec<String>> {
    let cast = Cast::open(subject, seed, PROVIDERS, PARTIES, OFFERS).await?;
    all(&cast, subject, message).await
}
