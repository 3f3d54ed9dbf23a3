//! Values that clients spell in more than one way: numbers and booleans as strings, formats by name or profile.

use serde::{Deserialize, Deserializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<T> {
    Plain(T),
    Text(String),
}

fn loose<'de, D: Deserializer<'de>, T: Deserialize<'de> + std::str::FromStr>(deserializer: D, expected: &str) -> Result<T, D::Error> {
    match Loose::<T>::deserialize(deserializer) {
        Ok(Loose::Plain(value)) => Ok(value),
        Ok(Loose::Text(text)) => text.trim().parse().map_err(|_| D::Error::custom(format_args!("expected {expected}"))),
        Err(_) => Err(D::Error::custom(format_args!("expected {expected}"))),
    }
}

/// A missing value for `null`, as some clients send it.
///
/// # Errors
/// As the type itself.
pub fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A whole number that is not negative, or its text.
///
/// # Errors
/// Anything else.
pub fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    loose(deserializer, "a whole number that is not negative")
}

/// `true` or `false`, or its text.
///
/// # Errors
/// Anything else.
pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    loose(deserializer, "true or false")
}

/// A credential format: either spelling in, the profile's alias out.
pub mod format {
    use super::{Deserialize, Deserializer, Error};
    use crate::dcp::CredentialFormat;
    use serde::Serializer;

    /// Writes the alias.
    ///
    /// # Errors
    /// Of the serializer.
    #[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde calls
    pub fn serialize<S: Serializer>(format: &CredentialFormat, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(format.profile())
    }

    /// Reads the alias or the format's name.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CredentialFormat, D::Error> {
        let expected = || D::Error::custom("unknown credential format, use vc20-bssl/jwt (VC2_0_JOSE) or vc11-sl2021/jwt (VC1_0_JWT)");
        CredentialFormat::parse(&String::deserialize(deserializer)?).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Both {
        #[serde(deserialize_with = "unsigned")]
        n: u64,
        #[serde(deserialize_with = "boolean")]
        b: bool,
    }

    #[test]
    fn plain_or_text() {
        for json in [r#"{"n":604800,"b":true}"#, r#"{"n":"604800","b":"true"}"#] {
            let both: Both = serde_json::from_str(json).unwrap();
            assert_eq!((both.n, both.b), (604_800, true));
        }
        for bad in
            [r#"{"n":-1,"b":true}"#, r#"{"n":1.5,"b":true}"#, r#"{"n":"1s","b":true}"#, r#"{"n":1,"b":"yes"}"#, r#"{"n":1,"b":null}"#]
        {
            assert!(serde_json::from_str::<Both>(bad).is_err(), "{bad}");
        }
    }
}
