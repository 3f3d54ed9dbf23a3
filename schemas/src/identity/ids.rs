//! Identifiers of the Identity API.

use crate::ids::{IdError, id};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

id!(
    /// A key pair resource of one participant (not the DID URL of its public key).
    KeyPairId
);
