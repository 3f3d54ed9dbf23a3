//! Bounds of what clients may store in the fabric.

use cellspace_schemas::fabric::Properties;

/// Bytes of one entity's free properties, as JSON.
pub const MAX_PROPERTIES: usize = 64 * 1024;
/// Entries of each of the registry's tables.
pub const MAX_REGISTERED: usize = 1_000;
/// Credential specs of a dataspace profile.
pub const MAX_SPECS: usize = 64;
/// Artifacts and protocols of a dataspace profile, roles of a participant profile.
pub const MAX_WORDS: usize = 64;
/// Bytes of a free word: a role, a name, a description.
pub const MAX_TEXT: usize = 4 * 1024;
/// Participant profiles of one tenant that have not been disposed of.
pub const MAX_PROFILES: usize = 10_000;

/// Checks the size of free properties.
///
/// # Errors
/// The rule, when they are too large.
pub fn properties(what: &str, properties: &Properties) -> Result<(), String> {
    let bytes: usize = serde_json::to_vec(properties).map_or(usize::MAX, |json| json.len());
    if bytes <= MAX_PROPERTIES { Ok(()) } else { Err(format!("{what} may have at most {MAX_PROPERTIES} bytes")) }
}

/// Checks number and length of words.
///
/// # Errors
/// The rule that is violated.
pub fn words<'a>(what: &str, words: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let mut count = 0;
    for word in words {
        count += 1;
        if count > MAX_WORDS || word.len() > MAX_TEXT {
            return Err(format!("{what} may have at most {MAX_WORDS} entries of at most {MAX_TEXT} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds() {
        let fits = json!({"a": "x".repeat(MAX_PROPERTIES - 10)});
        assert!(properties("properties", fits.as_object().unwrap()).is_ok());
        let large = json!({"a": "x".repeat(MAX_PROPERTIES)});
        assert!(properties("properties", large.as_object().unwrap()).is_err());
        assert!(words("roles", &vec![String::from("r"); MAX_WORDS]).is_ok());
        assert!(words("roles", &vec![String::from("r"); MAX_WORDS + 1]).is_err());
        assert!(words("roles", &["r".repeat(MAX_TEXT + 1)]).is_err());
    }
}
