//! Key pairs: made, rotated, revoked, and what each signs.

use super::*;

#[tokio::test]
async fn keys_are_made_for_commands_that_are_taken() {
    let platform = start().await;
    platform.participant("acme").await;
    let vault = platform.node.app.services.vault.clone();
    let pairs = format!("{IDENTITY}/participants/acme/keypairs");
    let next = json!({"keyId": "next", "privateKeyAlias": "next"});
    assert_eq!(platform.call(Method::POST, &format!("{pairs}/nope/rotate"), Some(next.clone())).await.0, StatusCode::NOT_FOUND);
    let path = VaultPath { owner: (&id_of("acme")).into(), alias: "keypair/next".parse().unwrap() };
    assert!(vault.public_key(&path).await.is_err(), "nothing was made");
    // What lies there is of another type.
    vault.put_secret(&path, "s3cret".to_owned().into()).await.unwrap();
    assert_eq!(platform.call(Method::PUT, &pairs, Some(next)).await.0, StatusCode::CONFLICT);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn each_signature_takes_a_key_of_its_usage() {
    let platform = start().await;
    platform.participant("verifier").await;
    let mut manifest = platform.manifest("acme", "acme");
    let key = |name: &str, usage: &str| json!({"keyId": name, "privateKeyAlias": name, "usage": [usage]});
    manifest["key"] = json!(null);
    manifest["keys"] = json!([key("shows", "sign_presentation"), key("issues", "sign_credentials")]);
    platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let document = platform.public("/acme/did.json").await.1;
    let kid = |name: &str| json!([format!("{}#{name}", platform.did("acme"))]);
    assert_eq!(
        (&document["assertionMethod"], &document["authentication"], &document["capabilityInvocation"]),
        (&kid("issues"), &kid("shows"), &json!([]))
    );
    // No key signs tokens: said clearly, and nothing else is taken for one.
    // Nor can it ask others for their credentials, which is nobody's business but its own.
    let unasked = platform.verify("verifier", "acme", &[]).await.unwrap_err();
    assert_eq!(unasked.to_string(), "the sender cannot be verified now, try again later");
    let token = async || self_issued_token(&platform.node.app.services, &id_of("acme"), &platform.did("verifier"), &[]).await;
    assert_eq!(token().await.unwrap_err().to_string(), "participant context acme has no active key with the usage sign_token");
    platform.must(Method::PUT, &format!("{IDENTITY}/participants/acme/keypairs"), Some(key("tokens", "sign_token"))).await;
    let query = async |token: &str| platform.query_presentations("verifier", token, &[MEMBERSHIP]).await;
    // Its signature is believed: what is missing is the access token that should be in it.
    let (status, body) = query(&token().await.unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.to_string().contains("token claim"), "{body}");
    assert_eq!(platform.public("/acme/did.json").await.1["capabilityInvocation"], kid("tokens"));
    let unknown = platform.call(Method::PUT, &format!("{IDENTITY}/participants/acme/keypairs"), Some(key("other", "sign"))).await;
    assert_eq!(unknown.0, StatusCode::BAD_REQUEST, "{}", unknown.1);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn keys_are_rotated_and_revoked() {
    let platform = start().await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership"])]).await;
    platform.verify("consumer", "provider", &[]).await.unwrap();
    let pairs = format!("{IDENTITY}/participants/consumer/keypairs");
    let listed = || async { platform.must(Method::GET, &pairs, None).await.as_array().unwrap().clone() };
    let old = listed().await[0]["id"].as_str().unwrap().to_owned();
    let key_id = format!("{}#second", platform.did("consumer"));
    let descriptor = json!({"keyId": key_id, "privateKeyAlias": "alias2", "keyGeneratorParams": {"algorithm": "EC", "curve": "secp256r1"}});
    platform.must(Method::POST, &format!("{pairs}/{old}/rotate"), Some(descriptor.clone())).await;
    let after = listed().await;
    let state = |id: &str| after.iter().find(|k| k["id"] == *id || k["keyId"] == *id).unwrap()["state"].clone();
    assert_eq!((after.len(), state(&old), state(&key_id)), (2, json!(300), json!(200)));
    // Neither twice, nor under the same names, nor by one that does not sign.
    let (status, answer) = platform.call(Method::POST, &format!("{pairs}/{old}/rotate"), Some(json!({"active": false}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(platform.call(Method::POST, &format!("{pairs}/{old}/rotate"), None).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::PUT, &pairs, Some(descriptor)).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.public("/consumer/did.json").await.1["verificationMethod"].as_array().unwrap().len(), 2);
    platform.verify("consumer", "provider", &[]).await.unwrap();
    platform.must(Method::POST, &format!("{pairs}/{old}/revoke"), None).await;
    assert_eq!(platform.public("/consumer/did.json").await.1["verificationMethod"].as_array().unwrap().len(), 1);
    platform.verify("consumer", "provider", &[]).await.unwrap();
    // A revoked issuer key makes its credentials worthless.
    let pairs = format!("{IDENTITY}/participants/issuer/keypairs");
    let id = platform.must(Method::GET, &pairs, None).await[0]["id"].as_str().unwrap().to_owned();
    platform.must(Method::POST, &format!("{pairs}/{id}/revoke"), Some(json!({"keyId": "next"}))).await;
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("signing key"), "{error}");
    platform.node.drain(DRAIN).await;
}
