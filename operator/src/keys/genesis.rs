//! The genesis made from the keys, and the verifier key of the log, which people keep to check exports with.

use base64::Engine as _;
use orion_protocol::ledger::{Genesis, Policy};
use orion_protocol::{Digest, PublicKey};

use super::material::{Keys, random};
use super::witnesses::key_id;
use crate::job::Chain;
use crate::ledger::Ledger;

/// A signed note's algorithm byte for ed25519.
pub const ED25519: u8 = 1;

/// A genesis for these keys, with a nonce of its own.
pub fn fresh(keys: &Keys, policy: Policy) -> anyhow::Result<Genesis> {
    Ok(Genesis {
        nonce: Digest(random()?),
        operator: keys.operator,
        platform: keys.platform,
        issuer: keys.issuer,
        checkpoint: keys.checkpoint,
        policy,
        issuers: None,
        bonds: None,
    })
}

/// Checks that what is signed by these keys counts: that the genesis names them, or that the log has put them in the place of those.
///
/// A genesis that names other keys, and a log that knows nothing of them, belong to another install, or a Secret was lost and made
/// anew.
pub async fn check(genesis: &Genesis, keys: &Keys, ledger: &Ledger) -> anyhow::Result<()> {
    let Genesis { nonce: _, operator, platform, issuer, checkpoint, policy: _, issuers: _, bonds: _ } = genesis;
    let pairs = [
        (*checkpoint, keys.checkpoint, "checkpoint", "orion-ledger-keys"),
        (*operator, keys.operator, "operator", "orion-operator-keys"),
        (*platform, keys.platform, "platform", "orion-platform-keys"),
        (*issuer, keys.issuer, "issuer", "orion-issuer-keys"),
    ];
    for (want, have, what, secret) in pairs.into_iter().filter(|(want, have, ..)| want != have) {
        let other = format!(
            "ConfigMap {} names the {what} key {want}, but Secret {secret} holds the key {have}",
            super::GENESIS
        );
        anyhow::ensure!(
            what != "checkpoint",
            "{other}: restore that Secret, or delete that ConfigMap, ConfigMaps orion-ledger-begun and orion-ledger-signed, the \
             Secrets, the Providers and the ledger's volume to begin a new chain"
        );
        let (head, now) = match ledger.head_and_keys().await {
            Ok(answer) => answer,
            Err(error) => {
                // Whether it was replaced, only the ledger can say, and before an install it does not run. What is signed by a key
                // that is not in force is refused all the same.
                tracing::warn!(error = %Chain(&error), "{other}, and the ledger does not say whether it was replaced");
                continue;
            }
        };
        let in_force = match what {
            "operator" => {
                let coming = now.operators.last().filter(|operator| operator.from_epoch > head.epoch);
                let here = now.operator_at(head.epoch).filter(|operator| !operator.lost);
                coming.into_iter().chain(here).any(|operator| operator.key == have)
            }
            "platform" => now.platform == have,
            _ => now.issuers.has(&have),
        };
        anyhow::ensure!(
            in_force,
            "{other}, and in the log that is not in force either: restore that Secret (orion ledger keys)"
        );
        tracing::info!(%have, %want, "the {what}'s key was replaced");
    }
    Ok(())
}

/// `<origin>+<key id>+<base64 of algorithm and key>`, as signed notes have it.
pub fn verifier_key(genesis: &Genesis) -> String {
    note_key(&genesis.chain().log_origin(), ED25519, genesis.checkpoint)
}

/// A key as signed notes have it, of this algorithm.
pub fn note_key(name: &str, algorithm: u8, PublicKey(key): PublicKey) -> String {
    let typed: Vec<u8> = std::iter::once(algorithm).chain(key).collect();
    let id = key_id(name, &typed);
    format!("{name}+{id}+{}", base64::engine::general_purpose::STANDARD.encode(typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_key_has_three_parts() {
        let policy = Policy::per_work(1, 2, 0, 3);
        let key = |byte| PublicKey([byte; 32]);
        let genesis = Genesis {
            nonce: Digest::ZERO,
            operator: key(1),
            platform: key(2),
            issuer: key(3),
            checkpoint: key(4),
            policy,
            issuers: None,
            bonds: None,
        };
        let text = verifier_key(&genesis);
        let parts: Vec<&str> = text.splitn(3, '+').collect();
        assert_eq!(parts[0], genesis.chain().log_origin());
        assert_eq!(parts[1].len(), 8);
        let typed = base64::engine::general_purpose::STANDARD.decode(parts[2]).unwrap();
        assert_eq!((typed[0], &typed[1..]), (ED25519, &[4; 32][..]));
    }
}
