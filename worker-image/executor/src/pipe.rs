//! The pipe to an executor: one request out, its answer in. Every length is bounded before anything is read or reserved.

use std::io;
use std::sync::Arc;

use orion_engine::wire::{self, MAX_REPLY, Reply, Request, WireError};
use orion_protocol::{Reason, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};

/// What an executor may refuse a job for. Other reasons are not its business.
const MAY_REFUSE: [Reason; 13] = [
    Reason::InvalidSpec,
    Reason::InvalidInput,
    Reason::CompileFailed,
    Reason::ArgumentMismatch,
    Reason::UnsupportedKernel,
    Reason::UnsupportedOperator,
    Reason::NotExact,
    Reason::KernelNotUnitPure,
    Reason::TooLarge,
    Reason::KernelFault,
    Reason::OutputOverflow,
    Reason::OutOfMemory,
    Reason::InternalError,
];

/// The two ends that the agent holds.
#[derive(Debug)]
pub(super) struct Pipe {
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// The only lengths of rows that the next answer may have.
    want: Vec<u64>,
}

/// A reply, and the rows that came with it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) rows: Vec<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum PipeError {
    /// It said what it may not say.
    Violation(String),
    /// It is gone.
    Broken(io::Error),
}

impl Pipe {
    pub(super) fn new(stdin: ChildStdin, stdout: ChildStdout) -> Pipe {
        Pipe { stdin, stdout, want: Vec::new() }
    }

    /// Allows the next answer to be rows of exactly these lengths.
    pub(super) fn expect_rows(&mut self, lengths: Vec<u64>) {
        self.want = lengths;
    }

    /// Sends a request with its data and reads until it is answered; `progress` says whether what it heard is possible.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        data: &[Arc<Vec<u8>>],
        mut progress: impl FnMut(u64) -> bool,
    ) -> Result<Answer, PipeError> {
        let want = std::mem::take(&mut self.want);
        self.stdin.write_all(&wire::frame(request)).await.map_err(PipeError::Broken)?;
        for block in data {
            self.stdin.write_all(block).await.map_err(PipeError::Broken)?;
        }
        self.stdin.flush().await.map_err(PipeError::Broken)?;
        loop {
            match self.reply().await? {
                Reply::Progress { units } if progress(units) => {}
                Reply::Progress { .. } => return Err(violation("an impossible progress")),
                Reply::Rows { lengths } if lengths == want && !want.is_empty() => {
                    let rows = self.rows(&lengths).await?;
                    return Ok(Answer { reply: Reply::Rows { lengths }, rows });
                }
                Reply::Refused(refusal) => {
                    let reply = Reply::Refused(checked(&refusal)?);
                    return Ok(Answer { reply, rows: Vec::new() });
                }
                reply => return Ok(Answer { reply, rows: Vec::new() }),
            }
        }
    }

    async fn reply(&mut self) -> Result<Reply, PipeError> {
        let mut prefix = [0; 4];
        self.stdout.read_exact(&mut prefix).await.map_err(PipeError::Broken)?;
        let length = wire::frame_length(prefix, MAX_REPLY).map_err(|error| wire_error(&error))?;
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).await.map_err(PipeError::Broken)?;
        wire::message(&body, MAX_REPLY).map_err(|error| wire_error(&error))
    }

    /// Reads rows as they come: memory grows with what was sent, not with what was announced.
    async fn rows(&mut self, lengths: &[u64]) -> Result<Vec<Vec<u8>>, PipeError> {
        let mut rows = Vec::with_capacity(lengths.len());
        for length in lengths {
            let mut block = Vec::new();
            let mut source = (&mut self.stdout).take(*length);
            let have = source.read_to_end(&mut block).await.map_err(PipeError::Broken)?;
            if (have as u64) < *length {
                return Err(PipeError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            rows.push(block);
        }
        Ok(rows)
    }
}

/// A refusal that may be passed on: a reason that is the executor's to give, a bounded message without control characters.
fn checked(refusal: &Refusal) -> Result<Refusal, PipeError> {
    if !MAY_REFUSE.contains(&refusal.reason) || refusal.check().is_err() {
        return Err(violation("a refusal that is not its to make"));
    }
    Ok(Refusal::new(refusal.reason, printable(&refusal.message)))
}

/// The text without control characters other than line ends and tabs.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn wire_error(error: &WireError) -> PipeError {
    violation(&error.to_string())
}

fn violation(what: &str) -> PipeError {
    PipeError::Violation(what.to_owned())
}
