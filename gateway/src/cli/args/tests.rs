//! What is read, and what is refused.

use super::*;
use crate::node::{NodeConfig, Ports};
use cellspace_actors::issuer::ListBits;
use cellspace_storage::{Login, MasterKey};
use clap::CommandFactory;
use std::time::Duration;

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

/// Options of `up` stand under what they belong to.
#[test]
fn only_options_of_events_stand_below_events() {
    let mut cli = Cli::command();
    let help = cli.find_subcommand_mut("up").unwrap().render_long_help().to_string();
    let (_, events) = help.split_once("\nEvents:\n").unwrap();
    let (events, _) = events.split_once("\nLogs and traces:\n").unwrap();
    let options: Vec<_> = events.lines().filter_map(|line| line.trim_start().strip_prefix("--")).collect();
    assert!(options.len() == 3 && options.iter().all(|option| option.starts_with("kafka")), "{options:?}");
}

fn up(args: &[&str]) -> NodeConfig {
    let cli = Cli::try_parse_from(["cellspace", "up"].iter().chain(args)).unwrap();
    match cli.command {
        Command::Up(args) => args.settings.config(&args.data).unwrap(),
        Command::Run(_) | Command::Demo(_) | Command::Admin(_) | Command::Rekey(_) => panic!("not up"),
    }
}

#[test]
fn a_demo_is_played_on_a_platform_of_its_own_or_on_another() {
    let demo = |args: &[&str]| Cli::try_parse_from(["cellspace", "demo"].iter().chain(args)).is_ok();
    assert!(demo(&[]) && demo(&["--against", "http://localhost:1", "--client-file", "f"]));
    assert!(!demo(&["--against", "http://localhost:1"]) && !demo(&["--client-file", "f"]));
    assert!(!demo(&["--against", "http://localhost:1", "--client-file", "f", "--keep"]));
}

