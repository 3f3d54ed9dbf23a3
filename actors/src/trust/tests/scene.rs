//! A verifier, a holder and an issuer, and what is asked of them.

use crate::{
    settings::TrustedIssuer,
    trust::{
        PeerError, SigningKey, Trust, TrustOptions, VerifiedPeer, VerifyRequest,
        world::{Draft, NOW, Tokens, World},
    },
};
use cellspace_schemas::{ParticipantContextId, Timestamp, dcp::CredentialFormat};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) const MEMBER: &str = "org.eclipse.dspace.dcp.vc.type:Member:read";
pub(super) const MAKER: &str = "org.eclipse.dspace.dcp.vc.type:Maker:read";
pub(super) const OTHER: &str = "org.eclipse.dspace.dcp.vc.type:Other:read";

pub(super) struct Scene {
    pub(super) world: Arc<World>,
    pub(super) trust: Trust,
    pub(super) holder: SigningKey,
    pub(super) issuer: SigningKey,
    pub(super) verifier: SigningKey,
}

impl Scene {
    pub(super) async fn new(options: TrustOptions) -> Self {
        let world = Arc::new(World::default());
        let (holder, issuer, verifier) = (world.party("holder").await, world.party("issuer").await, world.party("verifier").await);
        world.status_list("issuer", &issuer, &[], json!({})).await;
        let trust = world.trust(options);
        Self { world, trust, holder, issuer, verifier }
    }

    /// Holder with a membership; the maker's credential is of the other format.
    pub(super) async fn with_member(options: TrustOptions) -> Self {
        let scene = Self::new(options).await;
        scene.hold(&["Member"], json!({})).await;
        scene
    }

    pub(super) async fn draft(&self, name: &'static str, change: Value) -> (CredentialFormat, String) {
        let format = if name == "Member" { CredentialFormat::Vc2Jose } else { CredentialFormat::Vc1Jwt };
        // The older list form is not served here.
        let change = match (format, change) {
            (CredentialFormat::Vc1Jwt, change) if change == json!({}) => {
                json!({"vc": {"type": ["VerifiableCredential", name], "credentialSubject": {"id": self.holder.did}}})
            }
            (_, change) => change,
        };
        self.world.credential(&self.issuer, Draft { format, holder: self.holder.did.clone(), name, change }).await
    }

    pub(super) async fn hold(&self, names: &[&'static str], change: Value) {
        let mut all = Vec::new();
        for name in names {
            all.push(self.draft(name, change.clone()).await);
        }
        self.world.hold("holder", all);
    }

    pub(super) async fn message(&self, now: Timestamp) -> String {
        self.holder.id_token(&self.world.vault, &self.verifier.did, Some("access"), now).await.unwrap()
    }

    pub(super) async fn verify(&self, optional: &[&str], believe_absence: bool, now: Timestamp) -> Result<VerifiedPeer, PeerError> {
        self.verify_trusting(optional, believe_absence, now, "*").await
    }

    pub(super) async fn verify_trusting(
        &self,
        optional: &[&str],
        believe_absence: bool,
        now: Timestamp,
        types: &str,
    ) -> Result<VerifiedPeer, PeerError> {
        let optional: Vec<String> = optional.iter().map(|scope| (*scope).to_owned()).collect();
        let request = VerifyRequest {
            participant: &ParticipantContextId::new("verifier").unwrap(),
            own_did: &self.verifier.did,
            token: &self.message(now).await,
            call: None,
            required: &[MEMBER.to_owned()],
            optional: &optional,
            named: &[],
            trusted_issuers: &[TrustedIssuer { id: self.issuer.did.clone(), supported_types: vec![types.to_owned()] }],
            slot: None,
            believe_absence,
        };
        self.trust.verify(&request, &Tokens { world: &self.world, key: &self.verifier, now }, now).await
    }
}

pub(super) fn types(peer: &VerifiedPeer) -> Vec<&str> {
    let mut types: Vec<&str> = peer.credentials.iter().map(|c| c.credential.types[1].as_str()).collect();
    types.sort_unstable();
    types
}

pub(super) fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(super) fn refused(outcome: Result<VerifiedPeer, PeerError>) -> String {
    match outcome {
        Err(PeerError::Refused(rule)) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) fn unreachable(outcome: Result<VerifiedPeer, PeerError>) {
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
}

/// What was begun beside a verification and waits for nothing.
pub(super) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
