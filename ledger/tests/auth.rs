//! Who may ask for what: the ledger as a process, with a file of tokens and without.

mod support;

use orion_protocol::cbor;
use orion_protocol::digest::Digest;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::tx::*;
use orion_protocol::{JobId, Signed};
use support::world::{self, Keys};
use support::{Answer, Client, Home};

const SUBMIT: &str = "the operator's";
const READ: &str = "an auditor's";
const METRICS: &str = "the scraper's";

fn deposit(id: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, id, 0);
    Transaction::Deposit(Deposit { consumer, amount: 10 }).sign(&chain, &keys.issuer, 0, id)
}

fn tokens() -> String {
    let line = |role: &str, token: &str| format!("{role} {}\n", Digest::of(token.as_bytes()));
    line("submit", SUBMIT) + &line("read", READ) + &line("metrics", METRICS)
}

/// What the bearer of a token is told.
fn ask(client: Client, token: Option<&str>, path: &str) -> Answer {
    let line = token.map(|token| format!("Orion-Token: {token}\r\n")).unwrap_or_default();
    let body = cbor::to_vec(&deposit(1));
    match path {
        "/v1/transactions" => client.request("POST", path, &line, &body),
        _ => client.request("GET", path, &line, &[]),
    }
}

#[test]
fn a_token_opens_what_its_role_is_for_and_nothing_else() {
    let home = Home::new();
    std::fs::write(home.tokens(), tokens()).unwrap();
    let ledger = home.start();
    let client = ledger.client();
    let account = format!("/v1/accounts/{}", world::consumer(&Keys::new().genesis().chain()));
    let reading = [account.as_str(), "/v1/jobs?open", "/v1/export", "/v1/proofs/0"];
    for path in reading {
        for (token, status) in
            [(None, 401), (Some("a guess"), 401), (Some(METRICS), 403), (Some(READ), 200), (Some(SUBMIT), 200)]
        {
            assert_eq!(ask(client, token, path).status, status, "{path} with {token:?}");
        }
    }
    for (token, status) in
        [(None, 401), (Some("a guess"), 401), (Some(METRICS), 403), (Some(READ), 403), (Some(SUBMIT), 200)]
    {
        assert_eq!(ask(client, token, "/v1/transactions").status, status, "submitting with {token:?}");
    }
    for (token, status) in [(None, 401), (Some(READ), 403), (Some(SUBMIT), 403), (Some(METRICS), 200)] {
        assert_eq!(ask(client, token, "/metrics").status, status, "/metrics with {token:?}");
    }
    for path in ["/v1/head", "/v1/keys", "/checkpoint", "/tile/0/000.p/2", "/livez", "/readyz"] {
        for token in [None, Some("a guess")] {
            assert_eq!(ask(client, token, path).status, 200, "{path} is open to all");
        }
    }
    // A path that nobody serves is refused before it is looked for: what is added later is not open by accident.
    assert_eq!(ask(client, None, "/v1/nothing").status, 401);
    assert_eq!(ask(client, Some(READ), "/v1/nothing").status, 404);
    // A digest is no token, and the header of others is not ours.
    assert_eq!(ask(client, Some(&Digest::of(READ.as_bytes()).to_string()), &account).status, 401);
    let bearer = format!("Authorization: Bearer {READ}\r\n");
    assert_eq!(client.request("GET", &account, &bearer, &[]).status, 401);

    let metrics = String::from_utf8(ask(client, Some(METRICS), "/metrics").body).unwrap();
    for line in [
        r#"orion_ledger_denied_total{role="submit",token="missing"} 1"#,
        r#"orion_ledger_denied_total{role="submit",token="other-role"} 2"#,
        r#"orion_ledger_denied_total{role="read",token="unknown"} 5"#,
        r#"orion_ledger_denied_total{role="metrics",token="other-role"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
}

#[test]
fn whoever_is_turned_away_hears_what_is_needed_and_nothing_of_the_tokens() {
    let home = Home::new();
    std::fs::write(home.tokens(), tokens()).unwrap();
    let ledger = home.start();
    let client = ledger.client();
    let said = |token| {
        let answer = ask(client, token, "/v1/transactions");
        (answer.head.to_lowercase(), String::from_utf8(answer.body).unwrap())
    };
    let (head, words) = said(None);
    assert!(head.contains("www-authenticate: orion-token"), "{head}");
    assert!(words.contains("a token for submit") && words.contains("ORION_LEDGER_TOKEN"), "{words}");
    let (_, words) = said(Some("a guess"));
    assert!(words.contains("not known here") && !words.contains("guess"), "{words}");
    let (_, words) = said(Some(READ));
    assert!(words.contains("for something else: this takes one for submit"), "{words}");
    let (_, words) = said(Some(&"x".repeat(257)));
    assert!(words.contains("not known here"), "{words}");
    assert_eq!(client.head().seal.height, 0, "nothing of it was ordered");
}

#[test]
fn a_file_that_names_no_tokens_is_refused_at_the_start() {
    let home = Home::new();
    for (text, words) in [
        ("read secret\n", "line 1: expected a role (submit, read, metrics) and the SHA3-256 of its token"),
        ("# nobody\n", "leave --tokens out to serve everybody"),
    ] {
        std::fs::write(home.tokens(), text).unwrap();
        let said = home.start_refused();
        assert!(said.contains(words) && !said.contains("secret\n"), "{said}");
    }
}

#[test]
fn without_a_file_everybody_is_served() {
    let home = Home::new();
    let ledger = home.start();
    for path in ["/v1/transactions", "/v1/jobs?open", "/metrics", "/v1/export"] {
        assert_eq!(ask(ledger.client(), None, path).status, 200, "{path}");
    }
}
