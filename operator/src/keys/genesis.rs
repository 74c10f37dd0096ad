//! The genesis made from the keys, and the verifier key of the log, which people keep to check exports with.

use base64::Engine as _;
use orion_protocol::ledger::{Genesis, Policy};
use orion_protocol::{Digest, PublicKey};

use super::material::{Keys, random};
use super::witnesses::key_id;

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

/// A genesis that names other keys than those there are belongs to another install, or a Secret was lost and made anew: then
/// nothing that is signed from now on would count.
pub fn check(genesis: &Genesis, keys: &Keys) -> anyhow::Result<()> {
    let Genesis { nonce: _, operator, platform, issuer, checkpoint, policy: _, issuers: _, bonds: _ } = genesis;
    let pairs = [
        (*operator, keys.operator, "operator", "orion-operator-keys"),
        (*platform, keys.platform, "platform", "orion-platform-keys"),
        (*issuer, keys.issuer, "issuer", "orion-issuer-keys"),
        (*checkpoint, keys.checkpoint, "checkpoint", "orion-ledger-keys"),
    ];
    for (want, have, what, secret) in pairs {
        anyhow::ensure!(
            want == have,
            "ConfigMap {} names the {what} key {want}, but Secret {secret} holds the key {have}: restore that Secret, or \
             delete that ConfigMap, ConfigMaps orion-ledger-begun and orion-ledger-signed, the Secrets, the Providers and the \
             ledger's volume to begin a new chain",
            super::GENESIS,
        );
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
