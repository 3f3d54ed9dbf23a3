//! What the agent holds in memory.

use super::{
    context::ParticipantContext,
    credential::StoredCredential,
    holder_request::HolderRequest,
    key::{self, KeyPair},
    offer::Offer,
};
use crate::{records::Notes, trust::SigningKey};
use cellspace_schemas::{
    Did,
    dcp::DidDocument,
    identity::{KeyPairId, key_pair::KeyUsage},
    issuer::{CredentialId, HolderPid},
};
use cellspace_storage::VaultPath;
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// State of a credential service; a clone is cheap.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The participant context; `None` before it is made and after it was deleted.
    pub context: Option<Arc<ParticipantContext>>,
    /// Whether it was deleted: its id is not used again, so that nobody inherits what others keep under it (invariant ISOLATION).
    pub deleted: bool,
    /// Whether the keys and the name of the deleted one are not gone yet.
    pub leaving: bool,
    /// Key pairs.
    pub keys: RedBlackTreeMapSync<KeyPairId, Arc<KeyPair>>,
    /// Credentials.
    pub credentials: RedBlackTreeMapSync<CredentialId, Arc<StoredCredential>>,
    /// Requests for credentials.
    pub requests: RedBlackTreeMapSync<HolderPid, Arc<HolderRequest>>,
    /// The newest offer of each issuer.
    pub offers: RedBlackTreeMapSync<Did, Arc<Offer>>,
    /// Private keys in the vault that no key pair names.
    pub notes: Notes,
}

impl State {
    /// The participant context, when it is active.
    #[must_use]
    pub fn active_context(&self) -> Option<&Arc<ParticipantContext>> {
        self.context.as_ref().filter(|context| context.active)
    }

    /// The key that new signatures of this usage are made with: the default one among the activated that have it, else the first.
    #[must_use]
    pub fn signing_key(&self, usage: KeyUsage) -> Option<SigningKey> {
        let context = self.context.as_ref()?;
        let usable = || self.keys.values().filter(|key| key.can_sign(usage));
        let key = usable().find(|key| key.default_pair).or_else(|| usable().next())?;
        Some(SigningKey {
            did: context.did.clone(),
            kid: key.key_id.clone(),
            path: VaultPath { owner: (&context.id).into(), alias: key::vault_alias(&key.alias).ok()? },
            algorithm: key.public.algorithm,
        })
    }

    /// The DID document as the keys and services are now, each key with the relationships of its usages; `None` without a participant context.
    #[must_use]
    pub fn did_document(&self) -> Option<DidDocument> {
        let context = self.context.as_ref()?;
        let published = || self.keys.values().filter(|key| key.is_published());
        let methods = published().map(|key| key.verification_method(&context.did)).collect();
        let has = |relationship, id: &str| {
            let usage = KeyUsage::ALL.into_iter().find(|usage| usage.relationship() == relationship);
            usage.is_some_and(|usage| published().any(|key| key.key_id == id && key.is_for(usage)))
        };
        Some(DidDocument::with_relationships(context.did.clone(), methods, context.services.clone(), has))
    }

    /// The DID document, when it is published.
    #[must_use]
    pub fn published_document(&self) -> Option<DidDocument> {
        self.active_context().filter(|context| context.is_published())?;
        self.did_document()
    }
}
