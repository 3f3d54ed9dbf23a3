//! How a credential is written and secured.

use serde::{Deserialize, Serialize};

/// A credential's data model and proof. Spelled three ways on the wire: as [`Self::name`], [`Self::profile`] and, in stored rows, as the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CredentialFormat {
    /// VC Data Model 1.1 in a JWT with a `vc` claim, status in a `StatusList2021`.
    #[serde(rename = "VC1_0_JWT")]
    Vc1Jwt,
    /// VC Data Model 2.0 secured with JOSE, status in a Bitstring Status List.
    #[serde(rename = "VC2_0_JOSE")]
    Vc2Jose,
}

impl CredentialFormat {
    /// Both, in a stable order.
    pub const ALL: [Self; 2] = [Self::Vc1Jwt, Self::Vc2Jose];

    /// The name in the Identity API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vc1Jwt => "VC1_0_JWT",
            Self::Vc2Jose => "VC2_0_JOSE",
        }
    }

    /// The alias of the DCP profile (DCP 1.0, "DCP Profile Definitions").
    #[must_use]
    pub const fn profile(self) -> &'static str {
        match self {
            Self::Vc1Jwt => "vc11-sl2021/jwt",
            Self::Vc2Jose => "vc20-bssl/jwt",
        }
    }

    /// Reads either spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| text == format.name() || text == format.profile())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        for format in CredentialFormat::ALL {
            assert_eq!(CredentialFormat::parse(format.name()), Some(format));
            assert_eq!(CredentialFormat::parse(format.profile()), Some(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
        assert_eq!(CredentialFormat::parse("ldp_vc"), None);
    }
}
