//! Where the vault is, and how a node signs in.

use crate::Secret;
use std::{fmt, path::PathBuf, time::Duration};

/// Everything a node has to know of the vault.
#[derive(Debug, Clone)]
pub struct RemoteVaultOptions {
    /// Its base URL, `https://vault.example:8200`. Without TLS only on loopback.
    pub address: String,
    /// Its namespace, for those that have namespaces.
    pub namespace: Option<String>,
    /// How the node signs in.
    pub login: Login,
    /// How participants sign in, each with a token that the vault takes for its own folder alone; without it everything is done with the node's.
    pub participants: Option<ParticipantLogin>,
    /// Where the KV engine (version 2) is mounted.
    pub kv: String,
    /// Where the transit engine is mounted.
    pub transit: String,
    /// Folder in the KV engine below which those of the owners lie.
    pub folder: String,
    /// Longest exchange, and longest wait for a token.
    pub timeout: Duration,
    /// Shortest time between two logins: until then the last one's outcome counts.
    pub login_pause: Duration,
}

/// How a node signs in.
#[derive(Clone)]
pub enum Login {
    /// By a JWT that another authority has issued, for example a service account's (`auth/<mount>/login`).
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// The role that is asked for.
        role: String,
        /// The file with the JWT; read at every login, since such tokens are exchanged.
        file: PathBuf,
    },
    /// By a token that is there already, and that others renew.
    Token(Secret),
}

/// How participants sign in: by JWTs (`ES256`) that the node issues, signed by a key of the installation's in the transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantLogin {
    /// Where the method is mounted that takes these JWTs.
    pub mount: String,
    /// The role that is asked for.
    pub role: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwt { mount, role, file } => f.debug_struct("Jwt").field("mount", mount).field("role", role).field("file", file).finish(),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

impl RemoteVaultOptions {
    /// The usual mounts.
    #[must_use]
    pub fn new(address: impl Into<String>, login: Login) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            login,
            participants: None,
            kv: "secret".to_owned(),
            transit: "transit".to_owned(),
            folder: "cellspace".to_owned(),
            timeout: Duration::from_secs(10),
            login_pause: Duration::from_secs(2),
        }
    }

    /// The base URL, checked with everything else.
    pub(super) fn checked(&self) -> Result<reqwest::Url, VaultOptionsError> {
        let named = |what: &'static str, text: &str| {
            let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if text.split('/').all(part) { Ok(()) } else { Err(VaultOptionsError::Name(what)) }
        };
        named("kv", &self.kv)?;
        named("transit", &self.transit)?;
        named("folder", &self.folder)?;
        if let Login::Jwt { mount, .. } = &self.login {
            named("login mount", mount)?;
        }
        if let Some(ParticipantLogin { mount, .. }) = &self.participants {
            named("participants' login mount", mount)?;
        }
        let url = reqwest::Url::parse(&self.address).map_err(|_| VaultOptionsError::Address)?;
        let loopback = match url.host_str() {
            Some(host) => host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
            None => false,
        };
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        let safe = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        if plain && safe && url.path() == "/" { Ok(url) } else { Err(VaultOptionsError::Address) }
    }
}

/// Why the options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultOptionsError {
    /// The base URL.
    #[error("the vault's address must be https://HOST[:PORT], http on loopback alone")]
    Address,
    /// A mount or the folder.
    #[error("the vault's {0} must be of letters, digits, '-', '_' and '/'")]
    Name(&'static str),
    /// No client can be made.
    #[error("the client of the vault cannot be set up: {0}")]
    Client(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let of = |address: &str| RemoteVaultOptions::new(address, Login::Token(Secret::from("t".to_owned())));
        for good in
            ["https://vault.example:8200", "https://vault.example/", "http://127.0.0.1:8200", "http://localhost:1", "http://[::1]:1"]
        {
            assert!(of(good).checked().is_ok(), "{good}");
        }
        for bad in
            ["", "vault", "http://vault.example", "https://u@vault.example", "https://vault.example/v1", "https://x.example?a", "ftp://x"]
        {
            assert_eq!(of(bad).checked(), Err(VaultOptionsError::Address), "{bad}");
        }
        for bad in ["", "/", "a//b", "a b", "a/../b", "ü"] {
            let options = RemoteVaultOptions { kv: bad.to_owned(), ..of("https://x.example") };
            assert_eq!(options.checked(), Err(VaultOptionsError::Name("kv")), "{bad}");
        }
        let participants = Some(ParticipantLogin { mount: "a b".to_owned(), role: "r".to_owned() });
        let options = RemoteVaultOptions { participants, ..of("https://x.example") };
        assert_eq!(options.checked(), Err(VaultOptionsError::Name("participants' login mount")));
        assert!(RemoteVaultOptions { folder: "a/b-1".to_owned(), ..of("https://x.example") }.checked().is_ok());
        assert_eq!(format!("{:?}", of("x").login), "Token");
    }
}
