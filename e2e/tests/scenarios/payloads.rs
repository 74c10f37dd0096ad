//! Kernels whose native code attacks, as if the scan of their text had missed it (see [`orion_e2e::naive`]): each system call is denied in the
//! way that the sandbox means, and nobody else notices. The calls are made by number, in the assembly of x86-64.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use nix::libc::{EACCES, ENOMEM, ENOSYS};
use orion_crds::OrionJob;
use orion_e2e::ground::Ground;
use orion_e2e::naive::hide;
use orion_e2e::{Busy, Namespace, World, until};

use crate::hostile::{TRIALS, refusal};
use crate::models::classifies_digits;
use crate::{LONG, SHORT, alone, shared};

/// What a kernel tries, and what it must be told: an error's number, 0 for success.
struct Attempt {
    what: &'static str,
    code: &'static str,
    told: i32,
}

const fn attempt(what: &'static str, code: &'static str, told: i32) -> Attempt {
    Attempt { what, code, told }
}

const ATTEMPTS: [Attempt; 29] = [
    attempt("64 GiB of memory", "return C6(9, 0, 64l << 30, 3, 0x4022, -1, 0);", ENOMEM),
    attempt("shared memory", "return C6(9, 0, 4096, 3, 0x21, -1, 0);", ENOSYS),
    attempt("a file in memory", "char name[] = \"x\"; return C3(319, (long)name, 0, 0);", ENOSYS),
    attempt("a socket", "return C3(41, 2, 1, 0);", ENOSYS),
    attempt("a pair of sockets", "return C4(53, 1, 1, 0, 0);", ENOSYS),
    attempt("a shell", "SHELL return C3(59, (long)path, (long)words, (long)(words + 1));", EACCES),
    attempt("a shell by folder", "SHELL return C5(322, -100, (long)path, (long)words, (long)(words + 1), 0);", EACCES),
    attempt("tracing the agent", "return C4(101, 16, PARENT, 0, 0);", ENOSYS),
    attempt("reading the agent's memory", "return C6(310, PARENT, 0, 0, 0, 0, 0);", ENOSYS),
    attempt("writing the agent's memory", "return C6(311, PARENT, 0, 0, 0, 0, 0);", ENOSYS),
    attempt("a handle of the agent", "return C3(434, PARENT, 0, 0);", ENOSYS),
    attempt("killing the agent", "return C3(62, PARENT, 9, 0);", ENOSYS),
    attempt("killing the agent's thread", "return C3(234, PARENT, PARENT, 9);", ENOSYS),
    attempt("killing everybody", "return C3(62, -1, 9, 0);", ENOSYS),
    attempt("signals to the agent", "return C3(72, 2, 8, PARENT);", ENOSYS),
    attempt("the agent's limits", "return C4(302, PARENT, 7, 0, 0);", ENOSYS),
    attempt("the agent's key", "char path[] = CANARY; return C3(2, (long)path, 0, 0);", EACCES),
    attempt("the agent's environment", "return parents_environ();", EACCES),
    attempt("other executors' folders", "char path[] = \"..\"; return C3(2, (long)path, 0x10000, 0);", EACCES),
    attempt("a folder beside its own", "char path[] = \"../mine\"; return C3(83, (long)path, 0700, 0);", EACCES),
    attempt("closing the shared cache", "char path[] = \"../built-in\"; return C3(90, (long)path, 0, 0);", ENOSYS),
    attempt("a session", "return C3(112, 0, 0, 0);", ENOSYS),
    attempt("a group", "return C3(109, 0, 0, 0);", ENOSYS),
    attempt("namespaces", "return C3(272, 0x10000000, 0, 0);", ENOSYS),
    attempt("a ring of calls", "return C3(425, 1, 0, 0);", ENOSYS),
    attempt("a program for the kernel", "return C3(321, 0, 0, 0);", ENOSYS),
    attempt("poison in the shared cache", "char path[] = \"../built-in/mine\"; return created(path);", EACCES),
    attempt("poison in its own cache", "char path[] = \"cache/mine\"; return created(path);", 0),
    attempt("what is harmless", "return C3(39, 0, 0, 0);", 0),
];

