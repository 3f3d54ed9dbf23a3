//! What is presented.

use super::*;
use crate::credential_service::presentations::select;

#[test]
fn only_what_is_asked_granted_and_valid_is_presented() {
    let mut state = acme(true);
    for (id, valid) in [("c1", true), ("c2", false)] {
        let mut credential = (*held(id, id, None)).clone();
        credential.valid_until = Some(if valid { Timestamp(NOW.0 + 1) } else { NOW });
        credential.credential_id = Some(format!("urn:{id}"));
        let stored = credential::Prepared::Store { credential: Arc::new(credential), replace: false };
        command(&mut state, Prepared::Credential(stored)).unwrap();
    }
    let scope = |text: &str| CredentialScope::parse(&format!("org.eclipse.dspace.dcp.vc.{text}")).unwrap();
    let select = |asked: &[CredentialScope], granted: &[CredentialScope]| {
        select(&state, asked, granted, NOW).iter().map(|c| c.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    let (member, other) = (scope("type:Member"), scope("type:Other"));
    let table: [(&[CredentialScope], &[CredentialScope], &[&str]); 6] = [
        (from_ref(&member), from_ref(&member), &["c1"]),
        (&[member.clone(), other.clone()], from_ref(&member), &["c1"]),
        (from_ref(&member), from_ref(&other), &[]),
        (from_ref(&other), from_ref(&member), &[]),
        // A credential by its id is granted with its type.
        (&[scope("id:urn:c1")], from_ref(&member), &["c1"]),
        (&[scope("id:urn:c2")], from_ref(&member), &[]),
    ];
    for (asked, granted, expected) in table {
        assert_eq!(select(asked, granted), expected, "{asked:?} of {granted:?}");
    }
}

#[test]
fn a_presentation_is_bounded() {
    let mut state = acme(true);
    let mut store = |id: &str, kind: &str, format: CredentialFormat, from: i64| {
        let valid_from = Some(Timestamp(NOW.0 - from));
        let credential = StoredCredential { valid_from, format, ..(*typed(id, &format!("urn:{id}"), kind, id)).clone() };
        let stored = credential::Prepared::Store { credential: Arc::new(credential), replace: false };
        command(&mut state, Prepared::Credential(stored)).unwrap();
    };
    let (vc1, vc2) = (CredentialFormat::Vc1Jwt, CredentialFormat::Vc2Jose);
    store("old", "Member", vc2, 20);
    store("new", "Member", vc2, 10);
    store("older", "Member", vc1, 40);
    store("other", "Member", vc1, 30);
    for n in 0..40 {
        store(&format!("k{n}"), &format!("Kind{n}"), vc2, 100 + n);
    }
    let scope = |text: &str| CredentialScope::parse(&format!("org.eclipse.dspace.dcp.vc.{text}")).unwrap();
    let select = |asked: &[CredentialScope]| select(&state, asked, asked, NOW).iter().map(|c| c.id.as_str().to_owned()).collect::<Vec<_>>();
    // Of one issuer, type and format the newest; the one that is asked for by its id as well.
    assert_eq!(select(&[scope("type:Member")]), ["new", "other"]);
    assert_eq!(select(&[scope("type:Member"), scope("id:urn:old")]), ["new", "old", "other"]);
    let all = select(&[scope("type:VerifiableCredential")]);
    assert_eq!((all.len(), all[0].as_str(), all[31].as_str()), (32, "new", "k30"));
}
