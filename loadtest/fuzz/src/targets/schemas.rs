//! Schemas that credentials name, and what they say of credentials.

use super::json;
use cellspace_actors::trust::{
    credential::Credential,
    said::Said,
    schema::{Described, Schema, SchemaEntry},
};
use cellspace_schemas::json::from_slice;
use serde_json::Value;
use url::Url;

/// A schema in the first line, in the others what it is to describe; each of them as `credentialSchema` as well.
pub fn schemas(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let text = lines.next().unwrap_or_default();
    let values: Vec<(&[u8], Value)> = lines.filter_map(|line| Some((line, json(line)?))).collect();
    for said in data.split(|b| *b == b'\n').filter_map(|line| from_slice::<Said<'_>>(line).ok()) {
        let _ = SchemaEntry::read_all(Some(&said));
    }
    let url = Url::parse("https://issuer.example/schema").expect("a URL");
    let compile = |text: &[u8]| Schema::compile(&url, text);
    let Ok(schema) = compile(text) else { return };
    let again = compile(text).unwrap_or_else(|e| panic!("{e} the second time"));
    // Without references it says the opposite, as it stands and wherever it does; what takes too much describes nothing.
    let opposite = if text.contains(&b'$') { None } else { compile(&[b"{\"not\":", text, b"}"].concat()).ok() };
    for (line, value) in &values {
        let describes = schema.describes(value);
        assert_eq!(again.describes(value), describes, "{value}");
        assert!(opposite.as_ref().is_none_or(|opposite| !(opposite.describes(value) && describes)), "{value}");
        described(&schema, line);
    }
}

/// A credential that names a schema is held against it as it was signed.
fn described(schema: &Schema, line: &[u8]) {
    let Ok(claims) = from_slice::<Said<'_>>(line) else { return };
    let Ok(credential) = Credential::read(&claims) else { return };
    for entry in &credential.schemas {
        let signed = credential.as_signed.as_ref().unwrap_or_else(|| panic!("{claims:?} is not kept as it was signed"));
        let subjects = || match &signed["credentialSubject"] {
            Value::Array(all) => all.iter().all(|subject| schema.describes(subject)),
            one => schema.describes(one),
        };
        let expected = match entry.described {
            Described::Credential => schema.describes(signed),
            Described::Subjects => subjects(),
        };
        assert_eq!(entry.holds(schema, &credential), expected, "{claims:?}");
    }
}