/// System calls, and what needs more than one line. Preflight and validators run each attempt again, and must be told the same: what is made may
/// be there already.
const HELPERS: &str = r#"
long call(long number, long a, long b, long c, long d, long e, long f) {
    long told;
    __asm__ volatile("mov %5, %%r10\n\tmov %6, %%r8\n\tmov %7, %%r9\n\tsyscall"
                     : "=a"(told) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e), "r"(f)
                     : "rcx", "r8", "r9", "r10", "r11", "memory");
    return told;
}
#define C6(n, a, b, c, d, e, f) call(n, a, b, c, d, e, f)
#define C5(n, a, b, c, d, e) call(n, a, b, c, d, e, 0)
#define C4(n, a, b, c, d) call(n, a, b, c, d, 0, 0)
#define C3(n, a, b, c) call(n, a, b, c, 0, 0, 0)
#define PARENT C3(110, 0, 0, 0)
#define SHELL char path[] = "/bin/sh"; long words[] = {(long)path, 0};
long created(char *path) {
    long file = C3(2, (long)path, 0x241, 0600);
    if (file < 0) return file;
    char poison[] = "poison";
    C3(1, file, (long)poison, 6);
    return C3(3, file, 0, 0);
}
long parents_environ(void) {
    char path[48] = "/proc/";
    char rest[] = "/environ";
    char digits[20];
    uint at = 6, count = 0;
    for (long left = PARENT; left > 0; left /= 10) digits[count++] = '0' + left % 10;
    while (count > 0) path[at++] = digits[--count];
    for (uint i = 0; i < sizeof(rest); i++) path[at++] = rest[i];
    return C3(2, (long)path, 0, 0);
}
"#;

/// Makes processes until it has made enough or gets no more, each of which calls itself so and waits for ever; they share its memory, so
/// that they cost little. Then it waits for a second and crashes.
const BOMB: &str = r#"
    char name[] = "orion-bomb";
    long made = 0;
    for (long id = 0; id >= 0 && made < FORKS; made++) {
        __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\t"
                         "mov $157, %%eax\n\tmov $15, %%edi\n\tmov %[name], %%rsi\n\tsyscall\n\t"
                         "2: mov $34, %%eax\n\tsyscall\n\tjmp 2b\n\t"
                         "1:"
                         : "=a"(id) : "a"(56l), "D"(0x111l), "S"(0l), "d"(0l), [name] "r"((long)name)
                         : "rcx", "r8", "r10", "r11", "memory");
    }
    long second[] = {1, 0};
    C3(35, (long)second, 0, 0);
    __asm__ volatile("ud2");
"#;
/// What the bomb's processes call themselves.
const BOMBS: &str = "orion-bomb";

#[tokio::test]
async fn what_native_code_tries_is_denied_and_the_next_jobs_are_right() -> Result<()> {
    if is_foreign() {
        return Ok(());
    }
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "payloads", "60").await?;
    let units = i64::try_from(ATTEMPTS.len())?;
    let tries = Busy { units, units_per_shard: 4, ..Busy::named("tries") };
    namespace.submit(&armed(&tries, &table(&world)?, "told = attempt(item);")?).await?;
    namespace.submit(&armed(&Busy::named("ends"), "", "C3(231, 0, 0, 0);")?).await?;

    let words = refusal(&namespace, "ends", TRIALS).await?;
    ensure!(words.starts_with("False KernelFault: ") && words.contains("code 0"), "{words}");
    let job = namespace.succeeded("tries", LONG).await?;
    let ledger = world.ledger()?;
    // On every worker and for every validator the same, in one lease after the other.
    ensure!(ledger.complete(&job)?.shards.iter().all(|shard| shard.rejected.is_empty()), "a shard was rejected");
    let told = result(&world, &namespace, "tries")?;
    ensure!(told.len() == ATTEMPTS.len(), "{} results", told.len());
    for (Attempt { what, told: expected, code: _ }, told) in ATTEMPTS.iter().zip(told) {
        ensure!(i64::from(told) == i64::from(*expected), "{what}: {told} instead of {expected}");
    }

    // What was poisoned is gone, or was never within reach: another owner's jobs are right, a kernel and a model.
    let other = Namespace::with_credits(&world, "after", "60").await?;
    let next = Busy::named("next");
    other.submit(&next.job()?).await?;
    classifies_digits(&world, &other).await?;
    other.succeeded("next", LONG).await?;
    ensure!(result(&world, &other, "next")? == next.expected(), "the next kernel's result is wrong");
    namespace.passed();
    other.passed();
    Ok(())
}

