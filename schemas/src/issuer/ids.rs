//! Identifiers of credential issuance.

use crate::ids::{IdError, id};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

id!(
    /// A holder registered with an issuer (Issuer admin API `holderId`); often, but not always, its DID.
    HolderId
);
id!(
    /// An attestation definition of an issuer.
    AttestationId
);
id!(
    /// A credential definition of an issuer; the `id` of its `CredentialObject` (DCP 1.0, 6.6).
    CredentialDefinitionId
);
id!(
    /// A credential as its issuer knows it; the credential's own `id` is `urn:uuid:` and this.
    CredentialId
);
id!(
    /// An issuance process on the issuer's side (DCP 1.0, 6.5 `issuerPid`).
    IssuerPid
);
id!(
    /// A credential request on the holder's side (DCP 1.0, 6.4 `holderPid`).
    HolderPid
);
