//! What is asked of others, and made, before the agent decides: names, and keys in the vault.

use super::{CredentialService, participant};
use crate::{
    control_plane::ControlPlane,
    credential_service::{Refusal, State, context, key, listing},
    issuer::Issuer,
    name, records,
};
use cellspace_cluster::{Address, AskError, Call, PrepareError};
use cellspace_schemas::Timestamp;
use cellspace_storage::{VaultError, VaultPath};
use uuid::Uuid;

impl CredentialService {
    /// Reserves the name and makes the keys; the vault comes before the commit that names them. What can be refused without either is refused first.
    pub(super) async fn prepare_create(
        &self,
        address: &Address,
        snapshot: &State,
        create: Box<context::Create>,
        call: &Call,
    ) -> Result<context::Prepared, PrepareError<Refusal>> {
        if snapshot.context.is_some() {
            return Err(Refusal::ContextExists.into());
        }
        if snapshot.deleted || self.was_deleted_elsewhere(address).await? {
            return Err(Refusal::Deleted.into());
        }
        let specs = if create.keys.is_empty() { vec![key::KeySpec::fresh()] } else { create.keys.clone() };
        let mut planned: Vec<(key::KeySpec, key::KeyNames)> = Vec::with_capacity(specs.len());
        for spec in specs {
            let names = key::KeyNames::new(&create.did, &spec, Uuid::new_v4());
            key::check_new(snapshot, &create.did, &names)?;
            if planned.iter().any(|(_, other)| other.clash(&names)) {
                return Err(Refusal::KeyExists.into());
            }
            planned.push((spec, names));
        }
        let id = participant(address);
        let path = context::reserve_name(&self.services, &id, &create.did).await?;
        listing::ROWS.reserve(&self.services, &id).await.map_err(|e| PrepareError::Unavailable(e.to_string()))?;
        let making = planned.into_iter().map(|(spec, names)| self.make_key(address, spec, names, call));
        match futures::future::try_join_all(making).await {
            Ok(keys) => Ok(context::Prepared::Create { id, path, create, keys }),
            Err(error) => {
                // Free at once for others; otherwise its deadline would see to it.
                if let Err(reason) = name::cancel(&self.services, &path, &id).await {
                    tracing::debug!(category = "app", vpa = %address, %reason, "a reservation is left to its deadline");
                }
                Err(error)
            }
        }
    }

    /// An id that the Management API has used up is not used here either.
    async fn was_deleted_elsewhere(&self, address: &Address) -> Result<bool, PrepareError<Refusal>> {
        let management = Address::of::<ControlPlane>(address.owner.clone());
        match self.services.cluster.read::<ControlPlane, _>(&management, |state| state.deleted.is_some()).await {
            Ok(deleted) => Ok(deleted),
            Err(AskError::NotRegistered) => Ok(false),
            Err(error) => Err(PrepareError::Unavailable(error.to_string())),
        }
    }

    /// Until when credentials count that the participant has issued, or issues before it signs with another key.
    async fn signed_until(&self, address: &Address) -> Result<Option<Timestamp>, PrepareError<Refusal>> {
        let (issuer, now) = (Address::of::<Issuer>(address.owner.clone()), self.services.cluster.now());
        match self.services.cluster.read::<Issuer, _>(&issuer, |state| state.signed_until(now)).await {
            Ok(until) => Ok(until),
            Err(AskError::NotRegistered) => Ok(None),
            Err(error) => Err(PrepareError::Unavailable(error.to_string())),
        }
    }

    /// Makes the key that the command asks for, once it is known to be taken.
    pub(super) async fn prepare_key(
        &self,
        address: &Address,
        snapshot: &State,
        command: key::Command,
        call: &Call,
    ) -> Result<key::Prepared, PrepareError<Refusal>> {
        let context = snapshot.context.as_ref().ok_or(Refusal::NoContext)?;
        let before = key::before_new(snapshot, &command, self.services.cluster.now())?;
        let new = match (before, command.spec()) {
            (Some(before), Some(spec)) => {
                let names = key::KeyNames::new(&context.did, spec, Uuid::new_v4());
                key::check_new(&before, &context.did, &names)?;
                Some(self.make_key(address, spec.clone(), names, call).await?)
            }
            (None, _) | (_, None) => None,
        };
        let signed_until = match &command {
            key::Command::Rotate { .. } => self.signed_until(address).await?,
            key::Command::Add { .. } | key::Command::Activate(_) | key::Command::Revoke { .. } => None,
        };
        Ok(key::Prepared { command, new, signed_until })
    }

    /// The key of the spec. One that is made goes again, should the command not be executed.
    async fn make_key(
        &self,
        address: &Address,
        spec: key::KeySpec,
        names: key::KeyNames,
        call: &Call,
    ) -> Result<key::NewKey, PrepareError<Refusal>> {
        let vault = &self.services.vault;
        let path = VaultPath { owner: address.owner.clone(), alias: key::vault_alias(&names.alias)? };
        let refused = |error| match error {
            VaultError::WrongType(_) => Refusal::KeyExists.into(),
            other => PrepareError::Unavailable(other.to_string()),
        };
        let public = match &spec.existing {
            None => {
                let noted = records::begin::<Self>(&self.services, address, path.alias.clone(), call).await?;
                let (vault, algorithm) = (vault.clone(), spec.algorithm());
                // Goes on when its caller gives up: what is removed then must be there by then.
                let making = tokio::spawn(async move { noted.make(vault.generate_key(&path, algorithm)).await });
                making.await.map_err(|e| PrepareError::Unavailable(e.to_string()))?.map_err(refused)?
            }
            Some(jwk) => {
                let held = vault.public_key(&path).await;
                held.ok()
                    .filter(|held| same_key(&held.jwk, jwk))
                    .ok_or(Refusal::BadKey("the vault must hold the private key of publicKeyJwk"))?
            }
        };
        Ok(key::NewKey { names, public, active: spec.active, usage: spec.usage, made: spec.existing.is_none() })
    }
}

/// Whether two public JWKs are the same key, whatever else they say.
fn same_key(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    ["kty", "crv", "x", "y"].iter().all(|name| a.get(name) == b.get(name))
}
