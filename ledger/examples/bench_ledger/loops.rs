//! What the ledger is held against: a bare loop of signature checks and a bare loop of synced writes, on this machine, now.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use orion_protocol::SecretKey;

/// Bytes of what is signed: about those of a deposit.
const SIGNED_BYTES: usize = 256;
/// Different messages, so that nothing is learnt by heart.
const MESSAGES: u8 = 64;
/// Bytes of a synced write.
const WRITE_BYTES: usize = 4096;

/// Signatures a second that `threads` threads check with `verify_strict`, the key's bytes unpacked each time, as the ledger does.
pub fn verify(threads: usize, time: Duration) -> f64 {
    let loops = || {
        let secret = SecretKey::from_seed(&[7; 32]);
        let key = secret.public();
        let signed: Vec<_> = (0..MESSAGES).map(|byte| [byte; SIGNED_BYTES]).collect();
        let signed: Vec<_> = signed.into_iter().map(|bytes| (bytes, secret.sign_bytes(&bytes))).collect();
        let (start, mut done) = (Instant::now(), 0_u64);
        while start.elapsed() < time {
            let good = signed.iter().filter(|(bytes, signature)| key.verifies(bytes, signature)).count();
            done += good as u64;
        }
        super::per_second(done, start.elapsed())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(loops)).collect();
        running.into_iter().map(|one| one.join().unwrap_or_default()).sum()
    })
}

/// Writes of 4 KiB a second, each followed by an fsync.
pub fn sync(directory: &Path, time: Duration) -> Result<f64> {
    let path = directory.join("synced");
    let mut file = File::create(&path).context("making a file")?;
    let (start, mut done) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        file.write_all(&[7; WRITE_BYTES]).and_then(|()| file.sync_all()).context("writing")?;
        done += 1;
    }
    let rate = super::per_second(done, start.elapsed());
    std::fs::remove_file(&path).context("removing the file")?;
    Ok(rate)
}