#[tokio::test]
async fn a_fork_bomb_is_killed_with_all_that_it_made() -> Result<()> {
    if is_foreign() {
        return Ok(());
    }
    // While it lasts, nobody in its pod gets another process.
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "bomb", "30").await?;
    let forks = match &world.ground {
        // More than a pod may have.
        Ground::Pods { .. } => 5000,
        // The machine's own are not to run out.
        Ground::Processes { .. } => 300,
    };
    namespace.submit(&armed(&Busy::named("bomb"), &format!("#define FORKS {forks}\n"), BOMB)?).await?;
    until("the bomb's processes", TRIALS, async || Ok(is_bombed()?.then_some(()))).await?;
    let words = refusal(&namespace, "bomb", TRIALS).await?;
    ensure!(words.starts_with("False KernelFault: ") && words.contains("SIGILL"), "{words}");
    until("the end of the bomb's processes", SHORT, async || Ok((!is_bombed()?).then_some(()))).await?;
    let next = Busy::named("next");
    namespace.submit(&next.job()?).await?;
    namespace.succeeded("next", LONG).await?;
    ensure!(result(&world, &namespace, "next")? == next.expected(), "the next kernel's result is wrong");
    namespace.passed();
    Ok(())
}

/// Says so where the attacks are for another processor.
fn is_foreign() -> bool {
    let foreign = !cfg!(target_arch = "x86_64");
    if foreign {
        println!("not run: the attacks are in the assembly of x86-64");
    }
    foreign
}

/// The job with another kernel, of which no scan sees the attack. It says what the attack sets `told` to, without its sign.
fn armed(busy: &Busy, functions: &str, attack: &str) -> Result<OrionJob> {
    let mut job = busy.job()?;
    let kernel = job.spec.workload.kernel.as_mut().context("a kernel")?;
    let open = "__kernel void slow(__global uint *last) {\n\
                const uint item = (uint)get_global_id(0);\n\
                long told = -9999;\n";
    let close = "last[item] = (uint)(told < 0 ? -told : 0);\n}\n";
    let [helpers, functions, attack] = [HELPERS, functions, attack].map(hide);
    kernel.source.inline = Some([helpers.as_str(), functions.as_str(), open, attack.as_str(), close].concat());
    Ok(job)
}

/// All attempts as one function of the item.
fn table(world: &World) -> Result<String> {
    let canary: PathBuf = match &world.ground {
        Ground::Pods { .. } => "/etc/orion/keys/signing.key".into(),
        Ground::Processes { .. } => world.ground.key("orion-platform-keys", "signing.key").canonicalize()?,
    };
    let case = |(at, attempt): (usize, &Attempt)| format!("case {at}: {{ {} }}\n", attempt.code);
    let cases: Vec<String> = ATTEMPTS.iter().enumerate().map(case).collect();
    let cases = cases.concat();
    Ok(format!(
        "#define CANARY \"{}\"\nlong attempt(uint item) {{\nswitch (item) {{\n{cases}}}\nreturn -9998;\n}}\n",
        canary.display()
    ))
}

/// What a job gave, one number an item.
fn result(world: &World, namespace: &Namespace, job: &str) -> Result<Vec<u32>> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_str().context("a path")?;
    world.orion_exits(0, &["result", job, "-n", &namespace.name, "--dir", directory])?;
    let bytes = std::fs::read(folder.path().join("last.npy")).context("reading the result")?;
    let (_, data) = orion_protocol::npy::parse(&bytes)?;
    Ok(data.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// Whether a process of this machine, in a pod or not, is a bomb's.
fn is_bombed() -> Result<bool> {
    for entry in std::fs::read_dir("/proc").context("listing processes")? {
        let entry = entry.context("listing processes")?;
        // Any process may end while we look.
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        // One that is dead and not yet asked after has no command line.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if name.trim_end() == BOMBS && !line.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