#[test]
fn up_reads_its_arguments() {
    let config = up(&["--port", "0", "--status-list-age", "2s", "--idle-after", "100ms", "--issuer", "https://idp/a=b=https://idp/jwks"]);
    assert_eq!(config.ports, Ports::Free);
    assert_eq!((config.status_list_age, config.cluster.idle_after), (Duration::from_secs(2), Duration::from_millis(100)));
    assert_eq!((config.issuers[0].issuer.as_str(), config.issuers[0].jwks.as_str()), ("https://idp/a=b", "https://idp/jwks"));
    assert_eq!(config.issuers[0].audience, None);
    let config = up(&["--issuer", "i=https://idp/jwks,cells"]);
    assert_eq!((config.issuers[0].jwks.as_str(), config.issuers[0].audience.as_deref()), ("https://idp/jwks", Some("cells")));
    assert_eq!(up(&["--single-participant", "acme"]).single_participant, Some("acme".parse().unwrap()));
    assert_eq!(up(&[]).single_participant, None);
    assert_eq!((up(&["--every-profile"]).every_profile, up(&[]).every_profile), (true, false));
    let lenient = |arguments: &[&str]| {
        let trust = up(arguments).trust;
        [trust.lenient_relationships, trust.lenient_ids, trust.lenient_schemas, trust.lenient_lists]
    };
    assert_eq!((lenient(&[]), lenient(&["--tolerate", "ids"])), ([false; 4], [false, true, false, false]));
    assert_eq!(lenient(&["--tolerate", "relationships", "--tolerate", "schemas"]), [true, false, true, false]);
    assert_eq!(lenient(&["--tolerate", "lists"]), [false, false, false, true]);
    assert!(Cli::try_parse_from(["cellspace", "up", "--tolerate", "signatures"]).is_err());
    assert_eq!(up(&["--status-list-bits", "1048576"]).status_list_bits, ListBits::new(1 << 20).unwrap());
    assert_eq!(up(&[]).status_list_bits, ListBits::LEAST);
    for bad in ["0", "1000000", "65536", "16777216", "many"] {
        assert!(Cli::try_parse_from(["cellspace", "up", "--status-list-bits", bad]).is_err(), "{bad}");
    }
    assert_eq!((up(&["--cell", "eu-2"]).cell.as_str(), up(&[]).cell.as_str()), ("eu-2", "cell-1"));
    assert_eq!(up(&["--port", "9000"]).ports, Ports::Base(9000));
    assert_eq!(up(&[]).ports, Ports::Remembered);
    assert!(matches!(up(&["--master-key-command", "pass show cells"]).master_key, Some(MasterKey::Command(_))));
    assert!(up(&[]).master_key.is_none() && up(&[]).vault.is_none());
    let vault = up(&["--vault-addr", "https://v:8200", "--vault-role", "cells", "--vault-login", "kubernetes"]).vault.unwrap();
    assert_eq!((vault.address.as_str(), vault.kv.as_str(), vault.folder.as_str()), ("https://v:8200", "secret", "cellspace"));
    assert!(matches!(&vault.login, Login::Jwt { mount, role, .. } if mount == "kubernetes" && role == "cells"));
    assert!(vault.participants.is_none());
    let apart = ["--vault-addr", "https://v:8200", "--vault-role", "cells", "--vault-participant-role", "one"];
    let participants = up(&apart).vault.and_then(|vault| vault.participants).unwrap();
    assert_eq!((participants.mount.as_str(), participants.role.as_str()), ("cellspace", "one"));
    for bad in [
        ["--port", "x"],
        ["--issuer", "x"],
        ["--issuer", "i=https://idp/jwks,"],
        ["--idle-after", "soon"],
        ["--single-participant", ""],
        ["--host", "example.com"],
        ["--cell", ""],
        ["--cell", "A B"],
        // Of what is not named itself.
        ["--cassandra-keyspace", "x"],
        ["--cassandra-user", "x"],
        ["--kafka-prefix", "x."],
        ["--vault-role", "x"],
        ["--vault-folder", "x"],
    ] {
        assert!(Cli::try_parse_from(["cellspace", "up"].iter().chain(&bad)).is_err(), "{bad:?}");
    }
    let store = up(&["--cassandra", "a:1,b:2", "--cassandra-datacenter", "dc"]).scylla.unwrap();
    assert_eq!(
        (store.contact_points.join(" "), store.keyspace.as_str(), store.datacenter.as_deref()),
        ("a:1 b:2".into(), "cellspace", Some("dc"))
    );
    let log = up(&["--kafka", "a:1,b:2", "--kafka-prefix", "x.", "--kafka-replication", "3"]).kafka.unwrap();
    assert_eq!((log.servers.join(" "), log.prefix.as_str(), log.replication), ("a:1 b:2".into(), "x.", Some(3)));
    let topics = |args: &[&str]| Cli::try_parse_from(["cellspace", "admin", "topics", "--kafka", "a:1"].iter().chain(args)).is_ok();
    assert!(topics(&[]) && topics(&["--create"]) && topics(&["--dead-letters", "t", "--after", "3"]) && topics(&["--replay", "t"]));
    assert!(!topics(&["--replay", "t", "--create"]) && !topics(&["--after", "3"]));
    let schema = |args: &[&str]| Cli::try_parse_from(["cellspace", "admin", "schema", "--cassandra", "a:1"].iter().chain(args)).is_ok();
    assert!(schema(&[]) && schema(&["--replication", "a=3,b=2"]) && !schema(&["--replication", "0"]));
    let rekey = |args: &[&str]| Cli::try_parse_from(["cellspace", "rekey"].iter().chain(args)).is_ok();
    assert!(rekey(&["--new-master-key-file", "f"]) && rekey(&["--master-key-env", "A", "--new-master-key-env", "B"]));
    assert!(rekey(&["--config", "c", "--new-master-key-env", "B"]) && !rekey(&["--config", "c"]));
    assert!(!rekey(&["--config", "c", "--master-key-env", "A", "--new-master-key-env", "B"]));
    assert!(!rekey(&[]) && !rekey(&["--new-master-key-file", "f", "--new-master-key-env", "B"]));
    assert!(Cli::try_parse_from(["cellspace", "up", "--vault-addr", "https://v"]).is_err());
    assert!(Cli::try_parse_from(["cellspace", "up", "--master-key-file", "f", "--master-key-command", "c"]).is_err());
}
