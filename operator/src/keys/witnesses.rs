//! The trust policy of an install (c2sp.org/tlog-policy): the log's key, the witnesses that the values name, those that the
//! install brings along with keys of their own, and how many of them make a settlement final. It lies in a ConfigMap, for the
//! ledger that asks them and for whoever checks receipts.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::Name;
use orion_protocol::bytes::hex;
use sha2::{Digest as _, Sha256};

use super::cluster::Cluster;
use super::genesis::{ED25519, note_key};
use super::material::{Files, witness_key};

/// A signed note's algorithm byte for timestamped cosignatures.
const COSIGNATURE: u8 = 4;
/// What the policy calls all of them together.
const ALL: &str = "witnesses";
/// Names that the policy's language, or this file, uses itself.
const TAKEN: [&str; 2] = [ALL, "none"];

/// A witness that somebody else runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    name: Name,
    key: String,
    url: String,
}

impl FromStr for Witness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [name, key, url] = words[..] else { return Err("expected \"<name> <key> <url>\"".to_owned()) };
        check_key(key)?;
        check_url(url)?;
        Ok(Witness { name: free(name)?, key: key.to_owned(), url: url.to_owned() })
    }
}

/// A witness that the install brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoWitness {
    /// Its name.
    pub name: Name,
    url: String,
}

impl FromStr for DemoWitness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("expected <name>=<url>")?;
        check_url(url)?;
        Ok(DemoWitness { name: free(name)?, url: url.to_owned() })
    }
}

fn free(name: &str) -> Result<Name, String> {
    let parsed: Name = name.parse().map_err(|error| format!("name: {error}"))?;
    if TAKEN.contains(&name) { Err(format!("name: {name} means something else in a policy")) } else { Ok(parsed) }
}

/// `<name>+<key id>+<base64 of algorithm and key>` of a cosigner.
fn check_key(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.splitn(3, '+').collect();
    let [name, id, typed] = parts[..] else { return Err("key: expected <name>+<id>+<key>".to_owned()) };
    let typed = BASE64.decode(typed).map_err(|error| format!("key: {error}"))?;
    match typed.first() {
        Some(&COSIGNATURE) if typed.len() == 33 => {}
        Some(&ED25519) => return Err("key: that of a log, not of a witness".to_owned()),
        _ => return Err("key: not an ed25519 key of a witness".to_owned()),
    }
    if key_id(name, &typed) == id { Ok(()) } else { Err("key: its id does not fit it".to_owned()) }
}

/// The first four bytes of a note key's hash, in hex.
pub fn key_id(name: &str, typed: &[u8]) -> String {
    hex(&Sha256::new().chain_update(name).chain_update(b"\n").chain_update(typed).finalize()[..4])
}

fn check_url(url: &str) -> Result<(), String> {
    let rest =
        url.strip_prefix("http://").ok_or("url: expected http://; for https put a proxy of your own before it")?;
    let good = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(()) } else { Err("url: no host".to_owned()) }
}

/// The policy, and the Secrets of the witnesses that the install brings along.
pub async fn ensure(
    cluster: &Cluster,
    log: &str,
    given: &[Witness],
    demo: &[DemoWitness],
    quorum: u32,
) -> anyhow::Result<(String, Vec<(String, Files)>)> {
    let (mut lines, mut secrets) = (Vec::new(), Vec::new());
    for Witness { name, key, url } in given {
        lines.push((name, format!("witness {name} {key} {url}")));
    }
    for DemoWitness { name, url } in demo {
        let object = format!("orion-witness-{name}");
        let (public, files) = witness_key(cluster, &object).await?;
        lines.push((name, format!("witness {name} {} {url}", note_key(&object, COSIGNATURE, public))));
        secrets.push((object, files));
    }
    Ok((policy(log, &lines, quorum)?, secrets))
}

/// `quorum` 0 asks for more than half.
fn policy(log: &str, witnesses: &[(&Name, String)], quorum: u32) -> anyhow::Result<String> {
    let head = "# Whose cosignatures make a settlement final. Made of the chart's values at each install and upgrade.";
    let names: Vec<&str> = witnesses.iter().map(|(name, _)| name.as_str()).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    anyhow::ensure!(different.len() == names.len(), "two witnesses have one name: {}", names.join(", "));
    if names.is_empty() {
        anyhow::ensure!(quorum == 0, "a quorum of {quorum} is asked for, and there are no witnesses");
        return Ok(format!("{head}\nlog {log}\nquorum none\n"));
    }
    let count = u32::try_from(names.len()).context("counting witnesses")?;
    let quorum = if quorum == 0 { count / 2 + 1 } else { quorum };
    anyhow::ensure!(quorum <= count, "a quorum of {quorum} is asked for, and there are {count} witnesses");
    let lines: Vec<&str> = witnesses.iter().map(|(_, line)| line.as_str()).collect();
    let (lines, names) = (lines.join("\n"), names.join(" "));
    Ok(format!("{head}\nlog {log}\n{lines}\ngroup {ALL} {quorum} {names}\nquorum {ALL}\n"))
}

#[cfg(test)]
mod tests {
    use orion_protocol::PublicKey;

    use super::*;

    #[test]
    fn a_witness_is_a_line_of_a_policy_and_its_key_is_checked() {
        let key = note_key("example.com/w", COSIGNATURE, PublicKey([7; 32]));
        let line = format!("ann {key} http://w.example.com:8080");
        let witness: Witness = line.parse().unwrap();
        assert_eq!((witness.name.as_str(), witness.url.as_str()), ("ann", "http://w.example.com:8080"));
        let log = note_key("example.com/w", ED25519, PublicKey([7; 32]));
        for wrong in [
            "ann".to_owned(),
            format!("ann {log} http://w"),
            format!("ann {} http://w", key.replace("example.com", "example.org")),
            format!("ann {key} https://w"),
            format!("ann {key} http://"),
            format!("none {key} http://w"),
            format!("ann  {key} http://w"),
        ] {
            assert!(wrong.parse::<Witness>().is_err(), "{wrong}");
        }
        assert!("ann=http://w:80".parse::<DemoWitness>().is_ok());
        assert!("ann=w".parse::<DemoWitness>().is_err());
    }

    #[test]
    fn a_quorum_is_more_than_half_unless_it_is_said() {
        let names: Vec<Name> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let lines: Vec<_> = names.iter().map(|name| (name, format!("witness {name} key url"))).collect();
        let of = |count: usize, quorum| policy("LOG", &lines[..count], quorum);
        let text = of(3, 0).unwrap();
        assert!(text.ends_with("witness c key url\ngroup witnesses 2 a b c\nquorum witnesses\n"), "{text}");
        assert!(of(2, 1).unwrap().contains("group witnesses 1 a b\n"));
        assert!(of(0, 0).unwrap().ends_with("log LOG\nquorum none\n"));
        assert!(of(2, 3).is_err() && of(0, 1).is_err());
        assert!(policy("LOG", &[lines[0].clone(), lines[0].clone()], 1).is_err());
    }
}
