//! Rows of a store, which may have been written by another version, or by a disk that forgets: decoded, folded into a state.

use cellspace_actors::{
    ControlPlane, CredentialService, FederatedCatalog, Name, SettingsAgent,
    access::Clients,
    data_plane::DataPlane,
    directory::Directory,
    fabric::{FabricRegistry, OrchestrationAgent, TenantAgent},
    issuer::Issuer,
};
use cellspace_cluster::Agent;
use serde::{Serialize, de::DeserializeOwned};

/// Each line as a row of every kind of agent, all into one state.
pub fn stored(data: &[u8]) {
    rows_of::<ControlPlane>(data);
    rows_of::<CredentialService>(data);
    rows_of::<DataPlane>(data);
    rows_of::<FederatedCatalog>(data);
    rows_of::<Issuer>(data);
    rows_of::<Name>(data);
    rows_of::<SettingsAgent>(data);
    rows_of::<Clients>(data);
    rows_of::<Directory>(data);
    rows_of::<FabricRegistry>(data);
    rows_of::<TenantAgent>(data);
    rows_of::<OrchestrationAgent>(data);
}

fn rows_of<A: Agent>(data: &[u8]) {
    let mut state = A::State::default();
    for line in data.split(|b| *b == b'\n') {
        if let Some(event) = again::<A::Event>(line) {
            A::row(&event);
            A::deadline(&event);
            A::about(&event);
            A::apply(&mut state, &event);
        }
        if let Some(effect) = again::<A::Effect>(line) {
            A::redact(&effect);
            A::destination(&effect, &state);
            A::retry_policy(&effect);
        }
        again::<A::Reply>(line);
    }
    A::tenant(&state);
}

/// Reads a row; what is written of it is written again of what is read of that.
fn again<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(line).ok()?;
    // Texts that a writer bounds and a reader does not are another matter than a value that changes.
    let row = serde_json::to_vec(&value).ok()?;
    let read: T = serde_json::from_slice(&row).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&row)));
    assert_eq!(serde_json::to_vec(&read).ok(), Some(row));
    Some(value)
}
