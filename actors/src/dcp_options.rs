//! How a node speaks DCP where earlier levels of the protocol, and peers that were written to them, differ from the specification.

use cellspace_schemas::dcp::CredentialFormat;

/// What may be chosen; the default is what the specification says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DcpOptions {
    /// In a `CredentialMessage`, a format is called by its name (`VC1_0_JWT`) instead of by the alias of its profile (DCP 1.0, 6.5.2). Both are
    /// understood either way.
    pub format_names: bool,
    /// A presentation query for more than its access token grants is refused, instead of answered with fewer credentials (DCP 1.0, 5.4.1.2).
    pub refuse_beyond_grant: bool,
    /// A credential names the list of its revocation alone, not in a list of its own, instead of those of revocation and suspension: then a suspension
    /// cannot be seen. The VC Data Model 1.1 has one `credentialStatus` (4.9).
    pub single_status: bool,
}

impl DcpOptions {
    /// What a format is called in messages to holders.
    #[must_use]
    pub const fn spelling_of(self, format: CredentialFormat) -> &'static str {
        if self.format_names { format.name() } else { format.profile() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_called_as_the_specification_says_unless_told_otherwise() {
        let names = DcpOptions { format_names: true, ..DcpOptions::default() };
        for (format, profile, name) in
            [(CredentialFormat::Vc1Jwt, "vc11-sl2021/jwt", "VC1_0_JWT"), (CredentialFormat::Vc2Jose, "vc20-bssl/jwt", "VC2_0_JOSE")]
        {
            assert_eq!((DcpOptions::default().spelling_of(format), names.spelling_of(format)), (profile, name));
        }
    }
}
