//! The suite's configuration for this system under test.

use crate::{
    counterpart::SUITE_AUTHORIZATION,
    front::{NEGOTIATE, TRANSFER},
    participant::{FORMAT, UnderTest},
    script::{ASKED_FOR, MISSING, NEGOTIATED, SHOWN, TRANSFERRED},
};
use cellspace_schemas::Did;
use std::{collections::BTreeMap, fmt::Write};

/// How long the suite waits for a state, in seconds.
const WAIT: u32 = 15;

/// Properties of the suite of the Dataspace Protocol, which listens on `port` of loopback.
pub fn dsp(front: &str, port: u16, under_test: &UnderTest, offers: &BTreeMap<&str, String>) -> String {
    let mut lines = common("dsp.system.DspSystemLauncher", port, "127.0.0.1");
    let mut set = |key: &str, value: String| lines.push((format!("dataspacetck.dsp.{key}"), value));
    set("local.connector", "false".to_owned());
    set("default.wait", WAIT.to_string());
    set("connector.agent.id", under_test.did.to_string());
    set("connector.http.url", format!("{front}{}", under_test.dsp()));
    set("connector.http.base.url", format!("{front}{}", under_test.base()));
    set("connector.http.headers.authorization", SUITE_AUTHORIZATION.to_owned());
    set("connector.negotiation.initiate.url", format!("{front}{NEGOTIATE}"));
    set("connector.transfer.initiate.url", format!("{front}{TRANSFER}"));
    for dataset in SHOWN.into_iter().chain([MISSING]) {
        lines.push((format!("{}_DATASETID", test("CAT", dataset)), dataset.to_owned()));
    }
    for dataset in NEGOTIATED {
        lines.push((format!("{}_DATASETID", test("CN", dataset)), dataset.to_owned()));
        lines.extend(offers.get(dataset).map(|offer| (format!("{}_OFFERID", test("CN", dataset)), offer.clone())));
    }
    lines.extend(ASKED_FOR.map(|dataset| (format!("{}_DATASETID", test("CN_C", dataset)), dataset.to_owned())));
    for id in TRANSFERRED {
        for (of, agreement) in [("TP", format!("ATP{id}")), ("TP_C", format!("ATPC{id}"))] {
            lines.push((format!("{}_FORMAT", test(of, id)), FORMAT.to_owned()));
            lines.push((format!("{}_AGREEMENTID", test(of, id)), agreement));
        }
    }
    written(&lines)
}

/// Properties of the suite of the Decentralized Claims Protocol, which listens on `port` of loopback, for a participant in this role.
pub fn dcp(port: u16, role: &str, did: &Did, more: &[(&str, &str)]) -> String {
    // Its callback address is part of its DIDs, which name no IP address.
    let mut lines = common("dcp.system.DcpSystemLauncher", port, "localhost");
    lines.push((format!("dataspacetck.did.{role}"), did.to_string()));
    lines.extend(more.iter().map(|(key, value)| (format!("dataspacetck.{key}"), (*value).to_owned())));
    written(&lines)
}

/// What every suite is told.
fn common(launcher: &str, port: u16, host: &str) -> Vec<(String, String)> {
    vec![
        ("dataspacetck.launcher".to_owned(), format!("org.eclipse.dataspacetck.{launcher}")),
        ("dataspacetck.host".to_owned(), "127.0.0.1".to_owned()),
        ("dataspacetck.port".to_owned(), port.to_string()),
        ("dataspacetck.callback.address".to_owned(), format!("http://{host}:{port}")),
    ]
}

fn written(lines: &[(String, String)]) -> String {
    lines.iter().fold(String::new(), |mut text, (key, value)| {
        // Neither keys nor values have characters that the format gives a meaning to.
        let _ = writeln!(text, "{key}={value}");
        text
    })
}

/// The prefix of a test's parameters: `CN_01_02` for the id `ACN0102`.
fn test(of: &str, id: &str) -> String {
    let (rest, last) = id.split_at(id.len().saturating_sub(2));
    let (_, group) = rest.split_at(rest.len().saturating_sub(2));
    format!("{of}_{group}_{last}")
}
