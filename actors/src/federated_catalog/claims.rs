//! What a participant could itself show to a provider.

use crate::{
    CredentialService, Services,
    control_plane::{
        Participant,
        catalog::RequestError,
        policy::{ParticipantAgent, uniform},
    },
    credential_service::credential::StoredCredential,
    settings::TrustedIssuer,
    trust::credential::is_trusted,
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::Timestamp;
use futures::future::join_all;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Credentials looked at, at most; the newest count, one of each issuer and kind, as in a presentation.
const MAX_HELD: usize = 32;
/// How long it is waited for what issuers have to say of them.
const PATIENCE: Duration = Duration::from_secs(3);

/// The participant with those of its credentials that count now where these issuers are trusted: judged as a provider would judge them, so that what
/// a participant has given to itself opens nothing. One of which that cannot be said now does not count.
///
/// # Errors
/// [`RequestError::Unavailable`] when its credential service cannot be asked.
pub(super) async fn own_claims(
    services: &Services,
    participant: &Participant,
    trusted: &[TrustedIssuer],
) -> Result<ParticipantAgent, RequestError> {
    let address = Address::of::<CredentialService>(&participant.id);
    let state = match services.cluster.snapshot::<CredentialService>(&address).await {
        Ok(state) => state,
        Err(AskError::NotRegistered) => Arc::default(),
        Err(other) => return Err(RequestError::Unavailable(other.to_string())),
    };
    let Some(context) = state.active_context() else { return Ok(ParticipantAgent::of(participant.identity.clone(), Vec::new())) };
    let now = services.cluster.now();
    let until = Instant::now() + PATIENCE;
    let verified = counting(state.credentials.values(), trusted, now).into_iter().map(|credential| {
        let verified = services.trust.verify_held(&credential.raw, &context.did, trusted, now);
        timeout_at(until, verified)
    });
    let verified = join_all(verified).await.into_iter().flatten().flatten();
    Ok(ParticipantAgent::of(context.did.clone(), verified.map(|verified| verified.viewed(uniform)).collect()))
}

/// Those to look at. What nobody trusts takes no room from the others.
fn counting<'c>(
    held: impl Iterator<Item = &'c Arc<StoredCredential>>,
    trusted: &[TrustedIssuer],
    now: Timestamp,
) -> Vec<&'c StoredCredential> {
    let counts = |held: &&StoredCredential| held.is_valid(now) && is_trusted(&held.issuer, &held.types, trusted);
    let mut held: Vec<&StoredCredential> = held.map(Arc::as_ref).filter(counts).collect();
    held.sort_by(|a, b| b.valid_from.cmp(&a.valid_from).then_with(|| a.id.cmp(&b.id)));
    let mut kinds = HashSet::new();
    held.retain(|credential| kinds.insert((credential.format, &credential.issuer, &credential.types)));
    held.truncate(MAX_HELD);
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::dcp::CredentialFormat;
    use serde_json::Value;

    #[test]
    fn what_nobody_trusts_takes_no_room() {
        let credential = |n: usize, issuer: &str| {
            Arc::new(StoredCredential {
                id: format!("c{n}").parse().unwrap(),
                credential_id: None,
                format: CredentialFormat::Vc1Jwt,
                types: vec![format!("Type{n}")],
                contexts: vec![],
                issuer: issuer.parse().unwrap(),
                holder: "did:web:holder".parse().unwrap(),
                valid_from: Some(Timestamp(i64::try_from(n).unwrap())),
                valid_until: None,
                raw: String::new(),
                json: Value::Null,
                request: None,
                status: Default::default(),
                watch: Default::default(),
            })
        };
        let trusted = [TrustedIssuer { id: "did:web:issuer".parse().unwrap(), supported_types: vec!["*".to_owned()] }];
        let mut held: Vec<_> = (10..100).map(|n| credential(n, "did:web:holder")).collect();
        held.extend([credential(1, "did:web:issuer"), credential(2, "did:web:issuer")]);
        let found: Vec<_> = counting(held.iter(), &trusted, Timestamp(1_000)).into_iter().map(|held| held.types[0].as_str()).collect();
        assert_eq!(found, ["Type2", "Type1"]);
        let many: Vec<_> = (0..100).map(|n| credential(n, "did:web:issuer")).collect();
        assert_eq!(counting(many.iter(), &trusted, Timestamp(1_000)).len(), MAX_HELD);
    }
}
